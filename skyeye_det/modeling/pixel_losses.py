"""Losses of maps of pixels: building, seam and damage, by weight, from the config.

Shapes: N images of H x W px. A pixel whose target is ``IGNORE_PIXEL`` adds nothing to any loss.
"""

from collections.abc import Callable, Sequence
from functools import partial

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.errors import InputError, shown

IGNORE_PIXEL = 255
"""Target of a pixel that has nothing to teach; in ``sem_seg`` the value of padding."""

_LARGEST_WEIGHT = 1e6
_FOCUS = 2.0  # gamma of Lin et al. 2017


def pixel_targets(
    sem_seg: Tensor, seams: Tensor, damage_classes: int = NUM_DAMAGE_CLASSES
) -> dict[str, Tensor]:
    """What each map is to say of each pixel.

    Args:
        sem_seg: (N, H, W) integers: 0 background, 1..4 damage class + 1, 5 un-classified building,
            ``IGNORE_PIXEL`` padding.
        seams: (N, H, W), not 0 where a building pixel lies near background or another building.
        damage_classes: 4: damage is asked of classified building pixels alone; 5: class 0 is background, so
            that un-classified buildings and padding alone are left out.

    Returns:
        ``building`` (N, H, W) float32, 1 on buildings, un-classified ones too; ``seam`` (N, H, W) float32,
        ignored off buildings; ``damage`` (N, H, W) int64 in 0..damage_classes - 1. All three hold
        ``IGNORE_PIXEL`` where a pixel is left out.
    """
    sem_seg = sem_seg.long()
    padding = sem_seg == IGNORE_PIXEL
    building = (sem_seg > 0) & ~padding
    graded = building & (sem_seg <= NUM_DAMAGE_CLASSES)
    if damage_classes == NUM_DAMAGE_CLASSES:
        damage = torch.where(graded, sem_seg - 1, IGNORE_PIXEL)
    else:
        damage = torch.where(graded | (sem_seg == 0), sem_seg, IGNORE_PIXEL)
    return {
        "building": building.float().masked_fill(padding, IGNORE_PIXEL),
        "seam": (seams != 0).float().masked_fill(~building, IGNORE_PIXEL),
        "damage": damage,
    }


class PixelLosses(nn.Module):
    """Weighted sum of losses, each of one target.

    Kinds: ``bce`` and ``cross_entropy``, means over the pixels that count; ``focal``, the same weighted by
    (1 - p)^2 (Lin et al. 2017); ``dice`` (Milletari et al. 2016) and ``jaccard``, 1 - overlap over all pixels
    of the batch at once, of damage the mean over the classes, where a class without a pixel adds 0. Without
    any pixel that counts a loss is 0, with a gradient of 0.

    Args:
        losses: ``[target, kind, weight]`` each, as in ``MODEL.SEM_SEG_HEAD.LOSSES``; targets ``building`` and
            ``seam`` know bce, dice, focal and jaccard, ``damage`` knows cross_entropy, dice, focal and
            jaccard.
        available: targets for which the model has a map.
        class_weights: weight of a pixel in cross_entropy and focal by its damage, 4 numbers; background
            counts 1.

    Raises:
        InputError: an entry is malformed, names what does not exist, or stands there twice; there are not
            four class weights of 0 or more.
    """

    class_weights: Tensor | None

    def __init__(
        self, losses: object, available: tuple[str, ...], class_weights: Sequence[float] | None = None
    ):
        super().__init__()
        self.terms = _read_terms(losses, available)
        if class_weights is not None and (
            len(class_weights) != NUM_DAMAGE_CLASSES or not all(_is_weight(each) for each in class_weights)
        ):
            raise InputError(
                f"MODEL.DAMAGE_HEAD.CLASS_WEIGHTS: expected {NUM_DAMAGE_CLASSES} numbers of 0 to 1e6 "
                f"(no-damage to destroyed), found {shown(str(class_weights))}"
            )
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)

    @property
    def targets(self) -> set[str]:
        """Targets that have a loss of more than no weight."""
        return {target for target, _, weight in self.terms if weight > 0}

    def forward(self, logits: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses, in float32 whatever the precision of the logits.

        Args:
            logits: ``building`` and ``seam`` (N, 1, H, W), ``damage`` (N, 4 or 5, H, W).
            targets: of ``pixel_targets``, with as many damage classes.

        Returns:
            ``loss_<target>_<kind>``, a scalar each.
        """
        return {
            f"loss_{target}_{kind}": weight
            * self._loss(target, kind, logits[target].float(), targets[target])
            for target, kind, weight in self.terms
        }

    def _loss(self, target: str, kind: str, logits: Tensor, wanted: Tensor) -> Tensor:
        if target != "damage":
            return _BINARY[kind](logits[:, 0], wanted)
        if kind in _OVERLAPS:
            return _OVERLAPS[kind](mode="multiclass", ignore_index=IGNORE_PIXEL)(logits, wanted)
        weights = self.class_weights
        if weights is not None and logits.shape[1] > len(weights):
            weights = F.pad(weights, (1, 0), value=1.0)
        return _cross_entropy(logits, wanted, weights, _FOCUS if kind == "focal" else 0.0)


def _cross_entropy(logits: Tensor, wanted: Tensor, weights: Tensor | None, focus: float) -> Tensor:
    per_pixel = F.cross_entropy(logits, wanted, reduction="none", ignore_index=IGNORE_PIXEL)
    counts = wanted != IGNORE_PIXEL
    weight = counts.float() if weights is None else weights[wanted.where(counts, 0)] * counts
    return _mean(_focused(per_pixel, focus), weight)


def _binary_cross_entropy(logits: Tensor, wanted: Tensor, focus: float) -> Tensor:
    counts = wanted != IGNORE_PIXEL
    per_pixel = F.binary_cross_entropy_with_logits(logits, wanted * counts, reduction="none")
    return _mean(_focused(per_pixel, focus), counts.float())


def _focused(cross_entropy: Tensor, focus: float) -> Tensor:
    # -expm1(-x) is 1 - p: exact where the network is sure.
    return (-torch.expm1(-cross_entropy)) ** focus * cross_entropy if focus else cross_entropy


def _mean(per_pixel: Tensor, weight: Tensor) -> Tensor:
    return (per_pixel * weight).sum() / weight.sum().clamp(min=torch.finfo(torch.float32).eps)


def _binary_overlap(loss: Callable[..., nn.Module], logits: Tensor, wanted: Tensor) -> Tensor:
    overlap: Tensor = loss(mode="binary", ignore_index=IGNORE_PIXEL)(logits, wanted)
    return overlap


_OVERLAPS: dict[str, Callable[..., nn.Module]] = {
    "dice": smp.losses.DiceLoss,
    "jaccard": smp.losses.JaccardLoss,
}
_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": partial(_binary_cross_entropy, focus=0.0),
    "focal": partial(_binary_cross_entropy, focus=_FOCUS),
    **{kind: partial(_binary_overlap, loss) for kind, loss in _OVERLAPS.items()},
}
_KINDS = {
    "building": tuple(_BINARY),
    "seam": tuple(_BINARY),
    "damage": ("cross_entropy", "focal", *_OVERLAPS),
}


def _read_terms(losses: object, available: tuple[str, ...]) -> list[tuple[str, str, float]]:
    allowed = "; ".join(f"{target}: {', '.join(_KINDS[target])}" for target in available)
    expected = f"MODEL.SEM_SEG_HEAD.LOSSES: expected [target, kind, weight of 0 to 1e6] each ({allowed})"
    if not isinstance(losses, list | tuple) or not losses:
        raise InputError(f"{expected}, found {shown(losses)}")
    terms: dict[tuple[str, str], float] = {}
    for entry in losses:
        if not isinstance(entry, list | tuple) or len(entry) != 3:
            raise InputError(f"{expected}, found {shown(str(entry))}")
        target, kind, weight = entry
        known = target in available and isinstance(kind, str) and kind in _KINDS[target]
        if not known or not _is_weight(weight):
            raise InputError(f"{expected}, found {shown(str(entry))}")
        if (target, kind) in terms:
            raise InputError(f"{expected}, found {target} {kind} twice")
        terms[target, kind] = float(weight)
    return [(target, kind, weight) for (target, kind), weight in terms.items()]


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LARGEST_WEIGHT
