import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead, build_mask_head
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from tiny_model import tiny_config, training_input

from skyeye_det.engine.setup import build_pair_model
from skyeye_det.modeling.boundary_mask_head import (
    BoundaryMaskHead,
    edge_loss,
    edge_targets,
    morphological_gradient,
)

CHANNELS, BINS, SIDE = 6, 7, 14
CHANGES = {"MODEL__ROI_MASK_HEAD__NAME": "BoundaryMaskHead", "MODEL__ROI_MASK_HEAD__NUM_CONV": 2}
SHAPE = ShapeSpec(channels=CHANNELS, height=BINS, width=BINS)


def head(**changes: object) -> BoundaryMaskHead:
    torch.manual_seed(0)
    return build_mask_head(tiny_config(**CHANGES | changes), SHAPE)


def proposals(
    count: int, building: tuple[int, int] = (20, 40), box: tuple[int, int] | None = None
) -> Instances:
    """Boxes around square buildings, tight or as given; an image without any has no gt fields."""
    found = Instances((64, 64))
    first, last = box or building
    found.proposal_boxes = Boxes(torch.tensor([[first, first, last, last]]).float().repeat(count, 1))
    if count:
        masks = torch.zeros(count, 64, 64, dtype=torch.bool)
        masks[:, slice(*building), slice(*building)] = True
        found.gt_masks = BitMasks(masks)
        found.gt_classes = torch.zeros(count, dtype=torch.int64)
    return found


def edges_of(*images: Instances) -> torch.Tensor:
    return edge_targets(list(images), torch.zeros(sum(map(len, images)), 1, SIDE, SIDE))


def test_gradient_marks_both_sides_of_an_outline() -> None:
    mask = torch.zeros(1, 7, 7)
    mask[:, 2:5, 2:5] = 1
    edge = morphological_gradient(mask)[0]
    assert edge[3, 3] == 0
    assert edge[1:6, 1:6].sum() == edge.sum() == 24
    assert not morphological_gradient(torch.ones(1, 5, 5)).any()
    assert morphological_gradient(torch.zeros(0, 5, 5)).shape == (0, 5, 5)


def test_edges_run_along_the_border_of_a_tight_box_and_not_inside_a_building() -> None:
    inside = proposals(1, building=(5, 60), box=(20, 40))
    edges = edges_of(proposals(2), proposals(0), inside, proposals(1, building=(20, 21)))
    assert edges.shape == (4, SIDE, SIDE)
    assert set(edges.unique().tolist()) <= {0.0, 1.0}
    assert not edges[0, 1:-1, 1:-1].any()
    assert edges[0].sum() == 4 * (SIDE - 1)
    assert [bool(edge.any()) for edge in edges] == [True, True, False, True]


def test_loss_is_small_for_the_right_edges_and_large_for_wrong_ones() -> None:
    edges = edges_of(proposals(2))
    logits = (edges[:, None] * 2 - 1) * 20
    assert edge_loss(logits, edges) < 1e-3
    assert edge_loss(torch.zeros_like(logits), edges) > 0.9
    assert edge_loss(-logits, edges) > 15
    assert edge_loss(torch.full_like(logits, -20.0), torch.zeros_like(edges)) < 1e-3


def test_weights_of_the_plain_head_load_and_give_its_masks_until_edges_are_learned() -> None:
    plain_name = {"MODEL__ROI_MASK_HEAD__NAME": "MaskRCNNConvUpsampleHead"}
    plain, ours = build_mask_head(tiny_config(**CHANGES | plain_name), SHAPE), head()
    missing, unexpected = ours.load_state_dict(plain.state_dict(), strict=False)
    assert isinstance(plain, MaskRCNNConvUpsampleHead)
    assert not unexpected
    assert missing
    assert all(key.startswith("edge_") for key in missing)
    pooled = torch.randn(3, CHANNELS, BINS, BINS)
    before = ours.layers(pooled)
    torch.testing.assert_close(before, plain.layers(pooled))
    torch.nn.init.normal_(ours.edge_to_mask.weight)
    assert (ours.layers(pooled) - before).abs().max() > 1e-6


@pytest.mark.parametrize(("convolutions", "counts"), [(0, [2, 1]), (1, [0, 3]), (3, [0, 0])])
def test_losses_reach_every_parameter(convolutions: int, counts: list[int]) -> None:
    mask_head = head(MODEL__ROI_MASK_HEAD__NUM_CONV=convolutions)
    with EventStorage():
        pooled = torch.randn(sum(counts), CHANNELS, BINS, BINS)
        losses = mask_head.train()(pooled, [proposals(count) for count in counts])
    assert set(losses) == {"loss_mask", "loss_mask_edge"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert (losses["loss_mask_edge"].item() > 0) == (sum(counts) > 0)
    sum(losses.values()).backward()
    for key, parameter in mask_head.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.any() or not sum(counts), key


@pytest.mark.parametrize("counts", [[2, 0, 1], [0, 0]])
def test_inference_shares_the_masks_out_to_their_images(counts: list[int]) -> None:
    images = [Instances((9, 9), pred_classes=torch.zeros(count, dtype=torch.int64)) for count in counts]
    with torch.no_grad():
        found = head().eval()(torch.randn(sum(counts), CHANNELS, BINS, BINS), images)
    assert [tuple(each.pred_masks.shape) for each in found] == [(count, 1, SIDE, SIDE) for count in counts]
    for each in found:
        assert ((each.pred_masks >= 0) & (each.pred_masks <= 1)).all()


@pytest.mark.parametrize("damage", [[0, 3], []])
def test_the_head_works_in_the_model_by_its_key(damage: list[int]) -> None:
    torch.manual_seed(0)
    model = build_pair_model(tiny_config(**CHANGES))
    assert isinstance(model.roi_heads.mask_head, BoundaryMaskHead)
    with EventStorage():
        losses = model([training_input(damage)])
    assert torch.isfinite(losses["loss_mask_edge"])
    sum(losses.values()).backward()
    assert not [key for key, each in model.named_parameters() if each.requires_grad and each.grad is None]
    with torch.no_grad():
        (output,) = model.eval()([training_input(damage)])
    assert output["instances"].pred_masks.shape[1:] == (1, 28, 28)
