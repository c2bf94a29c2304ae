import pytest
import torch

from skyeye_det.modeling.mask_pooling import pool_by_mask

FEATURES = torch.arange(18.0).reshape(1, 2, 3, 3)
"""Channel 0: 0..8, channel 1: 9..17, row by row."""


def mask_of(*bins: tuple[int, float]) -> torch.Tensor:
    mask = torch.zeros(9)
    for place, share in bins:
        mask[place] = share
    return mask.reshape(1, 1, 3, 3)


def test_building_and_surroundings_are_pooled_apart() -> None:
    found = pool_by_mask(FEATURES, mask_of((4, 1), (5, 1)))
    torch.testing.assert_close(found, torch.tensor([[4.5, 13.5, 27 / 7, 27 / 7 + 9]]))


def test_a_bin_counts_by_its_share_of_the_building() -> None:
    found = pool_by_mask(FEATURES, mask_of((0, 0.25), (8, 0.75)))
    torch.testing.assert_close(found[0, :2], torch.tensor([6.0, 15.0]))
    torch.testing.assert_close(found[0, 2], torch.tensor((36 - 6.0) / 8))


def test_pixels_of_one_region_do_not_reach_the_other() -> None:
    mask = mask_of((4, 1))
    changed = FEATURES + 100 * mask
    before, after = pool_by_mask(FEATURES, mask), pool_by_mask(changed, mask)
    torch.testing.assert_close(after[:, :2], before[:, :2] + 100)
    torch.testing.assert_close(after[:, 2:], before[:, 2:])


@pytest.mark.parametrize(("value", "empty"), [(0.0, slice(0, 2)), (1.0, slice(2, 4))])
def test_an_empty_region_has_the_plain_mean(value: float, empty: slice) -> None:
    features = FEATURES.clone().requires_grad_()
    found = pool_by_mask(features, torch.full((1, 1, 3, 3), value))
    torch.testing.assert_close(found[:, empty], torch.tensor([[4.0, 13.0]]))
    found.sum().backward()
    assert features.grad.isfinite().all()


def test_each_building_has_its_own_mask() -> None:
    masks = torch.cat([mask_of((0, 1)), mask_of((8, 1)), mask_of()])
    found = pool_by_mask(FEATURES.expand(3, -1, -1, -1), masks)
    assert found[:, 0].tolist() == [0, 8, 4]


def test_gradients_reach_the_masks_too() -> None:
    mask = mask_of((4, 0.5), (5, 0.5)).requires_grad_()
    pool_by_mask(FEATURES, mask)[0, 0].backward()
    assert mask.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_works_without_buildings_and_in_half_precision(dtype: torch.dtype) -> None:
    assert pool_by_mask(torch.zeros(0, 2, 3, 3, dtype=dtype), torch.zeros(0, 1, 3, 3)).shape == (0, 4)
    found = pool_by_mask(FEATURES.to(dtype), mask_of((4, 1)))
    assert found.dtype == dtype
    assert found[0, :2].tolist() == [4, 13]
