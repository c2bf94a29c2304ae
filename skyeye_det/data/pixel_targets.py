"""What each pixel of a training crop is, for the semantic heads."""

import cv2
import numpy as np
import torch
from detectron2.structures import Instances

from skyeye_det.damage import IGNORE_DAMAGE, DamageClass

UNCLASSIFIED_PIXEL = 5
"""Value in ``sem_seg`` of a building without a grade."""

SEAM_WIDTH = 2
"""px from a building's edge that count as its seam; without them touching buildings come apart."""


def pixel_targets(instances: Instances) -> tuple[torch.Tensor, torch.Tensor]:
    """Paints the buildings of a crop as pixel targets; of overlapping ones the later wins, as officially.

    Args:
        instances: of ``seen_instances``: ``gt_boxes`` that fit ``gt_masks`` exactly, and ``gt_damage``.

    Returns:
        sem_seg: (H, W) uint8, 0 background, 1..4 class, ``UNCLASSIFIED_PIXEL`` un-classified.
        seams: (H, W) uint8, 1 where a building pixel lies within ``SEAM_WIDTH`` px of the background or of
            another building.
    """
    labels = np.zeros(instances.image_size, np.uint16)
    masks = instances.gt_masks.tensor.numpy()
    for index, (x0, y0, x1, y1) in enumerate(instances.gt_boxes.tensor.round().long().tolist()):
        window = labels[y0:y1, x0:x1]
        window[masks[index, y0:y1, x0:x1]] = index + 1
    damage = instances.gt_damage.numpy()
    values = np.where(damage == IGNORE_DAMAGE, UNCLASSIFIED_PIXEL, damage + DamageClass.NO_DAMAGE.pixel_value)
    palette = np.concatenate([[0], values]).astype(np.uint8)
    around = np.ones((2 * SEAM_WIDTH + 1, 2 * SEAM_WIDTH + 1), np.uint8)
    differs = (cv2.dilate(labels, around) != labels) | (cv2.erode(labels, around) != labels)
    seams = differs & (labels > 0)
    return torch.from_numpy(palette[labels]), torch.from_numpy(seams.view(np.uint8))
