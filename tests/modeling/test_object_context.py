import pytest
import torch
from torch import Tensor

from skyeye_det.errors import InputError
from skyeye_det.modeling.object_context import HEADS, ObjectContext

DIM = 8


def trained() -> ObjectContext:
    """One whose output layer is not zero any more."""
    torch.manual_seed(0)
    context = ObjectContext(DIM)
    torch.nn.init.normal_(context.output.weight)
    return context


def boxes_at(*centres: float) -> Tensor:
    return torch.tensor([[x - 5, 95.0, x + 5, 105.0] for x in centres]).reshape(-1, 4)


def scattered(count: int) -> Tensor:
    corners = torch.rand(count, 2) * 900
    return torch.cat([corners, corners + 30], dim=1)


def test_starts_as_the_identity() -> None:
    features = torch.randn(5, DIM)
    assert torch.equal(ObjectContext(DIM)(features, [scattered(5)]), features)


@pytest.mark.parametrize("counts", [[0], [1], [0, 0], [3], [2, 0, 3], [0, 1, 1]])
def test_any_share_of_buildings_works_and_reaches_every_parameter(counts: list[int]) -> None:
    context = trained()
    features = torch.randn(sum(counts), DIM, requires_grad=True)
    found = context(features, [scattered(count) for count in counts])
    assert found.shape == features.shape
    (found.square().sum() * 3).backward()
    for name, parameter in context.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    if max(counts) > 1:
        assert all(parameter.grad.any() for parameter in context.parameters())


def test_images_do_not_see_each_other() -> None:
    context = trained()
    features, boxes = torch.randn(6, DIM), [scattered(2), scattered(0), scattered(4)]
    together = context(features, boxes)
    apart = [context(features[:2], boxes[:1]), context(features[2:], boxes[2:])]
    torch.testing.assert_close(together, torch.cat(apart))


def test_buildings_of_one_image_see_each_other() -> None:
    context = trained()
    features = torch.randn(3, DIM)
    changed = features.clone()
    changed[2] = torch.randn(DIM)
    boxes = [scattered(3)]
    difference = (context(changed, boxes) - context(features, boxes)).abs().amax(dim=1)
    assert (difference > 1e-3).all()


def test_order_of_the_buildings_does_not_matter() -> None:
    context = trained()
    features, boxes = torch.randn(4, DIM), scattered(4)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(context(features[order], [boxes[order]]), context(features, [boxes])[order])


def test_near_buildings_count_more_than_far_ones() -> None:
    context = trained()
    with torch.no_grad():  # all buildings look alike to the attention, so distance alone decides
        context.qkv.weight[: 2 * DIM] = 0
        context.slopes.fill_(1.0)
    features = torch.randn(3, DIM, requires_grad=True)
    context(features, [boxes_at(100, 132, 1000)])[0].sum().backward()
    near, far = features.grad[1].norm(), features.grad[2].norm()
    assert near > 5 * far > 0


def test_slope_weighs_the_logarithm_of_the_distance() -> None:
    context = trained()
    with torch.no_grad():
        context.qkv.weight[: 2 * DIM] = 0
        context.qkv.weight[2 * DIM :] = torch.eye(DIM)
        context.output.weight.copy_(torch.eye(DIM))
    features = torch.eye(2, DIM)
    found = context(features, [boxes_at(100, 196)]) - features  # 96 px apart: weights 1 and 4 ** -slope
    own = 1 / (1 + 4.0**-context.slopes)
    values = context.norm(features)
    seen = (
        own.repeat_interleave(DIM // HEADS) * values[0]
        + (1 - own).repeat_interleave(DIM // HEADS) * values[1]
    )
    torch.testing.assert_close(found[0], seen)


def test_a_shift_of_the_whole_tile_changes_nothing() -> None:
    context = trained()
    features, boxes = torch.randn(4, DIM), scattered(4)
    torch.testing.assert_close(context(features, [boxes + 64]), context(features, [boxes]))


def test_half_precision_stays_finite_beside_an_image_without_buildings() -> None:
    context = trained()
    features = torch.randn(2, DIM, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = context(features, [scattered(2), scattered(0)])
    found.float().sum().backward()
    assert found.isfinite().all()
    assert features.grad.isfinite().all()


def test_a_vector_that_the_heads_cannot_share_is_refused() -> None:
    with pytest.raises(InputError, match=r"FC_DIM to be a multiple of 4 \(heads\), found 6"):
        ObjectContext(6)
