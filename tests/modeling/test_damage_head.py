from itertools import product
from math import exp, log
from pathlib import Path

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import Instances
from tiny_model import CONFIGS, tiny_config, tiny_overrides

from skyeye_det.engine.setup import load_config
from skyeye_det.errors import InputError
from skyeye_det.modeling.alignment import ALIGNMENTS
from skyeye_det.modeling.damage_head import (
    ORDINAL_FORMS,
    DamageHead,
    OrdinalPredictor,
    ordinal_loss,
    ordinal_probabilities,
)

POOLED = ShapeSpec(channels=8, height=3, width=3)
OPTIONS = [
    ("none", False, False, "concat"),
    ("none", True, True, "attention"),
    ("none", True, False, "concat_diff"),
    ("correlation", False, True, "attention"),
    ("correlation", True, True, "concat"),
]
"""Every value of each, and pairs of them."""
IMAGES = {"regular": [3, 2], "half-empty": [0, 2], "one building": [1], "empty": [0, 0]}
WIDTHS = {"corn": 3, "coral": 3, "cross_entropy": 4}
EVEN = torch.ones(4)
LN3 = log(3)


def head(**changes: object) -> DamageHead:
    arguments = {"fusion": "concat_diff", "ordinal": "corn", "num_conv": 1, "conv_dim": 8, "fc_dim": 16}
    return DamageHead(POOLED, **(arguments | {"class_weights": [1.0, 1.0, 1.0, 1.0]} | changes))


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
    return damage_head(pre, post, masks, boxes)[0]


@pytest.mark.parametrize("form", ORDINAL_FORMS)
@pytest.mark.parametrize("counts", IMAGES.values(), ids=IMAGES)
def test_logits_have_the_width_of_the_ordinal_form(form: str, counts: list[int]) -> None:
    for damage_head in (head(ordinal=form), head(ordinal=form, num_conv=0, mask_pooling=True)):
        assert logits_of(damage_head, counts).shape == (sum(counts), WIDTHS[form])


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
        assert (logits.shape, logits.dtype) == ((sum(counts), 3), torch.float32)
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
    assert not [key for key, parameter in damage_head.named_parameters() if not parameter.grad.any()]


def test_options_are_read_from_yaml(tmp_path: Path) -> None:
    keys = "ALIGNMENT: correlation, MASK_POOLING: true, OBJECT_CONTEXT: true, ORDINAL: cross_entropy"
    file = tmp_path / "damage.yaml"
    file.write_text(f"_BASE_: {CONFIGS / 'xbd_mrcnn.yaml'}\nMODEL:\n  DAMAGE_HEAD: {{{keys}}}\n")
    damage_head = DamageHead(load_config(file, tiny_overrides()), POOLED)
    assert damage_head.needs_masks
    assert damage_head.object_context is not None
    assert "alignment.stay" in damage_head.state_dict()
    assert logits_of(damage_head, [2]).shape == (2, 4)


def test_object_context_changes_nothing_at_first() -> None:
    plain, optional = head(), head(object_context=True)
    missing = optional.load_state_dict(plain.state_dict(), strict=False)
    assert not missing.unexpected_keys  # weights of the plain head fit
    torch.testing.assert_close(logits_of(optional, [3]), logits_of(plain, [3]))


@pytest.mark.parametrize("left_out", [None, "channel", "means"])
def test_masks_reach_the_logits_as_a_channel_and_as_means(left_out: str | None) -> None:
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
    first, second = damage_head(pre, post, masks, [torch.zeros(2, 4)])[0]
    assert (first - second).abs().max() > 1e-4
    with pytest.raises(ValueError, match="needs the buildings' masks; found None"):
        damage_head(pre, post, None, [torch.zeros(2, 4)])


def test_object_context_makes_damage_depend_on_the_neighbours() -> None:
    damage_head = head(object_context=True)
    torch.nn.init.normal_(damage_head.object_context.output.weight)
    pre, post = torch.randn(2, 3, 8, 3, 3)
    boxes = 100 * torch.rand(3, 4)
    together, _ = damage_head(pre, post, None, [boxes])
    assert not torch.allclose(together[:1], damage_head(pre[:1], post[:1], None, [boxes[:1]])[0])


def test_inference_shares_the_buildings_out_to_their_images() -> None:
    images = [Instances((9, 9), scores=torch.zeros(count)) for count in (2, 0, 1)]
    head().inference(torch.tensor([[-9.0, 0, 0], [9.0, -9, 0], [9.0, 9, 9]]), torch.zeros(3, 5), images)
    assert [found.pred_damage.tolist() for found in images] == [[0, 1], [], [3]]
    for found in images:
        assert found.pred_damage.dtype == torch.int64
        assert found.pred_damage_probs.dtype == torch.float32
        assert found.pred_damage_probs.shape == (len(found), 4)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"class_weights": [1.0, 1.0]}, "CLASS_WEIGHTS: expected 4 numbers of 0 to 1e6"),
        ({"class_weights": [1.0, 1.0, 1.0, -1.0]}, "CLASS_WEIGHTS: expected 4 numbers of 0 to 1e6"),
        ({"fc_dim": 0}, "NUM_CONV of 0 or more, found 3, 8, 0 and 1"),
        ({"ordinal": "rank"}, r"ORDINAL: expected one of .*corn.*found 'rank'"),
    ],
)
def test_wrong_settings_are_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        head(**changes)


@pytest.mark.parametrize(
    ("form", "logits", "expected"),
    [
        # P(y>0), P(y>1), P(y>2) are 1/2, 1/4, 1/8 and 3/4, 3/8, 3/32.
        ("corn", [0.0, 0.0, 0.0], [1 / 2, 1 / 4, 1 / 8, 1 / 8]),
        ("corn", [LN3, 0.0, -LN3], [1 / 4, 3 / 8, 9 / 32, 3 / 32]),
        ("coral", [LN3, 0.0, -LN3], [1 / 4, 1 / 4, 1 / 4, 1 / 4]),
        ("coral", [-LN3, LN3, 0.0], [3 / 4, 0.0, 0.0, 1 / 4]),  # crossed thresholds
        ("cross_entropy", [0.0, 0.0, 0.0, LN3], [1 / 6, 1 / 6, 1 / 6, 1 / 2]),
    ],
)
def test_probabilities_by_hand(form: str, logits: list[float], expected: list[float]) -> None:
    torch.testing.assert_close(ordinal_probabilities(torch.tensor([logits]), form), torch.tensor([expected]))


@pytest.mark.parametrize("form", ORDINAL_FORMS)
def test_probabilities_sum_to_one_and_are_none_below_zero(form: str) -> None:
    logits = 20 * torch.randn(200, WIDTHS[form], generator=torch.Generator().manual_seed(3))
    found = ordinal_probabilities(logits, form)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(200))
    assert found.min() >= 0
    assert ordinal_probabilities(logits[:0], form).shape == (0, 4)
    if form != "cross_entropy":  # larger logits never mean less damage
        rows = torch.tensor([[1.0, 0.0, -1.0]]) + torch.arange(-2.0, 3.0)[:, None]
        assert ((ordinal_probabilities(rows, form) @ torch.arange(4.0)).diff() > 0).all()


def log_sigmoid(value: float) -> float:
    return -log(1 + exp(-value))


WEIGHTED = [3.0, 1.0, 1.0, 1.0]
SOFTMAX = [[0.0, 0.0, 0.0, LN3]] * 2


@pytest.mark.parametrize(
    ("form", "logits", "damage", "weights", "expected"),
    [
        # No-damage: task 0 says no. Minor: task 0 yes, task 1 no. Three answers in all; the 5s are not asked.
        (
            "corn",
            [[1.0, 5.0, 5.0], [2.0, -1.0, 5.0]],
            [0, 1],
            [1.0] * 4,
            -(log_sigmoid(-1) + log_sigmoid(2) + log_sigmoid(1)) / 3,
        ),
        (
            "corn",
            [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]],
            [0, 1],
            WEIGHTED,
            -(3 * log_sigmoid(-1) + log_sigmoid(2) + log(0.5)) / 5,
        ),
        ("corn", [[0.0] * 3] * 5, [0, 1, 2, 3, 3], [1.0] * 4, log(2)),
        ("coral", [[1.0, 0.0, -1.0]], [2], [1.0] * 4, -(2 * log_sigmoid(1) + log(0.5)) / 3),
        ("cross_entropy", SOFTMAX, [0, 3], [1.0] * 4, -(log(1 / 6) + log(1 / 2)) / 2),
        ("cross_entropy", SOFTMAX, [0, 3], WEIGHTED, -(3 * log(1 / 6) + log(1 / 2)) / 4),
    ],
)
def test_losses_by_hand(form: str, logits: list, damage: list, weights: list, expected: float) -> None:
    found = ordinal_loss(torch.tensor(logits), torch.tensor(damage), torch.tensor(weights), form)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("form", ORDINAL_FORMS)
@pytest.mark.parametrize("rows", [0, 4])
def test_unclassified_buildings_change_nothing(form: str, rows: int) -> None:
    logits = torch.linspace(-2, 2, rows * WIDTHS[form]).reshape(rows, -1 if rows else WIDTHS[form])
    logits.requires_grad_()
    none = ordinal_loss(logits, torch.full((rows,), -1), EVEN, form)
    none.backward()
    assert none.item() == 0
    assert not logits.grad.any()
    if rows:
        alone = ordinal_loss(logits[:2], torch.tensor([3, 1]), EVEN, form)
        found = ordinal_loss(logits, torch.tensor([3, 1, -1, -1]), EVEN, form)
        assert found.item() == pytest.approx(alone.item())
        # Classes of weight zero alone give no NaN.
        without_weight = ordinal_loss(logits, torch.zeros(4).long(), torch.tensor([0.0, 1, 1, 1]), form)
        assert without_weight.item() == 0


def test_coral_begins_with_every_class_possible_and_the_likeliest_somewhere() -> None:
    predictor = OrdinalPredictor(1, "coral")
    assert (ordinal_probabilities(predictor(torch.zeros(1, 1)), "coral") > 0.1).all()
    with torch.no_grad():
        predictor.linear.weight.fill_(1)
    classes = ordinal_probabilities(predictor(torch.linspace(-4, 4, 81)[:, None]), "coral").argmax(dim=1)
    assert classes.unique().tolist() == [0, 1, 2, 3]
    assert (classes.diff() >= 0).all()
