"""Ordinal damage: logits -> loss and logits -> probabilities, as pure functions.

N buildings, K = 4 grades. Targets are int64 0..K-1 or ``IGNORE_DAMAGE``. Forms:

* ``corn``: K - 1 logits, the k-th of P(y > k | y > k - 1); each task learns on the buildings that reach it
  (Shi, Cao & Raschka 2021, arXiv:2111.08851).
* ``coral``: one score and K - 1 ordered thresholds, the k-th logit of P(y > k); all tasks learn on all
  buildings (Cao, Mirjalili & Raschka 2020, arXiv:1901.07884).
* ``cross_entropy``: K logits, the order of the grades unused; the plain alternative.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skyeye_det.damage import IGNORE_DAMAGE, NUM_DAMAGE_CLASSES
from skyeye_det.errors import InputError

ORDINAL_FORMS = ("corn", "coral", "cross_entropy")


class OrdinalPredictor(nn.Module):
    """Last layer of the damage head for one ordinal form.

    Args:
        in_dim: length of the feature vector of a building.
        form: one of ``ORDINAL_FORMS``.

    Raises:
        InputError: there is no form of that name.
    """

    def __init__(self, in_dim: int, form: str):
        super().__init__()
        if form not in ORDINAL_FORMS:
            raise InputError(f"MODEL.DAMAGE_HEAD.ORDINAL: expected one of {ORDINAL_FORMS}, found {form!r}")
        outputs = {"corn": NUM_DAMAGE_CLASSES - 1, "coral": 1, "cross_entropy": NUM_DAMAGE_CLASSES}[form]
        self.linear = nn.Linear(in_dim, outputs, bias=form != "coral")
        nn.init.normal_(self.linear.weight, std=0.01)
        self.thresholds: nn.Parameter | None = None
        if form == "coral":
            # In order and so far apart (more than 2 ln 2) that each grade is the likeliest for some score: a
            # short training moves them little.
            self.thresholds = nn.Parameter(torch.linspace(2.0, -2.0, NUM_DAMAGE_CLASSES - 1))
        else:
            nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Maps (N, in_dim) to the form's logits, (N, K - 1) or (N, K)."""
        logits = self.linear(features)
        return logits if self.thresholds is None else logits + self.thresholds


def ordinal_loss(logits: Tensor, damage: Tensor, class_weights: Tensor, form: str) -> Tensor:
    """Mean loss over the buildings that have a grade, weighted by it.

    Args:
        logits: (N, K - 1) or (N, K), as the form's predictor gives them.
        damage: (N,) int64, 0..K-1 or ``IGNORE_DAMAGE``.
        class_weights: (K,) weight of a building by its true grade.
        form: one of ``ORDINAL_FORMS``.

    Returns:
        Scalar; 0 with a gradient (of zeros) where no building has a grade, or none of a weight above 0.
    """
    graded = damage != IGNORE_DAMAGE
    if not graded.any():
        return logits.sum() * 0.0
    logits, damage = logits[graded], damage[graded]
    weights = class_weights.to(logits)[damage]
    if form == "cross_entropy":
        return _weighted_mean(F.cross_entropy(logits, damage, reduction="none"), weights)
    tasks = torch.arange(NUM_DAMAGE_CLASSES - 1, device=damage.device)
    exceeds = (damage[:, None] > tasks).to(logits)
    # A CORN task sees the buildings whose grade is at least the task's own; CORAL's see all of them.
    reached = (damage[:, None] >= tasks).to(logits) if form == "corn" else torch.ones_like(logits)
    losses = F.binary_cross_entropy_with_logits(logits, exceeds, reduction="none")
    return _weighted_mean(losses, reached * weights[:, None])


def _weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    # Weights may all be 0, where the config gives a grade none.
    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def ordinal_probabilities(logits: Tensor, form: str) -> Tensor:
    """Probabilities of the grades, (N, K), each row summing to 1.

    Args:
        logits: (N, K - 1) or (N, K), as the form's predictor gives them.
        form: one of ``ORDINAL_FORMS``.
    """
    if form == "cross_entropy":
        return logits.float().softmax(dim=1)
    exceeds = logits.float().sigmoid()
    # P(y > k): CORN multiplies its conditional probabilities; CORAL's thresholds may cross, so the smallest
    # so far counts.
    exceeds = exceeds.cumprod(dim=1) if form == "corn" else exceeds.cummin(dim=1).values
    edge = exceeds.new_ones(len(exceeds), 1)
    cumulative = torch.cat([edge, exceeds, edge * 0], dim=1)
    return cumulative[:, :-1] - cumulative[:, 1:]
