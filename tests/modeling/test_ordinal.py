from math import exp, log

import pytest
import torch

from skyeye_det.errors import InputError
from skyeye_det.modeling.ordinal import (
    ORDINAL_FORMS,
    OrdinalPredictor,
    ordinal_loss,
    ordinal_probabilities,
)

EVEN = torch.ones(4)
LN2 = log(2)


def sigmoid(value: float) -> float:
    return 1 / (1 + exp(-value))


def logits_of(form: str, rows: int) -> torch.Tensor:
    width = 4 if form == "cross_entropy" else 3
    return torch.linspace(-2, 2, rows * width).reshape(rows, width).requires_grad_()


def test_corn_multiplies_conditional_probabilities() -> None:
    found = ordinal_probabilities(torch.tensor([[0.0, 0.0, 0.0], [log(3), 0.0, -log(3)]]), "corn")
    # P(y>0), P(y>1), P(y>2) are 1/2, 1/4, 1/8 and 3/4, 3/8, 3/32.
    expected = [[1 / 2, 1 / 4, 1 / 8, 1 / 8], [1 / 4, 3 / 8, 9 / 32, 3 / 32]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_coral_takes_differences_of_cumulative_probabilities() -> None:
    found = ordinal_probabilities(torch.tensor([[log(3), 0.0, -log(3)]]), "coral")
    torch.testing.assert_close(found, torch.tensor([[1 / 4, 1 / 4, 1 / 4, 1 / 4]]))


def test_coral_with_crossed_thresholds_still_gives_probabilities() -> None:
    found = ordinal_probabilities(torch.tensor([[-log(3), log(3), 0.0]]), "coral")
    torch.testing.assert_close(found, torch.tensor([[3 / 4, 0.0, 0.0, 1 / 4]]))


def test_cross_entropy_probabilities_are_the_softmax() -> None:
    found = ordinal_probabilities(torch.tensor([[0.0, 0.0, 0.0, log(3)]]), "cross_entropy")
    torch.testing.assert_close(found, torch.tensor([[1 / 6, 1 / 6, 1 / 6, 1 / 2]]))


@pytest.mark.parametrize("form", ORDINAL_FORMS)
def test_probabilities_sum_to_one_and_are_none_below_zero(form: str) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = 20 * torch.randn(200, 4 if form == "cross_entropy" else 3, generator=generator)
    found = ordinal_probabilities(logits, form)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(200))
    assert found.min() >= 0
    assert ordinal_probabilities(logits[:0], form).shape == (0, 4)


@pytest.mark.parametrize("form", ["corn", "coral"])
def test_larger_logits_never_mean_less_damage(form: str) -> None:
    base = torch.tensor([[1.0, 0.0, -1.0]])
    rows = torch.cat([base + step for step in (-2.0, -1.0, 0.0, 1.0, 2.0)])
    expected_grade = ordinal_probabilities(rows, form) @ torch.arange(4.0)
    assert (expected_grade.diff() > 0).all()


def test_corn_asks_each_task_only_about_buildings_that_reach_it() -> None:
    logits = torch.tensor([[1.0, 5.0, 5.0], [2.0, -1.0, 5.0]])
    # no-damage: task 0 says no. minor: task 0 yes, task 1 no. Three answers in all; the 5s are not asked.
    expected = -(log(1 - sigmoid(1)) + log(sigmoid(2)) + log(1 - sigmoid(-1))) / 3
    assert ordinal_loss(logits, torch.tensor([0, 1]), EVEN, "corn").item() == pytest.approx(expected)


def test_coral_asks_all_tasks_about_all_buildings() -> None:
    logits = torch.tensor([[1.0, 0.0, -1.0]])
    expected = -(log(sigmoid(1)) + log(0.5) + log(1 - sigmoid(-1))) / 3
    assert ordinal_loss(logits, torch.tensor([2]), EVEN, "coral").item() == pytest.approx(expected)


def test_cross_entropy_loss_is_the_mean_of_negative_log_probabilities() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, log(3)]] * 2)
    expected = -(log(1 / 6) + log(1 / 2)) / 2
    assert ordinal_loss(logits, torch.tensor([0, 3]), EVEN, "cross_entropy").item() == pytest.approx(expected)


@pytest.mark.parametrize("form", ORDINAL_FORMS)
def test_unclassified_buildings_change_nothing(form: str) -> None:
    logits = logits_of(form, 4)
    alone = ordinal_loss(logits[:2], torch.tensor([3, 1]), EVEN, form)
    assert ordinal_loss(logits, torch.tensor([3, 1, -1, -1]), EVEN, form).item() == pytest.approx(
        alone.item()
    )


@pytest.mark.parametrize("form", ORDINAL_FORMS)
@pytest.mark.parametrize("rows", [0, 3])
def test_nothing_graded_gives_zero_loss_and_zero_gradient(form: str, rows: int) -> None:
    logits = logits_of(form, rows)
    loss = ordinal_loss(logits, torch.full((rows,), -1), EVEN, form)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_class_weights_weigh_buildings_by_their_true_grade() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, log(3)]] * 2)
    weights = torch.tensor([3.0, 1.0, 1.0, 1.0])
    expected = -(3 * log(1 / 6) + log(1 / 2)) / 4
    found = ordinal_loss(logits, torch.tensor([0, 3]), weights, "cross_entropy")
    assert found.item() == pytest.approx(expected)
    corn = ordinal_loss(
        torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]), torch.tensor([0, 1]), weights, "corn"
    )
    expected = -(3 * log(1 - sigmoid(1)) + log(sigmoid(2)) + log(0.5)) / 5
    assert corn.item() == pytest.approx(expected)


@pytest.mark.parametrize("form", ORDINAL_FORMS)
def test_grades_of_weight_zero_alone_give_no_nan(form: str) -> None:
    loss = ordinal_loss(logits_of(form, 2), torch.tensor([0, 0]), torch.tensor([0.0, 1, 1, 1]), form)
    assert loss.item() == 0


def test_even_logits_cost_one_bit_a_task() -> None:
    loss = ordinal_loss(torch.zeros(5, 3), torch.tensor([0, 1, 2, 3, 3]), EVEN, "corn")
    assert loss.item() == pytest.approx(LN2)


def test_coral_begins_with_every_grade_possible() -> None:
    predictor = OrdinalPredictor(8, "coral")
    probabilities = ordinal_probabilities(predictor(torch.zeros(1, 8)), "coral")
    assert (probabilities > 0.1).all()


def test_coral_begins_with_every_grade_the_likeliest_somewhere() -> None:
    predictor = OrdinalPredictor(1, "coral")
    with torch.no_grad():
        predictor.linear.weight.fill_(1)
    grades = ordinal_probabilities(predictor(torch.linspace(-4, 4, 81)[:, None]), "coral").argmax(dim=1)
    assert grades.unique().tolist() == [0, 1, 2, 3]
    assert (grades.diff() >= 0).all()


def test_unknown_form_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InputError, match=r"ORDINAL: expected one of .*corn.*found 'rank'"):
        OrdinalPredictor(8, "rank")
