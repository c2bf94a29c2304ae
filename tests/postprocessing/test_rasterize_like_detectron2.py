import cv2
import numpy as np
import pytest
import torch
from detectron2.layers.mask_ops import paste_masks_in_image
from pycocotools import mask as coco_mask

from skyeye_det.postprocessing.rasterize import encode_instances, rasterize_instances

SHAPE = (300, 260)


def instances(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) and masks (N, 28, 28) of one kind; some boxes lie across the border."""
    rng = np.random.default_rng(7)
    count = 150
    centre = rng.uniform(0, 300, (count, 2))
    half = np.exp(rng.normal(np.log(16), 0.8, (count, 2)))
    boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    boxes[:3] = [[0.4, 3.6, 250.2, 290.7], [-9.5, 20.5, 180.5, 240.5], [40.1, 50.9, 200.3, 310.2]]
    boxes[:, 0::2] = boxes[:, 0::2].clip(-20, 270)
    boxes[:, 1::2] = boxes[:, 1::2].clip(-20, 310)
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2] + 0.01).all(axis=1)]
    boxes = boxes[(boxes[:, :2] < (260, 300)).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)]
    masks = rng.random((len(boxes), 28, 28), np.float32)
    if kind == "smooth":
        masks = np.stack([cv2.GaussianBlur(mask, (7, 7), 0) for mask in masks])
        masks = 1 / (1 + np.exp(-40 * (masks - 0.5)))
    if kind == "0 and 1 on half pixels":
        masks, boxes = np.ones_like(masks), np.round(boxes * 2) / 2
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.5)
    return boxes.astype(np.float32), masks.astype(np.float32)


@pytest.mark.parametrize("threshold", [0.5, 0.2])  # a low one reaches pixels around the box
@pytest.mark.parametrize("kind", ["noise", "smooth", "0 and 1 on half pixels"])
def test_pixels_are_those_of_paste_masks_in_image(kind: str, threshold: float) -> None:
    boxes, masks = instances(kind)
    pasted = paste_masks_in_image(torch.from_numpy(masks), torch.from_numpy(boxes), SHAPE, threshold).numpy()
    assert pasted.any(axis=(1, 2)).sum() > 100
    encoded = encode_instances(boxes, masks, SHAPE, threshold)
    np.testing.assert_array_equal(np.stack([coco_mask.decode(one) for one in encoded]), pasted)


@pytest.mark.parametrize("kind", ["noise", "smooth"])
def test_images_are_those_of_painting_pasted_masks_by_rising_score(kind: str) -> None:
    boxes, masks = instances(kind)
    rng = np.random.default_rng(1)
    scores, damage = rng.permutation(len(boxes)) / len(boxes), rng.integers(0, 4, len(boxes))
    pasted = paste_masks_in_image(torch.from_numpy(masks), torch.from_numpy(boxes), SHAPE, 0.5).numpy()
    expected = np.zeros(SHAPE, np.uint8)
    for index in np.argsort(scores):
        expected[pasted[index]] = damage[index] + 1
    localization, painted = rasterize_instances(boxes, masks, scores, damage, SHAPE)
    np.testing.assert_array_equal(painted, expected)
    np.testing.assert_array_equal(localization, expected > 0)
