"""Samples that people check, and what their answers say of all buildings, where the truth is known."""

import numpy as np
import pytest

from skyeye_det.evaluation.check_estimate import (
    NOT_A_BUILDING,
    OPEN,
    UNSURE,
    CheckSample,
    estimate,
    in_order,
    needed,
)
from skyeye_det.evaluation.check_sample import allocate, draw, grade_of, strata

PREVALENCES = (0.8, 0.1, 0.05, 0.05)
FALSE = 0.03
BUILDINGS = 3000
SAMPLES = 200


class Scene:
    """Buildings with their truth and a model of a given accuracy.

    A calibrated model knows the prevalences; others are sure of too much, or of too little.
    """

    def __init__(self, accuracy: float, calibrated: bool, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        grade = generator.choice(4, BUILDINGS, p=PREVALENCES)
        noise = generator.gumbel(size=(BUILDINGS, 4)) + calibrated * np.log(PREVALENCES)
        low, high = 0.0, 12.0
        for _ in range(40):
            signal = (low + high) / 2
            scores = signal * np.eye(4)[grade] + noise
            right = float((scores.argmax(axis=1) == grade).mean())
            low, high = (signal, high) if right < accuracy else (low, signal)
        self.probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        self.grades = self.probs.argmax(axis=1)
        self.truth = np.where(generator.random(BUILDINGS) < FALSE, NOT_A_BUILDING, grade)

    def sample(self, size: int, seed: int) -> tuple[CheckSample, np.ndarray]:
        """A sample and the numbers of its buildings."""
        stratum = strata(self.grades, self.probs, size)
        chosen = draw(stratum, size, seed)
        own = stratum[chosen]
        sums = np.stack([np.bincount(stratum, column) for column in self.probs.T], axis=1)
        return CheckSample(own, np.bincount(stratum)[own], self.probs[chosen], sums[own]), chosen

    @property
    def totals(self) -> list[float]:
        """Of each grade and of buildings, and the share that is graded rightly."""
        counts = [float((self.truth == grade).sum()) for grade in range(4)]
        return [*counts, sum(counts), float((self.truth == self.grades).mean())]


def covered(scene: Scene, size: int, samples: int, answered: float = 1.0) -> np.ndarray:
    """Share of the samples whose intervals hold each of ``Scene.totals``."""
    hits = np.zeros(6)
    for seed in range(samples):
        sample, chosen = scene.sample(size, seed)
        answers = scene.truth[chosen]
        answers[round(answered * size) :] = OPEN
        found = estimate(sample, answers)
        assert found is not None
        intervals = [*found.counts, found.buildings, found.accuracy]
        hits += [
            each.low - 1e-9 <= true <= each.high + 1e-9
            for each, true in zip(intervals, scene.totals, strict=True)
        ]
    return hits / samples


@pytest.mark.parametrize(
    ("accuracy", "calibrated", "size"),
    [(0.6, False, 50), (0.75, False, 100), (0.9, False, 200), (0.9, True, 50)],
)
def test_intervals_cover_the_truth_as_often_as_they_say(accuracy: float, calibrated: bool, size: int) -> None:
    shares = covered(Scene(accuracy, calibrated), size, SAMPLES)
    assert 0.85 <= shares.mean() <= 0.95, shares
    assert shares.min() >= 0.8, shares


@pytest.mark.parametrize(("size", "answered"), [(200, 0.4), (100, 0.7)])
def test_a_part_of_the_sample_answered_in_order_covers_as_well(size: int, answered: float) -> None:
    shares = covered(Scene(0.8, False), size, 200, answered)
    assert 0.85 <= shares.mean() <= 0.95, shares


def made(strata_sizes: dict[int, int], stratum: list[int], probs: np.ndarray | None = None) -> CheckSample:
    """A sample of strata by code; without probabilities of a model that says nothing."""
    own = np.array(stratum)
    given = np.full((len(own), 4), 0.25) if probs is None else probs
    sizes = np.array([strata_sizes[code] for code in stratum])
    return CheckSample(own, sizes, given, sizes[:, None] * np.full(4, 0.25))


def test_the_stratified_estimate_is_that_of_the_book() -> None:
    # Two strata of 100 and 900: 5 of 20 and 2 of 20 are destroyed, one of the second is no building.
    sample = made({0: 100, 9: 900}, [0] * 20 + [9] * 20)
    answers = np.array([3] * 5 + [0] * 15 + [3] * 2 + [0] * 17 + [NOT_A_BUILDING])
    found = estimate(sample, answers)
    assert found is not None
    assert not found.is_assisted
    assert [each.value for each in found.counts] == pytest.approx([75 + 765, 0, 0, 25 + 90])
    assert found.buildings.value == pytest.approx(1000 - 45)
    assert found.labelled == [100, 0, 0, 900]
    assert found.accuracy.value == pytest.approx((0.75 * 100 + 0.1 * 900) / 1000)
    assert (found.counted, found.unsure, found.waiting, found.merged) == (40, 0, 0, 0)
    for each in (*found.counts, found.buildings):
        assert each.low < each.value < each.high or each.value == each.low == 0


def test_a_good_model_narrows_the_interval_and_its_bias_is_taken_off() -> None:
    scene = Scene(0.9, True)
    sample, chosen = scene.sample(200, 0)
    blind = CheckSample(
        sample.stratum, sample.sizes, np.full((200, 4), 0.25), sample.sizes[:, None] * np.full(4, 0.25)
    )
    assisted, plain = (estimate(each, scene.truth[chosen]) for each in (sample, blind))
    assert assisted is not None
    assert plain is not None
    assert (assisted.is_assisted, plain.is_assisted) == (True, False)
    assert sum(each.high - each.low for each in assisted.counts) < sum(
        each.high - each.low for each in plain.counts
    )
    sums = np.zeros((2, 4))
    more = np.array([-0.1, 0, 0, 0.1])  # a model that sees a tenth more destroyed buildings everywhere
    for seed in range(100):
        sample, chosen = scene.sample(100, seed)
        skewed = CheckSample(
            sample.stratum, sample.sizes, sample.probs + more, sample.expected + sample.sizes[:, None] * more
        )
        for row, each in zip(sums, (sample, skewed), strict=True):
            found = estimate(each, scene.truth[chosen])
            assert found is not None
            row += [count.value / 100 for count in found.counts]
    assert sums[1] == pytest.approx(scene.totals[:4], abs=35)


def test_answers_that_agree_leave_an_interval_and_all_answers_none() -> None:
    alike = estimate(made({0: 500}, [0] * 40), np.zeros(40, np.int64))
    assert alike is not None
    assert alike.counts[0].low < 485
    assert alike.counts[0].high == pytest.approx(500)
    assert alike.counts[3].low == 0 < alike.counts[3].high < 50
    assert alike.accuracy.low < 0.97
    assert alike.accuracy.high == pytest.approx(1)
    whole = estimate(made({0: 40}, [0] * 40), np.array([3] * 4 + [0] * 36))
    assert whole is not None
    assert whole.counts[3] == pytest.approx((4, 4, 4), abs=1e-3)


def test_answers_count_in_the_drawn_order_and_what_was_picked_waits() -> None:
    stratum = np.array([0, 9] * 20)
    answers = np.full(40, OPEN)
    answers[:32] = 0
    answers[[3, 36]] = OPEN, 3  # of the second stratum one is answered before it; the other is a pick
    assert in_order(stratum, answers)[:6].tolist() == [True, True, True, False, True, False]
    assert in_order(stratum, answers).sum() == 17
    assert estimate(made({0: 300, 9: 300}, stratum.tolist()), answers) is None
    answers[3] = UNSURE
    found = estimate(made({0: 300, 9: 300}, stratum.tolist()), answers)
    assert found is not None
    assert (found.counted, found.unsure, found.waiting) == (31, 1, 1)
    assert found.counts[3].value == 0
    assert needed(stratum) == 30
    assert needed(np.array([0] * 39 + [9])) == 40
    assert needed(np.zeros(0, np.int64)) == 0


def test_a_stratum_that_nobody_can_tell_goes_with_the_next_of_its_grade() -> None:
    stratum = [0] * 15 + [1] * 15 + [3] * 3
    answers = np.array([0] * 15 + [3] * 15 + [0] * 3)
    answers[15:30] = UNSURE
    found = estimate(made({0: 100, 1: 50, 3: 10}, stratum), answers)
    assert found is not None
    assert found.merged == 1
    assert found.counts[0].value == pytest.approx(160)
    assert estimate(made({0: 100}, [0] * 40), np.full(40, UNSURE)) is None
    assert estimate(made({}, []), np.zeros(0, np.int64)) is None


def test_strata_are_drawn_in_proportion_with_a_least_number_in_each() -> None:
    assert allocate(np.array([1000, 900, 90, 8, 2]), 100).tolist() == [48, 44, 3, 3, 2]
    assert allocate(np.array([5, 3]), 100).tolist() == [5, 3]
    scene = Scene(0.75, False)
    assert len(np.unique(strata(scene.grades, scene.probs, 50))) == 4
    banded = strata(scene.grades, scene.probs, 200)
    assert len(np.unique(banded)) > 8
    assert (grade_of(banded) == scene.grades).all()
    chosen = draw(banded, 200, 3)
    assert len(set(chosen.tolist())) == 200
    assert (chosen == draw(banded, 200, 3)).all()
    assert not (chosen == draw(banded, 200, 4)).all()
    shares = np.bincount(banded[chosen][:100]) / np.maximum(np.bincount(banded[chosen]), 1)
    assert np.abs(shares[np.bincount(banded[chosen]) > 5] - 0.5).max() < 0.15  # so far half of each
    assert len(draw(np.zeros(0, np.int64), 200, 0)) == 0
