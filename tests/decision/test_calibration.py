import numpy as np
import pytest

from skyeye_det.decision.calibration import FLATTEST, SHARPEST, Reliability, fit_temperature
from skyeye_det.decision.rule import DecisionRule


def drawn(temperature: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right at ``temperature``, and classes drawn from them as they then are."""
    rng = np.random.default_rng(3)
    probs = rng.dirichlet((0.5, 0.5, 0.5, 0.5), count).astype(np.float32)
    true = DecisionRule(temperature=temperature).calibrated(probs)
    return probs, (true.cumsum(axis=1) < rng.random((count, 1)) * true.sum(1, keepdims=True)).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_that_classes_were_drawn_at_is_found(temperature: float) -> None:
    probs, grades = drawn(temperature)
    assert fit_temperature(probs, grades) == pytest.approx(temperature, rel=0.05)


def test_fitted_temperature_lowers_error_and_loss() -> None:
    probs, grades = drawn(2.5)
    rule = DecisionRule(temperature=fit_temperature(probs, grades))
    before, after = Reliability.of(probs, grades), Reliability.of(rule.calibrated(probs), grades)
    assert before.error > 0.15
    assert after.error < 0.02
    assert after.loss < before.loss
    assert after.report()["accuracy"] == before.report()["accuracy"]


def test_no_temperature_nearby_has_a_lower_loss() -> None:
    probs, grades = drawn(1.7, 300)
    found = fit_temperature(probs, grades)
    losses = [
        Reliability.of(DecisionRule(temperature=found * factor).calibrated(probs), grades).loss
        for factor in (0.97, 1, 1.03)
    ]
    assert losses[1] < min(losses[0], losses[2])


def test_weights_count_like_repeated_rows() -> None:
    probs, grades = drawn(2.0, 50)
    times = np.arange(50) % 3
    repeated = fit_temperature(probs.repeat(times, axis=0), grades.repeat(times))
    assert fit_temperature(probs, grades, times) == pytest.approx(repeated, rel=1e-9)


def test_nothing_to_learn_from_leaves_probabilities_as_they_are() -> None:
    assert fit_temperature(np.zeros((0, 4)), np.zeros(0, int)) == 1.0
    assert fit_temperature(np.full((3, 4), 0.25), np.array([0, 1, 2])) == 1.0
    assert fit_temperature(np.eye(4), np.arange(4), np.zeros(4)) == 1.0


def test_temperature_stays_in_its_range() -> None:
    probs = np.array([[0.7, 0.1, 0.1, 0.1]])
    assert fit_temperature(probs, np.array([0])) == pytest.approx(SHARPEST)
    assert fit_temperature(probs, np.array([1])) == pytest.approx(FLATTEST)
    # ruled out altogether: still a number
    assert fit_temperature(np.array([[1.0, 0, 0, 0]]), np.array([3])) == pytest.approx(FLATTEST)


def test_error_by_hand() -> None:
    probs = np.array(
        [[0.95, 0.05, 0, 0], [0.91, 0.09, 0, 0], [0.05, 0.05, 0.85, 0.05], [0.1, 0.45, 0.4, 0.05]]
    )
    grades = np.array([0, 1, 2, 3])
    # bin 0.9..1: two, confidence 0.93, accuracy 0.5; bin 0.8..: one, 0.85, right; bin 0.4..: one, 0.45, wrong
    expected = (2 * abs(0.93 - 0.5) + abs(0.85 - 1) + 0.45) / 4
    found = Reliability.of(probs, grades)
    assert found.error == pytest.approx(expected)
    report = found.report()
    assert [row["buildings"] for row in report["bins"]] == [1, 1, 2]
    assert report["bins"][2] == pytest.approx(
        {"low": 0.9, "high": 1.0, "buildings": 2, "confidence": 0.93, "accuracy": 0.5}
    )
    assert report["nll"] == pytest.approx(-np.log([0.95, 0.09, 0.85, 0.05]).mean())


def test_reliability_adds_up_over_tiles() -> None:
    probs, grades = drawn(1.5, 100)
    parts = Reliability.of(probs[:30], grades[:30]) + Reliability.of(probs[30:], grades[30:])
    whole = Reliability.of(probs, grades)
    assert parts.error == pytest.approx(whole.error)
    assert parts.loss == pytest.approx(whole.loss)
    np.testing.assert_array_equal(parts.count, whole.count)


def test_no_building_has_no_error() -> None:
    report = Reliability.of(np.zeros((0, 4)), np.zeros(0, int)).report()
    assert report["buildings"] == 0
    assert report["bins"] == []
    assert np.isnan([report[key] for key in ("ece", "accuracy", "confidence", "nll")]).all()


def test_certain_probability_falls_into_the_last_bin() -> None:
    found = Reliability.of(np.array([[1.0, 0, 0, 0]]), np.array([0]))
    assert found.count.tolist() == [0] * 9 + [1]
    assert found.error == 0
