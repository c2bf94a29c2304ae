"""How many buildings there are of each grade, from the answers to a sample of ``check_sample``.

Two estimators (with the finite population correction): the stratified one, the mean of each stratum times its
size (Cochran 1977, chapter 5), and the model-assisted difference: the sum of the model's probabilities plus
the mean difference of answers and probabilities (Saerndal, Swensson and Wretman 1992, chapter 6;
prediction-powered inference, Angelopoulos et al. 2023, without tuning). The one whose variances, summed over
all grades, are smaller is taken for all of them.

Where the few answers of a stratum agree, its variance would be 0. So one answer with the whole sample's
proportions is added to each stratum, in variances alone. Intervals are Wilson's for as many
answers as would have this variance in a simple random sample (Korn and Graubard 1998), cut at what is
possible.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.evaluation.check_sample import grade_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NOT_A_BUILDING, UNSURE, OPEN = -1, -2, -3
"""Answers beside the grades 0..3; ``OPEN``: none yet."""

FEWEST = 30
"""Answers, from which on an estimate is made; all of a smaller sample."""

_KINDS = NUM_DAMAGE_CLASSES + 1
"""The grades, and no building."""

DEVIATIONS = 1.6449
"""Of the 5th and 95th percentile of a normal distribution."""

_PRIOR = 1.0
"""Answers that are added."""


@dataclass(frozen=True, eq=False)
class CheckSample:
    """A drawn sample of n buildings and the strata that it is of.

    Attributes:
        stratum: (n,), codes of ``check_sample.strata``, in the order in which they were drawn.
        sizes: (n,), buildings of the stratum.
        probs: (n, 4), the model's.
        expected: (n, 4), sums of the model's probabilities over the buildings of the stratum.
    """

    stratum: Ints
    sizes: Ints
    probs: Floats
    expected: Floats


class Estimated(NamedTuple):
    """A number of buildings, or a share of them, with its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class CheckEstimate:
    """What the answers say of the buildings that the model assessed.

    Attributes:
        labelled: how many have each grade by the model.
        counts: how many have it.
        buildings: how many are buildings.
        accuracy: share whose grade by the model is the right one, 0..1.
        is_assisted: whether the model's probabilities are used.
        counted: answers that count.
        unsure: answers, among those in order, that are ``UNSURE``.
        waiting: answers that wait for one before them in their stratum.
        merged: strata without an answer that counts, taken together with their neighbours.
    """

    labelled: list[int]
    counts: list[Estimated]
    buildings: Estimated
    accuracy: Estimated
    is_assisted: bool
    counted: int
    unsure: int
    waiting: int
    merged: int


def in_order(stratum: Ints, answers: Ints) -> NDArray[np.bool_]:
    """Which answers count: in each stratum those before the first open one.

    Within a stratum the order is random, so these are a random sample of it, whichever buildings were
    answered beyond; what a person picks is none.
    """
    counts = np.zeros(len(answers), np.bool_)
    for code in np.unique(stratum).tolist():
        places = np.flatnonzero(stratum == code)
        counts[places] = np.logical_and.accumulate(answers[places] != OPEN)
    return counts


def needed(stratum: Ints) -> int:
    """How many answers in order an estimate takes: one of each stratum, and ``FEWEST``."""
    firsts = np.unique(stratum, return_index=True)[1]
    return max(min(FEWEST, len(stratum)), int(firsts.max(initial=-1)) + 1)


def estimate(sample: CheckSample, answers: Ints) -> CheckEstimate | None:
    """Estimates the number of buildings of each grade.

    Args:
        sample: that was drawn.
        answers: (n,), 0..3, ``NOT_A_BUILDING``, ``UNSURE`` (taken as missing at random within the
            stratum) or ``OPEN``.

    Returns:
        None where there are too few.
    """
    first = in_order(sample.stratum, answers)
    reached = np.unique(sample.stratum[first])
    if first.sum() < min(FEWEST, len(answers)) or len(reached) < len(np.unique(sample.stratum)):
        return None
    told = first & (answers != UNSURE)
    if not told.any():
        return None
    group = _groups(sample.stratum, told)
    codes, place = np.unique(sample.stratum, return_index=True)
    frame = _Frame.of(sample, place, group[place])
    answered = np.where(answers == NOT_A_BUILDING, NUM_DAMAGE_CLASSES, answers)[told]
    found, assisted = _better(frame, group[told], sample.probs[told], answered)
    *counts, false = _intervals(frame, found, np.bincount(answered, minlength=_KINDS))
    right = (answered == grade_of(sample.stratum[told])).astype(np.int64)
    hits = _stratified(frame, group[told], np.eye(2)[right])
    total = float(frame.sizes.sum())
    return CheckEstimate(
        labelled=np.bincount(grade_of(codes), sample.sizes[place], NUM_DAMAGE_CLASSES).astype(int).tolist(),
        counts=counts,
        buildings=Estimated(total - false.value, total - false.high, total - false.low),
        accuracy=Estimated(
            *(end / total for end in _intervals(frame, hits, np.bincount(right, minlength=2))[1])
        ),
        is_assisted=assisted,
        counted=int(told.sum()),
        unsure=int((first & ~told).sum()),
        waiting=int((~first & (answers != OPEN)).sum()),
        merged=len(codes) - len(frame.sizes),
    )


@dataclass(frozen=True, eq=False)
class _Frame:
    """H groups of strata: their sizes (H,), and sums of the model's probabilities (H, 5)."""

    sizes: Floats
    expected: Floats

    @classmethod
    def of(cls, sample: CheckSample, place: Ints, group: Ints) -> "_Frame":
        sizes = np.bincount(group, sample.sizes[place]).astype(np.float64)
        expected = np.zeros((len(sizes), _KINDS))
        np.add.at(expected[:, :NUM_DAMAGE_CLASSES], group, sample.expected[place])
        return cls(sizes, expected)


def _groups(stratum: Ints, told: NDArray[np.bool_]) -> Ints:
    """(n,) 0..H-1: strata; one without an answer goes with the nearest, of its own grade if there is one."""
    answered = np.unique(stratum[told])
    codes, inverse = np.unique(stratum, return_inverse=True)
    near = [
        min(answered.tolist(), key=lambda other: (grade_of(other) != grade_of(code), abs(other - code)))
        for code in codes
    ]
    return np.searchsorted(answered, np.array(near))[inverse]


def _means(values: Floats, group: Ints, groups: int) -> tuple[Floats, Floats]:
    """Numbers (H, 1) of answers, and means (H, K) of values (n, K)."""
    count = np.bincount(group, minlength=groups)[:, None].astype(np.float64)
    sums = np.zeros((groups, values.shape[1]))
    np.add.at(sums, group, values)
    return count, sums / count


class _Totals(NamedTuple):
    """Of K kinds: totals, their variances, and shares of all buildings with what is added (K,)."""

    value: Floats
    variance: Floats
    share: Floats


def _stratified(frame: _Frame, group: Ints, values: Floats) -> _Totals:
    """Of values (n, K), in each row one 1."""
    mean = _means(values, group, len(frame.sizes))[1]
    variance, smooth = _variance(frame, group, values, np.zeros_like(values))
    size = frame.sizes[:, None]
    return _Totals((size * mean).sum(axis=0), variance, (size * smooth).sum(axis=0) / size.sum())


def _variance(frame: _Frame, group: Ints, values: Floats, said: Floats) -> tuple[Floats, Floats]:
    """Variances (K,) of totals of values - said (n, K), and smoothed means (H, K) of the values.

    What is added has the proportions of the whole sample, there with a bit of each, and knows nothing of what
    the model has said.
    """
    size = frame.sizes[:, None]
    count, mean = _means(values, group, len(size))
    answers = len(values)
    whole = (answers * (frame.sizes @ mean / size.sum()) + 1 / values.shape[1]) / (answers + 1)
    told, square = (_means(each, group, len(size))[1] for each in (said, (values - said) ** 2))
    added = whole * (1 - whole) + _means((whole - said) ** 2, group, len(size))[1]
    middle, second, smooth = (
        (count * own + _PRIOR * more) / (count + _PRIOR)
        for own, more in ((mean - told, whole - told), (square, added), (mean, whole))
    )
    variance = size**2 * (1 - count / size) * (second - middle**2) / count
    return variance.sum(axis=0), smooth


def _better(frame: _Frame, group: Ints, probs: Floats, answered: Ints) -> tuple[_Totals, bool]:
    """Totals by the estimator of the smaller variance, and whether that is the assisted one."""
    values = np.eye(_KINDS)[answered]
    said = np.pad(probs, ((0, 0), (0, 1)))  # that something is no building, the model never says
    plain = _stratified(frame, group, values)
    variance, _ = _variance(frame, group, values, said)
    if variance.sum() > plain.variance.sum() - 1e-9:
        return plain, False
    off = _means(values - said, group, len(frame.sizes))[1]
    return _Totals((frame.expected + frame.sizes[:, None] * off).sum(axis=0), variance, plain.share), True


def _intervals(frame: _Frame, found: _Totals, seen: Ints) -> list[Estimated]:
    """With 90 % intervals, within what K kinds, of which ``seen`` (K,) were answered, can be."""
    total = frame.sizes.sum()
    rows = []
    for value, variance, share, least in zip(*found, seen.tolist(), strict=True):
        answers = share * (1 - share) * total**2 / max(variance, 1e-9)
        low, high = wilson(min(max(value / total, 0.0), 1.0), answers)
        ends = [value, min(low * total, value), max(high * total, value)]
        ends = np.clip(ends, least, total - (seen.sum() - least))
        rows.append(Estimated(*ends.tolist()))
    return rows


def wilson(share: float, answers: float) -> tuple[float, float]:
    """Wilson's 90 % interval (1927) of a share, 0..1, of so many ``answers``."""
    z = DEVIATIONS
    middle = (share + z**2 / 2 / answers) / (1 + z**2 / answers)
    half = z / (1 + z**2 / answers) * (share * (1 - share) / answers + z**2 / 4 / answers**2) ** 0.5
    return middle - half, middle + half
