import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from tiny_model import tiny_config, training_input

from skyeye_det.engine.setup import build_pair_model
from skyeye_det.modeling import roi_heads
from skyeye_det.modeling.damage_head import ORDINAL_FORMS
from skyeye_det.modeling.fusion import FUSIONS
from skyeye_det.modeling.roi_heads import enlarge_boxes, mask_in_enlarged_box

BATCHES = {
    "regular": [[0, 1, 2, 3], [3, 0]],
    "half-empty": [[0, 3], []],
    "empty": [[], []],
    "un-classified": [[-1, -1], [-1]],
}
LOSSES = {"loss_cls", "loss_box_reg", "loss_mask", "loss_damage", "loss_rpn_cls", "loss_rpn_loc"}


def build(**changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_pair_model(tiny_config(MODEL__META_ARCHITECTURE="PairRCNN", **changes))


def losses_of(model: torch.nn.Module, batch: list[list[int]]) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    with EventStorage():
        return model([training_input(damage, seed=number) for number, damage in enumerate(batch)])


@pytest.mark.parametrize(("fusion", "ordinal"), list(zip(FUSIONS, ORDINAL_FORMS, strict=True)))
def test_losses_are_finite_and_reach_every_parameter(fusion: str, ordinal: str) -> None:
    model = build(MODEL__DAMAGE_HEAD__FUSION=fusion, MODEL__DAMAGE_HEAD__ORDINAL=ordinal)
    for name, batch in BATCHES.items():
        model.zero_grad()
        losses = losses_of(model, batch)
        assert set(losses) == LOSSES
        assert all(torch.isfinite(loss) for loss in losses.values()), (name, losses)
        sum(losses.values()).backward()
        unreached = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not unreached, (name, unreached)
        has_grades = name in ("regular", "half-empty")
        reached = any(p.grad.any() for p in model.roi_heads.damage_head.parameters())
        assert (losses["loss_damage"].item() > 0) == reached == has_grades, name


@pytest.mark.parametrize(("fusion", "ordinal"), list(zip(FUSIONS, ORDINAL_FORMS, strict=True)))
def test_inference_grades_every_instance(fusion: str, ordinal: str) -> None:
    model = build(MODEL__DAMAGE_HEAD__FUSION=fusion, MODEL__DAMAGE_HEAD__ORDINAL=ordinal).eval()
    inputs = [{"image": torch.zeros(6, 64, 64, dtype=torch.uint8)}, training_input([])]
    with torch.no_grad():
        outputs = model(inputs)
    for output in outputs:
        found = output["instances"]
        assert len(found) > 0
        assert found.pred_damage_probs.shape == (len(found), 4)
        torch.testing.assert_close(found.pred_damage_probs.sum(dim=1), torch.ones(len(found)))
        assert torch.equal(found.pred_damage, found.pred_damage_probs.argmax(dim=1))


def test_unclassified_building_trains_box_and_mask_and_no_grade() -> None:
    model = build()
    graded, ignored = losses_of(model, [[0, 1]]), losses_of(model, [[0, -1]])
    assert ignored["loss_mask"].item() == graded["loss_mask"].item() > 0
    assert ignored["loss_box_reg"].item() == graded["loss_box_reg"].item()
    assert ignored["loss_damage"].item() != graded["loss_damage"].item()
    assert losses_of(model, [[-1, -1]])["loss_damage"].item() == 0


def test_post_image_moves_damage_and_nothing_else() -> None:
    model = build().eval()
    pair = training_input([0])
    other = {**pair, "image": pair["image"].clone()}
    other["image"][3:] = 255 - other["image"][3:]
    with torch.no_grad():
        first, second = (model([each])[0]["instances"] for each in (pair, other))
    torch.testing.assert_close(first.pred_boxes.tensor, second.pred_boxes.tensor, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(first.pred_masks, second.pred_masks, atol=1e-4, rtol=1e-3)
    assert (first.pred_damage_probs - second.pred_damage_probs).abs().max() > 1e-6


def test_boxes_are_enlarged_around_their_centres() -> None:
    found = enlarge_boxes(Boxes(torch.tensor([[10.0, 20.0, 20.0, 40.0]])), 1.4)
    torch.testing.assert_close(found.tensor, torch.tensor([[8.0, 16.0, 22.0, 44.0]]))
    assert len(enlarge_boxes(Boxes(torch.zeros(0, 4)), 1.4)) == 0


@pytest.mark.parametrize("value", [1.0, 0.4])
def test_mask_lies_in_the_middle_of_the_enlarged_box_and_nothing_outside(value: float) -> None:
    found = mask_in_enlarged_box(torch.full((2, 1, 28, 28), value), scale=1.4, bins=7)
    expected = torch.zeros(2, 1, 7, 7)
    expected[..., 1:6, 1:6] = value
    torch.testing.assert_close(found, expected)


def test_each_part_of_the_mask_stays_in_its_place() -> None:
    mask = torch.zeros(1, 1, 28, 28)
    mask[..., :14, 14:] = 1
    found = mask_in_enlarged_box(mask, scale=2.0, bins=8)[0, 0]
    assert found[2:4, 4:6].min() > 0.9
    found[2:4, 4:6] = 0
    assert found.max() < 0.15


def test_a_bin_that_the_mask_fills_by_half_has_half() -> None:
    mask = torch.zeros(1, 1, 28, 28)
    mask[..., :14] = 1
    found = mask_in_enlarged_box(mask, scale=1.0, bins=7)[0, 0]
    torch.testing.assert_close(found, torch.tensor([1, 1, 1, 0.5, 0, 0, 0]).expand(7, 7))


def test_no_masks_give_no_masks() -> None:
    assert mask_in_enlarged_box(torch.zeros(0, 1, 28, 28), scale=1.4, bins=7).shape == (0, 1, 7, 7)


def seen_by_damage_head(heads: torch.nn.Module) -> list[tuple]:
    """What the damage head is called with from now on."""
    calls: list[tuple] = []
    heads.damage_head.register_forward_pre_hook(lambda _, arguments: calls.append(arguments))
    return calls


def feature_maps(pairs: int = 1) -> dict[str, torch.Tensor]:
    """Features of noise, the same before and after."""
    features = {}
    for number, stride in enumerate((4, 8, 16, 32), start=2):
        generator = torch.Generator().manual_seed(number)
        pre = torch.randn(pairs, 16, 128 // stride, 128 // stride, generator=generator)
        features |= {f"p{number}": pre, f"p{number}_post": pre}
    return features


def instances_at(*boxes: tuple[float, float, float, float]) -> Instances:
    found = Instances((128, 128))
    found.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    found.pred_masks = torch.ones(len(boxes), 1, 28, 28)
    return found


@pytest.mark.parametrize("counts", [(2, 0), (0, 0), (1, 3)])
@pytest.mark.parametrize(("alignment", "masks"), [("correlation", True), ("none", False)])
def test_given_buildings_are_graded_image_by_image(
    alignment: str, masks: bool, counts: tuple[int, int]
) -> None:
    heads = build(MODEL__DAMAGE_HEAD__ALIGNMENT=alignment, MODEL__DAMAGE_HEAD__MASK_POOLING=masks)
    heads = heads.eval().roi_heads
    every = [instances_at(*[(10 + 20 * n, 40, 26 + 20 * n, 60) for n in range(count)]) for count in counts]
    with torch.no_grad():
        graded = heads.classify(feature_maps(pairs=2), every)
    for found, count in zip(graded, counts, strict=True):
        assert found.pred_damage_probs.shape == (count, 4)
        torch.testing.assert_close(found.pred_damage_probs.sum(dim=1), torch.ones(count))
        assert torch.equal(found.pred_damage, found.pred_damage_probs.argmax(dim=1))


def test_the_mask_of_a_building_changes_its_grade() -> None:
    heads = build(MODEL__DAMAGE_HEAD__MASK_POOLING=True).eval().roi_heads
    whole, half = instances_at((40, 40, 72, 72)), instances_at((40, 40, 72, 72))
    half.pred_masks[..., :14] = 0
    with torch.no_grad():
        heads.classify(feature_maps(), [whole])
        heads.classify(feature_maps(), [half])
    assert (whole.pred_damage_probs - half.pred_damage_probs).abs().max() > 1e-6


def true_buildings(*boxes: tuple[int, int, int, int], gap: int = 0) -> Instances:
    """Proposals that lie on true buildings, whose upper right corner of ``gap`` px is missing."""
    found = Instances((128, 128))
    masks = torch.zeros(len(boxes), 128, 128, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
        mask[y0 : y0 + gap, x1 - gap : x1] = False
    found.proposal_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    found.gt_classes = torch.zeros(len(boxes), dtype=torch.int64)
    found.gt_masks = BitMasks(masks)
    found.gt_damage = torch.ones(len(boxes), dtype=torch.int64)
    return found


def test_training_reads_the_true_masks_as_inference_reads_the_found() -> None:
    heads = build(MODEL__DAMAGE_HEAD__MASK_POOLING=True).roi_heads
    calls = seen_by_damage_head(heads)
    truth = true_buildings((40, 40, 68, 68), (4, 90, 32, 118), gap=14)
    elsewhere = true_buildings((90, 8, 118, 36), gap=14)
    heads.damage_losses(feature_maps(pairs=3), [truth, true_buildings(), elsewhere])
    masks = calls[0][2]
    in_box = torch.ones(3, 1, 28, 28)
    in_box[..., :14, 14:] = 0
    expected = mask_in_enlarged_box(in_box, heads.context_scale, 7)
    torch.testing.assert_close(masks, expected, atol=0.07, rtol=0)
    assert (masks.mean(dim=(1, 2, 3)) * 7 * 7 / 25).tolist() == pytest.approx([0.75] * 3, abs=0.03)


def test_true_masks_of_no_foreground_are_none() -> None:
    heads = build(MODEL__DAMAGE_HEAD__MASK_POOLING=True).roi_heads
    calls = seen_by_damage_head(heads)
    background = true_buildings((40, 40, 68, 68))
    background.gt_classes += 1
    losses = heads.damage_losses(feature_maps(pairs=2), [background, true_buildings()])
    assert calls[0][2].shape == (0, 1, 7, 7)
    assert losses["loss_damage"].item() == 0


@pytest.mark.parametrize("counts", [(5, 2), (0, 0), (4, 4)])
def test_masks_are_the_same_however_many_are_outlined_at_once(
    counts: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = build().eval().roi_heads
    torch.manual_seed(2)
    features = {f"p{level}": torch.randn(2, 16, 64 >> level, 64 >> level) for level in range(2, 6)}
    given = [found_boxes(count) for count in counts]
    drawn = {}
    for at_once in (1, 2, 100):
        monkeypatch.setattr(roi_heads, "_AT_ONCE", at_once)
        with torch.no_grad():
            drawn[at_once] = heads.outline(features, given)
    for at_once in (1, 2):
        for few, all_at_once, boxes in zip(drawn[at_once], drawn[100], given, strict=True):
            assert torch.equal(few.pred_boxes.tensor, boxes.pred_boxes.tensor)
            assert few.pred_masks.shape == (len(boxes), 1, 28, 28)
            torch.testing.assert_close(few.pred_masks, all_at_once.pred_masks)


def found_boxes(count: int) -> Instances:
    found = Instances((64, 64))
    corners = torch.rand(count, 2) * 40
    found.pred_boxes = Boxes(torch.cat([corners, corners + 12], dim=1))
    found.pred_classes = torch.zeros(count, dtype=torch.int64)
    return found
