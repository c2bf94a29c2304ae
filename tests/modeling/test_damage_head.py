from itertools import product
from pathlib import Path

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import Instances
from tiny_model import CONFIGS, tiny_config, tiny_overrides

from skyeye_det.engine.setup import load_config
from skyeye_det.errors import InputError
from skyeye_det.modeling.alignment import ALIGNMENTS
from skyeye_det.modeling.damage_head import DamageHead
from skyeye_det.modeling.fusion import FUSIONS

POOLED = ShapeSpec(channels=8, height=3, width=3)
OPTIONS = list(product(ALIGNMENTS, [False, True], [False, True], FUSIONS))
IMAGES = {"regular": [3, 2], "half-empty": [0, 2], "one building": [1], "empty": [0, 0]}


def head(**changes: object) -> DamageHead:
    arguments = {
        "fusion": "concat_diff",
        "ordinal": "corn",
        "num_conv": 1,
        "conv_dim": 8,
        "fc_dim": 16,
        "class_weights": [1.0, 1.0, 1.0, 1.0],
    }
    return DamageHead(POOLED, **(arguments | changes))


def configured(alignment: str, mask_pooling: bool, object_context: bool, **keys: object) -> DamageHead:
    keys |= {"ALIGNMENT": alignment, "MASK_POOLING": mask_pooling, "OBJECT_CONTEXT": object_context}
    changes = {f"MODEL__DAMAGE_HEAD__{key}": value for key, value in keys.items()}
    return DamageHead(tiny_config(**changes), POOLED)


def logits_of(damage_head: DamageHead, counts: list[int]) -> torch.Tensor:
    """Of noise, with masks where the head needs them."""
    generator = torch.Generator().manual_seed(0)
    total = sum(counts)
    pre, post = torch.randn(2, total, 8, 3, 3, generator=generator)
    masks = torch.rand(total, 1, 3, 3, generator=generator) if damage_head.needs_masks else None
    boxes = [100 * torch.rand(count, 4, generator=generator) for count in counts]
    return damage_head(pre, post, masks, boxes)


@pytest.mark.parametrize(("ordinal", "width"), [("corn", 3), ("coral", 3), ("cross_entropy", 4)])
@pytest.mark.parametrize("counts", IMAGES.values(), ids=IMAGES)
def test_logits_have_the_width_of_the_ordinal_form(ordinal: str, width: int, counts: list[int]) -> None:
    assert logits_of(head(ordinal=ordinal), counts).shape == (sum(counts), width)


def test_works_without_convolutions() -> None:
    assert logits_of(head(num_conv=0, mask_pooling=True), [2]).shape == (2, 3)


@pytest.mark.parametrize(("alignment", "mask_pooling", "object_context", "fusion"), OPTIONS)
def test_every_option_gives_finite_logits_and_reaches_every_parameter(
    alignment: str, mask_pooling: bool, object_context: bool, fusion: str
) -> None:
    damage_head = configured(alignment, mask_pooling, object_context, FUSION=fusion)
    assert damage_head.needs_masks == mask_pooling
    for (name, counts), half in product(IMAGES.items(), [False, True]):
        damage_head.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = logits_of(damage_head, counts)
        assert logits.shape == (sum(counts), 3), name
        assert logits.dtype == torch.float32
        assert logits.isfinite().all(), name
        logits.sum().backward()
        for key, parameter in damage_head.named_parameters():
            assert parameter.grad is not None, (name, key)
            assert parameter.grad.isfinite().all(), (name, key)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_gradients_arrive_once_the_zero_layers_have_moved(alignment: str) -> None:
    torch.manual_seed(0)
    damage_head = configured(alignment, True, True)
    for parameter in damage_head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    logits_of(damage_head, [4, 3]).square().sum().backward()
    still = [key for key, parameter in damage_head.named_parameters() if not parameter.grad.any()]
    assert not still


def test_options_are_read_from_yaml(tmp_path: Path) -> None:
    keys = "ALIGNMENT: correlation, MASK_POOLING: true, OBJECT_CONTEXT: true, ORDINAL: cross_entropy"
    file = tmp_path / "damage.yaml"
    file.write_text(f"_BASE_: {CONFIGS / 'xbd_mrcnn.yaml'}\nMODEL:\n  DAMAGE_HEAD: {{{keys}}}\n")
    damage_head = DamageHead(load_config(file, tiny_overrides()), POOLED)
    assert damage_head.needs_masks
    assert damage_head.object_context is not None
    assert "alignment.stay" in damage_head.state_dict()
    assert logits_of(damage_head, [2]).shape == (2, 4)


def test_options_that_start_as_the_identity_change_nothing_at_first() -> None:
    plain = head()
    optional = head(alignment="deformable", object_context=True)
    missing = optional.load_state_dict(plain.state_dict(), strict=False)
    assert not missing.unexpected_keys  # weights of the plain head fit
    torch.testing.assert_close(logits_of(optional, [3]), logits_of(plain, [3]))


@pytest.mark.parametrize("left_out", [None, "channel", "means"])
def test_masks_reach_the_grade_as_a_channel_and_as_means(left_out: str | None) -> None:
    torch.manual_seed(0)
    damage_head = head(mask_pooling=True, fc_dim=64)
    pre, post = torch.randn(2, 1, 8, 3, 3).expand(-1, 2, -1, -1, -1)
    masks = torch.zeros(2, 1, 3, 3)
    masks[1, 0, 1, 1] = 1
    with torch.no_grad():
        if left_out == "channel":
            damage_head.layers[0].weight[:, -1] = 0
        elif left_out == "means":
            damage_head.layers[-2].weight[:, -2 * damage_head.fusion.out_channels :] = 0
    first, second = damage_head(pre, post, masks, [torch.zeros(2, 4)])
    assert (first - second).abs().max() > 1e-4


def test_mask_pooling_without_masks_is_an_error() -> None:
    pooled = torch.zeros(1, 8, 3, 3)
    with pytest.raises(ValueError, match="needs the buildings' masks; found None"):
        head(mask_pooling=True)(pooled, pooled, None, [torch.zeros(1, 4)])


def test_object_context_makes_a_grade_depend_on_the_neighbours() -> None:
    damage_head = head(object_context=True)
    torch.nn.init.normal_(damage_head.object_context.output.weight)
    pre, post = torch.randn(2, 3, 8, 3, 3)
    boxes = 100 * torch.rand(3, 4)
    together = damage_head(pre, post, None, [boxes])
    alone = damage_head(pre[:1], post[:1], None, [boxes[:1]])
    assert not torch.allclose(together[:1], alone)


def test_inference_shares_the_buildings_out_to_their_images() -> None:
    images = [Instances((9, 9), scores=torch.zeros(count)) for count in (2, 0, 1)]
    logits = torch.tensor([[-9.0, 0, 0], [9.0, -9, 0], [9.0, 9, 9]])
    head().inference(logits, images)
    assert [found.pred_damage.tolist() for found in images] == [[0, 1], [], [3]]
    for found in images:
        assert found.pred_damage.dtype == torch.int64
        assert found.pred_damage_probs.dtype == torch.float32
        assert found.pred_damage_probs.shape == (len(found), 4)


def test_loss_is_weighted() -> None:
    logits, damage = torch.zeros(2, 3), torch.tensor([0, 3])
    plain = head().losses(logits, damage)["loss_damage"]
    doubled = head(loss_weight=2.0).losses(logits, damage)["loss_damage"]
    assert doubled.item() == pytest.approx(2 * plain.item())


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, 1.0, 1.0, -1.0]])
def test_wrong_class_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(InputError, match="CLASS_WEIGHTS: expected 4 numbers of 0 or more"):
        head(class_weights=weights)
