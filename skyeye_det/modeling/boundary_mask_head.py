"""A mask head that also draws the building's edge, and lets what it learns of it steady the mask.

M buildings, C channels, R x R bins of the pooled ROI, D channels of the head, S = 2 R side of a mask.

The mask branch is detectron2's ``MaskRCNNConvUpsampleHead``, layer by layer and name by name, so weights of
an ordinary Mask R-CNN load into it. Beside it an edge branch of D / 2 channels reads the same bins: mask
features gate it (gated convolution of Takikawa et al. 2019, arXiv:1907.05740), it learns the edge, and its
features are added to those of the mask before they are upsampled (boundary to mask fusion of Cheng et al.
2020, arXiv:2007.08921). That addition begins at zero: with the weights of a plain head the masks are at first
those of the plain head.
"""

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.layers import Conv2d, ConvTranspose2d, ShapeSpec
from detectron2.modeling.roi_heads.mask_head import (
    ROI_MASK_HEAD_REGISTRY,
    MaskRCNNConvUpsampleHead,
    mask_rcnn_inference,
    mask_rcnn_loss,
)
from detectron2.structures import Instances
from fvcore.nn import weight_init
from torch import Tensor, nn


@ROI_MASK_HEAD_REGISTRY.register()
class BoundaryMaskHead(MaskRCNNConvUpsampleHead):
    """See the module; reads the keys of ``MODEL.ROI_MASK_HEAD`` that MaskRCNNConvUpsampleHead reads.

    Training gives ``loss_mask`` and ``loss_mask_edge``. The edge itself is predicted in training alone.
    """

    @configurable
    def __init__(self, input_shape: ShapeSpec, *, conv_dims: list[int], **kwargs: Any):
        super().__init__(input_shape, conv_dims=conv_dims, **kwargs)
        mask_dim = ([input_shape.channels, *conv_dims[:-1]])[-1]
        edge_dim = max(conv_dims[-1] // 2, 1)
        self.edge_fcn1 = Conv2d(input_shape.channels, edge_dim, 3, padding=1, activation=nn.ReLU())
        self.edge_gate = Conv2d(edge_dim + mask_dim, 1, 1)
        self.edge_fcn2 = Conv2d(edge_dim, edge_dim, 3, padding=1, activation=nn.ReLU())
        self.edge_to_mask = Conv2d(edge_dim, mask_dim, 1)
        self.edge_deconv = ConvTranspose2d(edge_dim, edge_dim, 2, stride=2)
        self.edge_predictor = Conv2d(edge_dim, 1, 1)
        for layer in (self.edge_fcn1, self.edge_gate, self.edge_fcn2, self.edge_deconv):
            weight_init.c2_msra_fill(layer)
        nn.init.normal_(self.edge_predictor.weight, std=0.001)
        for zero in (self.edge_predictor.bias, self.edge_to_mask.weight, self.edge_to_mask.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor, instances: list[Instances]) -> dict[str, Tensor] | list[Instances]:
        """Losses in training; in inference sets ``pred_masks`` (M_i, 1, S, S), 0..1, on each image.

        Args:
            x: (M, C, R, R) pooled features of all images' instances.
            instances: of each image; in training foreground proposals with ``proposal_boxes`` and
                ``gt_masks``, in inference with ``pred_classes``.
        """
        mask, edge = self._features(x)
        logits = self._mask_logits(mask)
        if not self.training:
            mask_rcnn_inference(logits, instances)
            return instances
        edge_logits = self.edge_predictor(F.relu(self.edge_deconv(edge)))
        edges = edge_targets(instances, edge_logits)
        return {
            "loss_mask": mask_rcnn_loss(logits, instances, self.vis_period) * self.loss_weight,
            "loss_mask_edge": edge_loss(edge_logits, edges),
        }

    def layers(self, x: Tensor) -> Tensor:
        """Maps (M, C, R, R) to the logits of the masks, (M, 1, S, S)."""
        return self._mask_logits(self._features(x)[0])

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mask features, steadied by the edge's, and edge features."""
        mask, edge = x, self.edge_fcn1(x)
        for convolution in self.conv_norm_relus:
            mask = convolution(mask)
        gate = self.edge_gate(torch.cat([edge, mask], dim=1)).sigmoid()
        edge = self.edge_fcn2(edge * (1 + gate))
        return mask + self.edge_to_mask(edge), edge

    def _mask_logits(self, mask: Tensor) -> Tensor:
        return self.predictor(self.deconv_relu(self.deconv(mask)))


def morphological_gradient(masks: Tensor) -> Tensor:
    """Dilation less erosion of masks (M, S, S), 0 or 1: the two bins on either side of an outline."""
    planes = masks[:, None]
    dilated, eroded = F.max_pool2d(planes, 3, 1, 1), -F.max_pool2d(-planes, 3, 1, 1)
    return (dilated - eroded)[:, 0]


def edge_targets(instances: list[Instances], logits: Tensor) -> Tensor:
    """Edges of the true masks inside the proposals.

    The masks are cut with a bin of margin all around: a box lies tight around its building, so the edge runs
    along its border, and only what lies beyond distinguishes it from a building that goes on.

    Args:
        instances: of each image, with ``proposal_boxes`` and ``gt_masks`` where there are any.
        logits: (M, 1, S, S), for size and device.

    Returns:
        (M, S, S) float32, 0 or 1.
    """
    side = logits.shape[-1]
    cut = []
    for found in instances:
        if len(found) == 0:  # an image without buildings has no gt_masks
            continue
        boxes = found.proposal_boxes.tensor
        margin = ((boxes[:, 2:] - boxes[:, :2]) / side).repeat(1, 2)
        wide = boxes + margin * margin.new_tensor([-1, -1, 1, 1])
        cut.append(found.gt_masks.crop_and_resize(wide, side + 2).to(logits.device, torch.float32))
    masks = torch.cat(cut) if cut else logits.new_zeros((0, side + 2, side + 2), dtype=torch.float32)
    return morphological_gradient(masks)[:, 1:-1, 1:-1]


def edge_loss(logits: Tensor, edges: Tensor) -> Tensor:
    """Binary cross-entropy plus Dice, each the mean over the buildings (Cheng et al. 2020, eq. 1 to 3).

    Of logits (M, 1, S, S) and edges (M, S, S) float32, 0 or 1; 0 with a gradient (of zeros) where M is 0.
    """
    if len(edges) == 0:
        return logits.sum() * 0.0
    found = logits[:, 0].float()
    likely = found.sigmoid()
    both = (likely * edges).sum(dim=(1, 2))
    # One bin added above and below: a mask without an edge is right where nothing is drawn.
    dice = 1 - (2 * both + 1) / (likely.square().sum(dim=(1, 2)) + edges.square().sum(dim=(1, 2)) + 1)
    return F.binary_cross_entropy_with_logits(found, edges) + dice.mean()
