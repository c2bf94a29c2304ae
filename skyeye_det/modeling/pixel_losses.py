"""Losses of maps of pixels: building, seam and damage, by weight, from the config.

Shapes: N images of H x W px. A pixel whose target is ``IGNORE_PIXEL`` adds nothing to any loss.
"""

from collections.abc import Sequence

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
_OVERLAPS = {"dice": smp.losses.DiceLoss, "jaccard": smp.losses.JaccardLoss}
_BINARY = ("bce", "focal", *_OVERLAPS)
_KINDS = {"building": _BINARY, "seam": _BINARY, "damage": ("cross_entropy", "focal", *_OVERLAPS)}


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
    background_classes = damage_classes - NUM_DAMAGE_CLASSES
    has_class = (sem_seg <= NUM_DAMAGE_CLASSES) & (building | (background_classes > 0))
    return {
        "building": building.float().masked_fill(padding, IGNORE_PIXEL),
        "seam": (seams != 0).float().masked_fill(~building, IGNORE_PIXEL),
        "damage": torch.where(has_class, sem_seg - 1 + background_classes, IGNORE_PIXEL),
    }


def damage_weights(weights: Sequence[float]) -> Tensor:
    """``MODEL.DAMAGE_HEAD.CLASS_WEIGHTS`` as (4,) float32; InputError unless four numbers of 0 to 1e6."""
    if len(weights) != NUM_DAMAGE_CLASSES or not all(map(_is_weight, weights)):
        raise InputError(
            f"MODEL.DAMAGE_HEAD.CLASS_WEIGHTS: expected {NUM_DAMAGE_CLASSES} numbers of 0 to 1e6 "
            f"(no-damage to destroyed), found {shown(str(weights))}"
        )
    return torch.tensor(weights, dtype=torch.float32)


class PixelLosses(nn.Module):
    """Weighted sum of losses, each of one target.

    Kinds: ``bce`` and ``cross_entropy``, means over the pixels that count; ``focal``, the same weighted by
    (1 - p)^2 (Lin et al. 2017); ``dice`` (Milletari et al. 2016) and ``jaccard``, 1 - overlap over all pixels
    of the batch at once, of damage the mean over the classes, where a class without a pixel adds 0. Without
    any pixel that counts a loss is 0, with a gradient of 0.

    Args:
        losses: ``[target, kind, weight]`` each, as in ``MODEL.SEM_SEG_HEAD.LOSSES``; ``_KINDS`` has those of
            each target.
        available: targets for which the model has a map.
        class_weights: weight of a pixel in cross_entropy and focal by its damage, 4 numbers; background
            counts 1.

    Raises:
        InputError: an entry is malformed, names what does not exist, or stands there twice; there are not
            four class weights of 0 or more.
    """

    class_weights: Tensor

    def __init__(
        self,
        losses: object,
        available: tuple[str, ...],
        class_weights: Sequence[float] = (1.0,) * NUM_DAMAGE_CLASSES,
    ):
        super().__init__()
        self.terms = _read_terms(losses, available)
        self.register_buffer("class_weights", damage_weights(class_weights), persistent=False)

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
            f"loss_{target}_{kind}": weight * self._loss(kind, logits[target].float(), targets[target])
            for target, kind, weight in self.terms
        }

    def _loss(self, kind: str, logits: Tensor, wanted: Tensor) -> Tensor:
        channels = logits.shape[1]
        if kind in _OVERLAPS:
            mode = "binary" if channels == 1 else "multiclass"
            overlap: Tensor = _OVERLAPS[kind](mode=mode, ignore_index=IGNORE_PIXEL)(logits, wanted)
            return overlap
        counts = wanted != IGNORE_PIXEL
        wanted = wanted.where(counts, 0)
        if channels == 1:
            weight = counts.float()
            per_pixel = F.binary_cross_entropy_with_logits(logits[:, 0], wanted, reduction="none")
        else:
            of_class = F.pad(self.class_weights, (channels - NUM_DAMAGE_CLASSES, 0), value=1.0)
            weight = of_class[wanted] * counts
            per_pixel = F.cross_entropy(logits, wanted, reduction="none")
        if kind == "focal":
            # -expm1(-x) is 1 - p: exact where the network is sure.
            per_pixel = (-torch.expm1(-per_pixel)) ** _FOCUS * per_pixel
        return (per_pixel * weight).sum() / weight.sum().clamp(min=torch.finfo(torch.float32).eps)


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
        if target not in available or kind not in _KINDS[target] or not _is_weight(weight):
            raise InputError(f"{expected}, found {shown(str(entry))}")
        if (target, kind) in terms:
            raise InputError(f"{expected}, found {target} {kind} twice")
        terms[target, kind] = float(weight)
    return [(target, kind, weight) for (target, kind), weight in terms.items()]


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LARGEST_WEIGHT
