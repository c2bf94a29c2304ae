"""The damage head: pooled pre and post features of a building -> ordinal damage.

M buildings, C channels, R x R bins, K = 4 damage classes. Targets are int64 0..K-1 or ``IGNORE_DAMAGE``.
Ordinal forms:

* ``corn``: K - 1 logits, the k-th of P(y > k | y > k - 1); each task learns on the buildings that reach it
  (Shi, Cao & Raschka 2021, arXiv:2111.08851).
* ``coral``: one score and K - 1 ordered thresholds, the k-th logit of P(y > k); all tasks learn on all
  buildings (Cao, Mirjalili & Raschka 2020, arXiv:1901.07884).
* ``cross_entropy``: K logits, the order of the classes unused; the plain alternative.
"""

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.structures import Instances
from fvcore.nn import weight_init
from torch import Tensor, nn

from skyeye_det.damage import IGNORE_DAMAGE, NUM_DAMAGE_CLASSES
from skyeye_det.errors import InputError
from skyeye_det.modeling.alignment import build_alignment
from skyeye_det.modeling.damage_map import evidence_logits
from skyeye_det.modeling.fusion import ObjectContext, build_fusion, pool_by_mask
from skyeye_det.modeling.pixel_losses import damage_weights

ORDINAL_FORMS = {"corn": NUM_DAMAGE_CLASSES - 1, "coral": 1, "cross_entropy": NUM_DAMAGE_CLASSES}
"""Form -> outputs of its last layer."""


class DamageHead(nn.Module):
    """Aligns, fuses, convolves, compares, and predicts the damage of M buildings.

    Args:
        input_shape: C channels and R x R bins of the pooled features of one image.
        alignment: name of the alignment, see :mod:`skyeye_det.modeling.alignment`.
        mask_pooling: read the building's own pixels and its surroundings apart as well, see ``pool_by_mask``;
            the mask is one more channel of the convolutions.
        object_context: the buildings of an image see each other, see ``ObjectContext``.
        dense_evidence: the logits are added to those of the evidence, and begin at 0.
        fusion: name of the fusion, see :mod:`skyeye_det.modeling.fusion`.
        ordinal: ordinal form, see the module.
        num_conv: 3 x 3 convolutions after the fusion.
        conv_dim: their channels.
        fc_dim: length of the feature vector of a building.
        class_weights: weight of a building's loss by its true damage class, 4 numbers.

    Raises:
        InputError: alignment, fusion or ordinal form are unknown, their sizes do not fit, or there are not 4
            weights of 0 or more.

    Attributes:
        needs_masks: whether ``forward`` must be given masks.
    """

    class_weights: Tensor

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        fusion: str,
        ordinal: str,
        alignment: str = "none",
        mask_pooling: bool = False,
        object_context: bool = False,
        dense_evidence: bool = False,
        num_conv: int,
        conv_dim: int,
        fc_dim: int,
        class_weights: list[float],
    ):
        super().__init__()
        channels, bins = input_shape.channels, input_shape.height
        if min(bins, conv_dim, fc_dim) < 1 or num_conv < 0:
            raise InputError(
                "MODEL.DAMAGE_HEAD: expected POOLER_RESOLUTION, CONV_DIM and FC_DIM of 1 or more and "
                f"NUM_CONV of 0 or more, found {bins}, {conv_dim}, {fc_dim} and {num_conv}"
            )
        self.alignment = build_alignment(alignment)
        self.fusion = build_fusion(fusion, channels, bins)
        self.needs_masks = mask_pooling
        fused = self.fusion.out_channels
        # By mask pooling, the mask to the fused channels and two vectors to the flat features.
        inputs, extra_features = (fused + 1, 2 * fused) if mask_pooling else (fused, 0)
        # One sequence whatever the options, so that the names of the weights stay the same.
        self.layers = nn.Sequential()
        for _ in range(num_conv):
            self.layers.extend([nn.Conv2d(inputs, conv_dim, 3, padding=1), nn.ReLU(inplace=True)])
            weight_init.c2_msra_fill(self.layers[-2])
            inputs = conv_dim
        last = nn.Linear(inputs * bins * bins + extra_features, fc_dim)
        self.layers.extend([nn.Flatten(), last, nn.ReLU(inplace=True)])
        weight_init.c2_xavier_fill(last)
        self.object_context = ObjectContext(fc_dim) if object_context else None
        self.predictor = OrdinalPredictor(fc_dim, ordinal, residual=dense_evidence)
        self.ordinal, self.dense_evidence = ordinal, dense_evidence
        self.register_buffer("class_weights", damage_weights(class_weights), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict:
        """Translates ``MODEL.DAMAGE_HEAD``; its other keys are the pooler's and the map's."""
        keys = {key.lower(): value for key, value in cfg.MODEL.DAMAGE_HEAD.items()}
        del keys["pooler_resolution"], keys["context_scale"], keys["evidence_weights"]
        return keys | {"input_shape": input_shape}

    def forward(
        self,
        pre: Tensor,
        post: Tensor,
        masks: Tensor | None,
        boxes: list[Tensor],
        evidence: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Maps pooled features to the logits of the ordinal form.

        Args:
            pre: (M, C, R, R) features of the enlarged boxes on the pre image, image by image.
            post: (M, C, R, R), the same boxes on the post image.
            masks: (M, 1, R, R), 0..1, each building's mask over its enlarged box; None where there are none,
                which ``needs_masks`` does not allow.
            boxes: the buildings' own boxes, an image's (M_i, 4) XYXY px each; M_i may be 0, their sum is M.
            evidence: (M, 4), each building's grades by the map; None where there is none.

        Returns:
            Logits (M, 3) or (M, 4) float32, and the feature vectors (M, D) that they are read from.
        """
        fused = self.fusion(pre, self.alignment(pre, post))
        if self.needs_masks:
            if masks is None:
                raise ValueError("mask pooling is on, and needs the buildings' masks; found None")
            flat = self.layers[:-2](torch.cat([fused, masks.to(fused.dtype)], dim=1))
            flat = torch.cat([flat, pool_by_mask(fused, masks)], dim=1)
        else:
            flat = self.layers[:-2](fused)
        features = self.layers[-2:](flat)
        if self.object_context is not None:
            features = self.object_context(features, boxes)
        logits = self.predictor(features).float()
        if self.dense_evidence and evidence is None:
            raise InputError(
                "MODEL.DAMAGE_HEAD.DENSE_EVIDENCE: expected a hybrid, whose map gives it, found another"
                " MODEL.META_ARCHITECTURE; set it to False"
            )
        if evidence is not None:
            logits = logits + evidence_logits(evidence, self.ordinal)
        return logits, features

    def losses(self, logits: Tensor, damage: Tensor) -> dict[str, Tensor]:
        """Loss of (M, ...) logits against (M,) damage classes; -1 is ignored."""
        return {"loss_damage": ordinal_loss(logits, damage, self.class_weights, self.ordinal)}

    def inference(self, logits: Tensor, features: Tensor, instances: list[Instances]) -> None:
        """Sets ``pred_damage_probs`` (M_i, 4), ``pred_damage`` (M_i,) int64, ``pred_features`` (M_i, D)."""
        counts = [len(found) for found in instances]
        both = ordinal_probabilities(logits, self.ordinal).split(counts), features.split(counts)
        for found, probs, own in zip(instances, *both, strict=True):
            found.pred_damage_probs, found.pred_features = probs, own
            found.pred_damage = probs.argmax(dim=1)


class OrdinalPredictor(nn.Module):
    """Last layer of the damage head for one of ``ORDINAL_FORMS``; InputError where ``form`` is none."""

    def __init__(self, in_dim: int, form: str, residual: bool = False):
        super().__init__()
        if form not in ORDINAL_FORMS:
            raise InputError(
                f"MODEL.DAMAGE_HEAD.ORDINAL: expected one of {tuple(ORDINAL_FORMS)}, found {form!r}"
            )
        self.linear = nn.Linear(in_dim, ORDINAL_FORMS[form], bias=form != "coral")
        nn.init.normal_(self.linear.weight, std=0.0 if residual else 0.01)
        self.thresholds: nn.Parameter | None = None
        if form == "coral":
            # In order and so far apart (more than 2 ln 2) that each class is the likeliest for some score: a
            # short training moves them little.
            spread = 0.0 if residual else 2.0
            self.thresholds = nn.Parameter(torch.linspace(spread, -spread, NUM_DAMAGE_CLASSES - 1))
        else:
            nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Maps (M, in_dim) to the form's logits, (M, K - 1) or (M, K)."""
        logits = self.linear(features)
        return logits if self.thresholds is None else logits + self.thresholds


def ordinal_loss(logits: Tensor, damage: Tensor, class_weights: Tensor, form: str) -> Tensor:
    """Mean loss over the buildings that have a damage class, weighted by it.

    Args:
        logits: (M, K - 1) or (M, K), as the form's predictor gives them.
        damage: (M,) int64, 0..K-1 or ``IGNORE_DAMAGE``.
        class_weights: (K,) weight of a building by its true class.
        form: key of ``ORDINAL_FORMS``.

    Returns:
        Scalar; 0 with a gradient (of zeros) where no building has a class, or none of a weight above 0.
    """
    classified = damage != IGNORE_DAMAGE
    if not classified.any():
        return logits.sum() * 0.0
    logits, damage = logits[classified], damage[classified]
    weights = class_weights.to(logits)[damage]
    if form == "cross_entropy":
        losses = F.cross_entropy(logits, damage, reduction="none")
    else:
        tasks = torch.arange(NUM_DAMAGE_CLASSES - 1, device=damage.device)
        exceeds = (damage[:, None] > tasks).to(logits)
        losses = F.binary_cross_entropy_with_logits(logits, exceeds, reduction="none")
        # A CORN task sees the buildings whose class is at least the task's own; CORAL's see all of them.
        reached = damage[:, None] >= tasks if form == "corn" else torch.ones_like(logits)
        weights = reached * weights[:, None]
    # Weights may all be 0, where the config gives a class none.
    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def ordinal_probabilities(logits: Tensor, form: str) -> Tensor:
    """Logits of the form, (M, K - 1) or (M, K), as probabilities of the damage classes (M, K)."""
    if form == "cross_entropy":
        return logits.float().softmax(dim=1)
    exceeds = logits.float().sigmoid()
    # P(y > k): CORN multiplies its conditional probabilities; CORAL's thresholds may cross, so the smallest
    # so far counts.
    exceeds = exceeds.cumprod(dim=1) if form == "corn" else exceeds.cummin(dim=1).values
    return -torch.diff(exceeds, dim=1, prepend=torch.ones_like(exceeds[:, :1]), append=0 * exceeds[:, :1])
