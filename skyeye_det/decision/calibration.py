"""Are damage probabilities what they say? Temperature scaling, reliability and expected calibration error.

Guo, Pleiss, Sun and Weinberger: On Calibration of Modern Neural Networks, ICML 2017 (arXiv:1706.04599).
Probabilities p become p ** (1 / T), normalised, as ``DecisionRule.calibrated`` does it.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOOR = 1e-4
"""Least probability taken into a logarithm: one building that was ruled out cannot decide alone."""

SHARPEST, FLATTEST = 0.1, 10.0
"""Range of the temperature: where every building is graded rightly, sharper is always better."""

BINS = 10
_HALVINGS = 50

Floats = NDArray[np.floating]


def fit_temperature(probs: Floats, grades: NDArray[np.integer], weights: Floats | None = None) -> float:
    """The temperature of the least negative log-likelihood.

    That is convex in 1 / T, so the zero of its slope is found by halving.

    Args:
        probs: (N, 4), rows sum to 1.
        grades: (N,), true class 0..3.
        weights: (N,), how much each row counts, 0 or more; None for 1 each.

    Returns:
        Temperature, ``SHARPEST`` to ``FLATTEST``; 1 where there is nothing to learn from.
    """
    logs = np.log(np.maximum(np.asarray(probs, np.float64), FLOOR))
    amounts = np.ones(len(logs)) if weights is None else np.asarray(weights, np.float64)
    # Rows that say the same of every class say the same at any temperature.
    if not amounts.sum() or not np.ptp(logs[amounts > 0], axis=1).any():
        return 1.0
    own = np.take_along_axis(logs, np.asarray(grades)[:, None], axis=1)[:, 0]

    def slope(power: float) -> float:
        raised = np.exp(power * (logs - logs.max(axis=1, keepdims=True)))
        expected = (raised * logs).sum(axis=1) / raised.sum(axis=1)
        return float(amounts @ (expected - own))

    low, high = math.log(1 / FLATTEST), math.log(1 / SHARPEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(math.exp(middle)) < 0 else (low, middle)
    return math.exp(-(low + high) / 2)


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often the likeliest class is right, by how sure of it the model is; adds up over tiles.

    Attributes:
        count, confidence, right: float64 (``BINS``,), of the buildings of each bin their number, the sum of
            their largest probabilities, and how many are of their likeliest class; bin k holds confidences
            k/10 to (k+1)/10.
        loss: sum of their negative log-likelihoods.
    """

    count: Floats
    confidence: Floats
    right: Floats
    loss: float

    @classmethod
    def of(cls, probs: Floats, grades: NDArray[np.integer]) -> "Reliability":
        """Counts buildings of ``probs`` (N, 4), rows sum to 1, and of true class ``grades`` (N,), 0..3."""
        probs = np.asarray(probs, np.float64)
        sure = probs.max(axis=1, initial=0)
        number = np.clip((sure * BINS).astype(np.int64), 0, BINS - 1)
        own = np.take_along_axis(probs, np.asarray(grades)[:, None], axis=1)[:, 0]
        count, confidence, right = (
            np.bincount(number, values, BINS).astype(np.float64)
            for values in (np.ones(len(probs)), sure, probs.argmax(axis=1) == grades)
        )
        return cls(count, confidence, right, float(-np.log(np.maximum(own, FLOOR)).sum()))

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(
            self.count + other.count,
            self.confidence + other.confidence,
            self.right + other.right,
            self.loss + other.loss,
        )

    @property
    def error(self) -> float:
        """Expected calibration error, 0..1: mean distance of confidence and accuracy; NaN of no building."""
        total = float(self.count.sum())
        return float(np.abs(self.confidence - self.right).sum()) / total if total else math.nan

    def report(self) -> dict[str, Any]:
        """Figures for a report.

        Returns:
            ``buildings``; ``ece``; ``accuracy``, ``confidence`` and ``nll``: means over them; ``bins``: for
            each bin that has buildings ``low``, ``high``, ``buildings``, ``confidence`` and ``accuracy``.
            NaN of no building.
        """
        total = float(self.count.sum())
        sums = {"accuracy": self.right.sum(), "confidence": self.confidence.sum(), "nll": self.loss}
        return {
            "buildings": int(total),
            "ece": self.error,
            **{name: float(value) / total if total else math.nan for name, value in sums.items()},
            "bins": [
                {
                    "low": number / BINS,
                    "high": (number + 1) / BINS,
                    "buildings": int(self.count[number]),
                    "confidence": float(self.confidence[number] / self.count[number]),
                    "accuracy": float(self.right[number] / self.count[number]),
                }
                for number in np.flatnonzero(self.count).tolist()
            ],
        }
