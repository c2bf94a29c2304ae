import pytest
import torch
from torch import Tensor

from skyeye_det.errors import InputError
from skyeye_det.modeling.fusion import (
    FUSIONS,
    HEADS,
    AttentionFusion,
    ObjectContext,
    build_fusion,
    pool_by_mask,
)

DIM = 8
FEATURES = torch.arange(18.0).reshape(1, 2, 3, 3)
"""Channel 0: 0..8, channel 1: 9..17, row by row."""


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("buildings", [0, 1, 3])
def test_fusion_keeps_the_bins_and_ends_with_the_difference(name: str, buildings: int) -> None:
    fusion = build_fusion(name, 8, 5)
    pre, post = torch.randn(2, buildings, 8, 5, 5)
    found = fusion(pre, post)
    assert found.shape == (buildings, fusion.out_channels, 5, 5)
    first, second, *difference = found.split(8, dim=1)
    torch.testing.assert_close(first, pre)
    if name != "attention":
        torch.testing.assert_close(second, post)
    if name != "concat":
        torch.testing.assert_close(difference, [second - pre])


def test_attention_can_undo_a_shift_that_concatenation_takes_for_change() -> None:
    fusion = AttentionFusion(25, 5, heads=1)
    with torch.no_grad():  # it compares features as they are, sharply, and ignores positions
        same = torch.eye(25)
        fusion.attention.in_proj_weight.copy_(torch.cat([100 * same, same, same]))
        fusion.attention.out_proj.weight.copy_(same)
        for zero in (fusion.attention.in_proj_bias, fusion.attention.out_proj.bias, fusion.positions):
            zero.zero_()
    bins = torch.eye(25).reshape(1, 5, 5, 25).permute(0, 3, 1, 2)  # each bin has a feature of its own
    shifted = bins.roll((1, 2), dims=(2, 3))
    assert build_fusion("concat_diff", 25, 5)(bins, shifted).chunk(3, dim=1)[2].abs().max() == 1
    assert fusion(bins, shifted).chunk(3, dim=1)[2].abs().max() < 1e-3


def test_attention_sees_all_post_bins() -> None:
    pre, post = torch.randn(1, 8, 3, 3), torch.randn(1, 8, 3, 3, requires_grad=True)
    build_fusion("attention", 8, 3)(pre, post)[0, 8:16, 0, 0].sum().backward()
    assert (post.grad.abs().sum(dim=(0, 1)) > 0).all()


@pytest.mark.parametrize(
    ("name", "channels", "sentence"),
    [
        ("sum", 8, r"FUSION: expected one of .*concat_diff.*found 'sum'"),
        ("attention", 6, r"multiple of 4 \(heads\), found 6"),
    ],
)
def test_fusion_that_cannot_be_built_is_refused(name: str, channels: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        build_fusion(name, channels, 3)


def mask_of(*bins: tuple[int, float]) -> Tensor:
    mask = torch.zeros(9)
    for place, share in bins:
        mask[place] = share
    return mask.reshape(1, 1, 3, 3)


@pytest.mark.parametrize(
    ("bins", "own", "around"),
    [
        ([(4, 1), (5, 1)], 4.5, 27 / 7),
        ([(0, 0.25), (8, 0.75)], 6.0, (36 - 6.0) / 8),  # a bin counts by its share of the building
        ([], 4.0, 4.0),  # an empty region has the plain mean
        ([(place, 1) for place in range(9)], 4.0, 4.0),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_building_and_surroundings_are_pooled_apart(
    bins: list[tuple[int, float]], own: float, around: float, dtype: torch.dtype
) -> None:
    features, masks = FEATURES.to(dtype).clone().requires_grad_(), mask_of(*bins).requires_grad_()
    found = pool_by_mask(features, masks)
    expected = torch.tensor([[own, own + 9, around, around + 9]], dtype=dtype)
    torch.testing.assert_close(found, expected)
    found[0, 0].backward()
    assert features.grad.isfinite().all()
    assert masks.grad.any() == bool(bins)
    assert pool_by_mask(features[:0], masks[:0]).shape == (0, 4)


def test_each_building_has_its_own_mask() -> None:
    masks = torch.cat([mask_of((0, 1)), mask_of((8, 1)), mask_of()])
    assert pool_by_mask(FEATURES.expand(3, -1, -1, -1), masks)[:, 0].tolist() == [0, 8, 4]


@pytest.fixture
def context() -> ObjectContext:
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


@pytest.mark.parametrize("counts", [[0], [1], [0, 0], [3], [2, 0, 3], [0, 1, 1]])
@pytest.mark.parametrize("half", [False, True])
def test_any_share_of_buildings_works_and_reaches_every_parameter(
    context: ObjectContext, counts: list[int], half: bool
) -> None:
    features, boxes = torch.randn(sum(counts), DIM, requires_grad=True), [scattered(each) for each in counts]
    assert torch.equal(ObjectContext(DIM)(features, boxes), features)  # it starts as the identity
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        found = context(features, boxes)
    assert found.shape == features.shape
    (found.float().square().sum() * 3).backward()
    for each in (features, *context.parameters()):
        assert each.grad.isfinite().all()
        assert each.grad.any() or max(counts) < 2


def test_buildings_of_one_image_see_each_other_and_no_other_image(context: ObjectContext) -> None:
    features, boxes = torch.randn(6, DIM), [scattered(2), scattered(0), scattered(4)]
    together = context(features, boxes)
    apart = [context(features[:2], boxes[:1]), context(features[2:], boxes[2:])]
    torch.testing.assert_close(together, torch.cat(apart))
    changed = torch.cat([features[:5], torch.randn(1, DIM)])
    difference = (context(changed, boxes) - together).abs().amax(dim=1)
    assert (difference > 1e-3).tolist() == [False] * 2 + [True] * 4


def test_neither_order_nor_place_in_the_tile_matters(context: ObjectContext) -> None:
    features, boxes, order = torch.randn(4, DIM), scattered(4), torch.tensor([2, 0, 3, 1])
    expected = context(features, [boxes])
    torch.testing.assert_close(context(features[order], [boxes[order]]), expected[order])
    torch.testing.assert_close(context(features, [boxes + 64]), expected)


def test_slope_weighs_the_logarithm_of_the_distance(context: ObjectContext) -> None:
    with torch.no_grad():  # all buildings are alike to the attention, so distance alone decides
        context.qkv.weight[: 2 * DIM] = 0
        context.qkv.weight[2 * DIM :] = torch.eye(DIM)
        context.output.weight.copy_(torch.eye(DIM))
    features = torch.eye(2, DIM)
    found = context(features, [boxes_at(100, 196)]) - features  # 96 px apart: weights 1 and 4 ** -slope
    own = (1 / (1 + 4.0**-context.slopes)).repeat_interleave(DIM // HEADS)
    values = context.norm(features)
    torch.testing.assert_close(found[0], own * values[0] + (1 - own) * values[1])


def test_a_vector_that_the_heads_cannot_share_is_refused() -> None:
    with pytest.raises(InputError, match=r"FC_DIM to be a multiple of 4 \(heads\), found 6"):
        ObjectContext(6)
