"""Meta-architecture that trains the damage head alone, on true footprints."""

from typing import Any

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, Instances
from torch import Tensor

from skyeye_det.modeling.hybrid_rcnn import HybridRCNN


@META_ARCH_REGISTRY.register()
class FootprintRCNN(HybridRCNN):
    """A HybridRCNN whose training grades the true buildings and leaves all but the damage head as it is.

    Begun from a trained hybrid (``MODEL.WEIGHTS``), it compares damage heads on the same features at a
    fraction of a training's cost, or trains one on. In inference it is the hybrid.
    """

    @configurable
    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.startswith("roi_heads.damage_head."))

    def train(self, mode: bool = True) -> "FootprintRCNN":
        """Sets the mode of all but the backbone and the map, whose BatchNorm would count on."""
        super().train(mode)
        self.backbone.eval()
        if self.damage_map is not None:
            self.damage_map.eval()
        return self

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """``loss_damage`` in training, else see ``inference``."""
        if not self.training:
            return self.inference(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        with torch.no_grad():
            features = self.features(images)
        truth = [each["instances"].to(self.device) for each in batched_inputs]
        return self.roi_heads.damage_losses(features, [as_proposals(each) for each in truth])


def as_proposals(truth: Instances) -> Instances:
    """The true buildings as if they had been proposed, a little beside their boxes."""
    boxes = truth.gt_boxes.tensor
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    # The standard deviation with which boxes that are found lie, as a share of the sides.
    moved = boxes + torch.randn_like(boxes) * sides * 0.08
    proposals = Instances(truth.image_size, **truth.get_fields())
    # Edges that crossed would make a box without area.
    low, high = torch.minimum(moved[:, :2], moved[:, 2:] - 1), torch.maximum(moved[:, 2:], moved[:, :2] + 1)
    proposals.proposal_boxes = Boxes(torch.cat([low, high], dim=1))
    return proposals
