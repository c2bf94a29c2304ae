"""Order of training: rare damage more often, every tile kept, the same from any point."""

from collections import Counter
from itertools import islice

import pytest
import torch

from skyeye_det.data.loading import DamageBalancedSampler, damage_repeat_factors


def _tiles(*damages):
    return [{"annotations": [{"damage": damage} for damage in tile]} for tile in damages]


def _take(count, factors=(1.0,) * 7, **arguments):
    return list(islice(DamageBalancedSampler(torch.tensor(factors), **({"seed": 1} | arguments)), count))


def test_factors_are_those_of_hand():
    # Grade 0 in 5 of 10 tiles, grade 2 in 2, grade 3 in 1; threshold 0.4.
    tiles = _tiles([0], [0, 0, -1], [0, 2], [0, 3, 2], [0], [], [-1], [], [], [])
    factors = damage_repeat_factors(tiles, 0.4)
    assert factors.tolist() == pytest.approx([1, 1, 2**0.5, 2, 1, 1, 1, 1, 1, 1])


def test_threshold_zero_repeats_nothing():
    assert damage_repeat_factors(_tiles([0], [3], []), 0.0).tolist() == [1, 1, 1]


def test_a_set_without_any_building_is_drawn_evenly():
    assert damage_repeat_factors(_tiles([], [], [-1]), 0.5).tolist() == [1, 1, 1]


def test_tiles_come_in_proportion_to_their_factors():
    factors = (1.0, 1.0, 1.5, 3.25)
    counts = Counter(number % 4 for number in _take(27_000, factors))
    for tile, factor in enumerate(factors):
        assert counts[tile] == pytest.approx(27_000 * factor / 6.75, rel=0.03)


def test_each_pass_holds_every_tile_once_without_repeats():
    indices = [number % 7 for number in _take(70)]
    assert all(sorted(indices[start : start + 7]) == list(range(7)) for start in range(0, 70, 7))
    assert len({tuple(indices[start : start + 7]) for start in range(0, 70, 7)}) > 5


def test_numbers_carry_their_position():
    assert [number // 7 for number in _take(40)] == list(range(40))
    assert [number // 7 for number in _take(5, start=33)] == [33, 34, 35, 36, 37]


@pytest.mark.parametrize("start", [0, 1, 6, 7, 8, 9, 50, 101])
def test_a_resumed_order_goes_on_where_it_stopped(start):
    factors = (1.0, 1.3, 2.6, 1.0, 1.9)
    assert _take(60, factors, start=start) == _take(60 + start, factors)[start:]


def test_processes_share_one_order():
    whole = _take(60, (1.0, 2.5, 1.2))
    shares = [_take(20, (1.0, 2.5, 1.2), rank=rank, world_size=3) for rank in range(3)]
    assert [number for turn in zip(*shares, strict=True) for number in turn] == whole
    later = [_take(18, (1.0, 2.5, 1.2), rank=rank, world_size=3, start=6) for rank in range(3)]
    assert [number for turn in zip(*later, strict=True) for number in turn] == whole[6:]


def test_the_seed_decides_the_order():
    assert _take(50) == _take(50)
    assert _take(50) != _take(50, seed=2)


def test_a_second_pass_over_the_sampler_is_the_first_again():
    sampler = DamageBalancedSampler(torch.tensor([1.0, 2.5]), seed=3, start=4)
    assert list(islice(sampler, 10)) == list(islice(sampler, 10))
