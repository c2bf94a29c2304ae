import pytest
import torch
from torch import Tensor

from skyeye_det.modeling.tile_shift import REACH, tile_shift


def noise(count: int = 1, height: int = 48, width: int = 40, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 8, height, width, generator=generator)


def moved(features: Tensor, dx: int, dy: int) -> Tensor:
    """What was at (x, y) at (x + dx, y + dy); what comes in is noise of its own."""
    post = noise(len(features), *features.shape[-2:], seed=9)
    height, width = features.shape[-2:]
    rows, columns = (slice(max(step, 0), size + min(step, 0)) for step, size in ((dy, height), (dx, width)))
    back = torch.roll(features, (dy, dx), dims=(2, 3))
    post[:, :, rows, columns] = back[:, :, rows, columns]
    return post


@pytest.mark.parametrize("size", [(48, 40), (33, 27)])
@pytest.mark.parametrize(
    "shift", [(0, 0), (1, 0), (0, -1), (3, -2), (-4, 1), (REACH, -REACH), (-REACH, REACH)]
)
def test_whole_shifts_are_found(shift: tuple[int, int], size: tuple[int, int]) -> None:
    pre = noise(1, *size)
    found = tile_shift(pre, moved(pre, *shift))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor([shift], dtype=torch.float32), atol=0.1, rtol=0)


@pytest.mark.parametrize("shift", [(0.5, 0.0), (-1.5, 2.0), (2.5, -0.5)])
def test_shifts_of_half_a_cell_are_found(shift: tuple[float, float]) -> None:
    smooth = torch.nn.functional.avg_pool2d(noise(1, 120, 120), 7, stride=1, padding=3)
    dx, dy = (int(2 * step) for step in shift)
    pre, post = smooth[:, :, ::2, ::2], torch.roll(smooth, (dy, dx), dims=(2, 3))[:, :, ::2, ::2]
    torch.testing.assert_close(tile_shift(pre, post), torch.tensor([shift]), atol=0.2, rtol=0)


def test_each_pair_of_a_batch_has_its_own() -> None:
    pre = noise(3)
    shifts = [(2, 1), (0, 0), (-3, -2)]
    post = torch.cat([moved(pre[n : n + 1], *shift) for n, shift in enumerate(shifts)])
    torch.testing.assert_close(
        tile_shift(pre, post), torch.tensor(shifts, dtype=torch.float32), atol=0.1, rtol=0
    )


def test_brightness_of_the_post_image_moves_nothing() -> None:
    pre = noise()
    post = moved(pre, 2, -1)
    torch.testing.assert_close(tile_shift(pre, 30 * post), tile_shift(pre, post))


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_flat_tile_is_not_moved(value: float) -> None:
    flat = torch.full((2, 8, 24, 20), value)
    assert not tile_shift(flat, flat).any()


def test_tile_that_is_black_in_post_is_not_moved() -> None:
    assert not tile_shift(noise(), torch.zeros_like(noise())).any()


def test_half_precision_serves() -> None:
    pre = noise()
    found = tile_shift(pre.bfloat16(), moved(pre, 3, 2).bfloat16())
    torch.testing.assert_close(found, torch.tensor([[3.0, 2.0]]), atol=0.1, rtol=0)


def test_no_pairs_give_no_shifts() -> None:
    assert tile_shift(noise(0), noise(0)).shape == (0, 2)


@pytest.mark.parametrize("size", [(1, 1), (3, 2)])
def test_map_smaller_than_the_reach_stays_within_it(size: tuple[int, int]) -> None:
    found = tile_shift(noise(1, *size), noise(1, *size, seed=1))
    assert found.isfinite().all()
    assert found.abs().max() <= REACH
