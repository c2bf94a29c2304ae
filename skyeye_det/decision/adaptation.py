"""How the damage of one event differs from what the model has learnt, from a few labelled buildings.

Three answers in order of freedom, each an ordinal regression that starts at the model's own answer and is
held to it by a penalty: no change; another prior and temperature; a direction in the damage head's features
besides. With P(y > k) the model's, k = 0..2, an adapted one is

    logit Q(y > k) = slope * logit P(y > k) + offsets[k] + features @ direction - center

(proportional odds, McCullagh 1980; the penalty towards the source is that of adaptive SVMs, Yang et al.
2007). Which answer holds is chosen by cross-validation of the log loss over groups of labels; a freer one
only where it is better by more than a standard error. For the scene that a sample was drawn from, groups are
at random; for other scenes, of neighbours, since those lie elsewhere.

Labels that people or a suggestion picked say nothing of how frequent grades are. They get offsets of their
own, which are thrown away; the others are set by labels of a probability sample alone. Without such a sample
nothing is changed: a direction alone, with the totals as they were, lowered no log loss by 100 labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.decision.calibration import FLOOR

NONE, PRIOR, FEATURES = "none", "prior", "features"
KINDS = (NONE, PRIOR, FEATURES)
"""In order of freedom."""

LEAST_LABELS = 10
"""Of a probability sample; with fewer nothing is changed, however many others there are."""

_TASKS = NUM_DAMAGE_CLASSES - 1
_COMPONENTS = 16
"""Principal components of the scene's features that a direction is made of."""

_SLOPE, _OFFSETS, _PICKED, _DIRECTION = 8.0, 4.0, 0.1, 3.0
"""Precisions of normal priors around no change, the direction's by the deviation of the first component.

Chosen coarsely, on two events that were left out of training: hurricanes Michael and Harvey.
"""

_FLATTEST = 0.1
_STEPS, _SUBSET = 30, 5000

_T95 = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86)
"""95th percentile of Student's t for 1, 2, ... degrees of freedom; beyond, the last."""

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What changes the model's probabilities for one event.

    Attributes:
        kind: of ``KINDS``.
        slope: 1 for no change.
        offsets: (3,), 0 for no change.
        direction: (D,) in features; empty where these are not used.
        center: the features' share at the scene's mean.
    """

    kind: str = NONE
    slope: float = 1.0
    offsets: Sequence[float] = (0.0,) * _TASKS
    direction: Sequence[float] = ()
    center: float = 0.0

    def apply(self, probs: Floats, features: Floats | None = None) -> Floats:
        """Adapted probabilities.

        Args:
            probs: (N, 4), the model's, calibrated; NaN of what is not assessed, and so it stays.
            features: (N, D); needed with a direction.

        Returns:
            (N, 4) float64, rows sum to 1.
        """
        found = np.asarray(probs, np.float64)
        if self.kind == NONE:
            return found
        logits = self.slope * exceeding_logits(found) + np.asarray(self.offsets)
        if len(self.direction):
            if features is None or features.shape[-1] != len(self.direction):
                raise ValueError(f"expected features of {len(self.direction)} numbers")
            share = features.astype(np.float32) @ np.asarray(self.direction, np.float32)
            logits = logits + (share - self.center)[:, None]
        return _probabilities(logits)


@dataclass(frozen=True, eq=False)
class Labels:
    """L labelled buildings.

    Attributes:
        probs: (L, 4), the model's.
        grades: (L,), true, 0..3.
        groups: (L,), that are left out together: see ``label_groups``.
        is_sampled: bool (L,), whether a label is of a probability sample.
        features: (L, D); None: not kept.
    """

    probs: Floats
    grades: Ints
    groups: Ints
    is_sampled: NDArray[np.bool_]
    features: Floats | None = None

    def __len__(self) -> int:
        return len(self.grades)


@dataclass(frozen=True, eq=False)
class Choice:
    """What labels say.

    Attributes:
        adaptation: that holds.
        gain: by how much it lowers the log loss of labels that it was not fitted to, in nats a building.
        low, high: 90 % interval of the gain.
        loss: log loss without a change.
        reason: in a sentence.
    """

    adaptation: Adaptation
    gain: float
    low: float
    high: float
    loss: float
    reason: str


def choose(labels: Labels, features: Floats | None = None) -> Choice:
    """Fits what the labels can carry.

    Args:
        labels: of some of the scene's buildings.
        features: (N, D), of the scene's assessed buildings; None, or D is 0: another prior at most.
    """
    if (sampled := int(np.count_nonzero(labels.is_sampled))) < LEAST_LABELS:
        told = f"{sampled} labels of a random sample are too few to tell; {LEAST_LABELS} are the least"
        return Choice(Adaptation(), 0.0, 0.0, 0.0, float("nan"), told)
    fits = {kind: _Fit(labels, kind, features) for kind in KINDS}
    losses = {kind: fit.held_out_losses() for kind, fit in fits.items()}
    best = NONE
    for kind in KINDS[1:]:
        gain, error, _ = _gain(losses[best] - losses[kind], labels.groups)
        if gain > error:
            best = kind
    loss = float(losses[NONE].mean())
    if best == NONE:
        return Choice(
            Adaptation(), 0.0, 0.0, 0.0, loss, "nothing else does better on labels that it was not fitted to"
        )
    gain, error, freedom = _gain(losses[NONE] - losses[best], labels.groups)
    away = _T95[min(freedom, len(_T95)) - 1] * error
    told = f"log loss on labels that it was not fitted to: {loss:.3f} without, {loss - gain:.3f} with it"
    return Choice(fits[best].adaptation(), gain, gain - away, min(gain + away, loss), loss, told)


def fit(kind: str, labels: Labels, features: Floats | None = None) -> Adaptation:
    """An adaptation of a kind, whether it helps or not; arguments as of ``choose``."""
    return _Fit(labels, kind, features).adaptation()


def exceeding_logits(probs: Floats) -> Floats:
    """Logit P(y > k), k = 0..2, float64 (N, 3) of probabilities (N, 4)."""
    above = np.cumsum(np.asarray(probs, np.float64)[:, :0:-1], axis=1)[:, ::-1].clip(FLOOR, 1 - FLOOR)
    return np.log(above / (1 - above))


def _probabilities(logits: Floats) -> Floats:
    above = np.minimum.accumulate(_sigmoid(logits), axis=1)
    ends = np.pad(above, ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0)))
    return -np.diff(ends, axis=1)


def _sigmoid(logits: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(logits, -50, 50)))


def _gain(differences: Floats, groups: Ints) -> tuple[float, float, int]:
    """Mean, its standard error by groups, and degrees of freedom."""
    sums = np.bincount(groups, differences)[np.unique(groups)]
    sizes = np.bincount(groups)[np.unique(groups)]
    if len(sums) < 2:
        return 0.0, 0.0, 1
    mean = float(differences.mean())
    spread = float((((sums - mean * sizes) ** 2).sum() * len(sums) / (len(sums) - 1)) ** 0.5)
    return mean, spread / len(differences), len(sums) - 1


class _Fit:
    """A regression: slope, three offsets, three of picked labels, components of the direction."""

    def __init__(self, labels: Labels, kind: str, features: Floats | None) -> None:
        self._labels, self._kind = labels, kind
        sampled = np.asarray(labels.is_sampled, bool)
        use = kind == FEATURES and labels.features is not None
        self._center, self._basis = _components(features if use else None)
        count, length = len(labels), self._basis.shape[1]
        design = np.zeros((count, _TASKS, 1 + 2 * _TASKS + length))
        design[:, :, 0] = exceeding_logits(labels.probs)
        each = np.arange(_TASKS)
        design[:, each, 1 + each] = sampled[:, None]
        design[:, each, 1 + _TASKS + each] = ~sampled[:, None]
        if length and labels.features is not None:
            shares = (labels.features.astype(np.float64) - self._center) @ self._basis
            design[:, :, 1 + 2 * _TASKS :] = shares[:, None]
        self._design = design
        self._truth = (np.asarray(labels.grades)[:, None] > each).astype(np.float64)
        penalties = (_SLOPE, *(_OFFSETS,) * _TASKS, *(_PICKED,) * _TASKS, *(_DIRECTION,) * length)
        self._penalty = np.array(penalties)
        self._start = np.eye(len(penalties))[0]
        self._free = np.ones(len(penalties), bool)
        if kind == NONE:  # the picked labels' own offsets stay, so that kinds differ by what is kept alone
            self._free[: 1 + _TASKS] = False

    def held_out_losses(self) -> Floats:
        """Log loss (L,) of each label by a regression without its group."""
        losses = np.zeros(len(self._labels))
        for group in np.unique(self._labels.groups):
            held = self._labels.groups == group
            found = _probabilities(self._design[held] @ self._regressed(~held))
            own = found[np.arange(len(found)), np.asarray(self._labels.grades)[held]]
            losses[held] = -np.log(np.maximum(own, FLOOR))
        return losses

    def adaptation(self) -> Adaptation:
        """Of all labels."""
        if self._kind == NONE:
            return Adaptation()
        found = self._regressed(np.ones(len(self._labels), bool))
        direction = self._basis @ found[1 + 2 * _TASKS :]
        center = float(self._center @ direction) if len(direction) else 0.0
        offsets = found[1 : 1 + _TASKS].tolist()
        return Adaptation(self._kind, float(found[0]), offsets, direction.tolist(), center)

    def _regressed(self, chosen: NDArray[np.bool_], slope: float | None = None) -> Floats:
        """Of the least penalised loss of some labels, by Newton's method; ``slope`` may be given."""
        free, found = self._free.copy(), self._start.copy()
        if slope is not None:
            free[0], found[0] = False, slope
        rows = self._design[chosen].reshape(-1, len(found))
        truth = self._truth[chosen].ravel()

        def loss(values: Floats) -> float:
            logits = rows @ values
            held = 0.5 * (self._penalty * (values - self._start) ** 2).sum()
            return float((np.logaddexp(0, logits) - truth * logits).sum() + held)

        for _ in range(_STEPS):
            above = _sigmoid(rows @ found)
            rise = rows.T @ (above - truth) + self._penalty * (found - self._start)
            bend = (rows * (above * (1 - above))[:, None]).T @ rows + np.diag(self._penalty)
            step = np.zeros(len(found))
            step[free] = np.linalg.solve(bend[np.ix_(free, free)], rise[free])
            size, before = 1.0, loss(found)
            while loss(found - size * step) > before and size > FLOOR:
                size /= 2
            found = found - size * step
            if np.abs(step).max() < 1e-6:
                break
        # Odd labels must not turn the model's order around.
        return self._regressed(chosen, _FLATTEST) if found[0] < _FLATTEST else found


_NO_COMPONENTS: tuple[Floats, Floats] = np.zeros(0), np.zeros((0, 0))


def _components(features: Floats | None) -> tuple[Floats, Floats]:
    """Mean (D,), and principal components (D, K) such that the first has deviation 1; K 0: none differ."""
    if features is None:
        return _NO_COMPONENTS
    known = np.random.default_rng(0).permutation(len(features))[:_SUBSET]
    some = features[np.sort(known)].astype(np.float64)
    if not some.size or not np.isfinite(some).all():
        return _NO_COMPONENTS
    center = some.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(some, rowvar=False, bias=True).reshape(len(center), -1))
    if values[-1] <= 1e-12:
        return _NO_COMPONENTS
    return center, vectors[:, ::-1][:, :_COMPONENTS] / values[-1] ** 0.5
