import cv2
import numpy as np
import pytest
import torch
from detectron2.layers.mask_ops import paste_masks_in_image
from pycocotools import mask as coco_mask

from skyeye_det.prediction.rasterize import encode_instances, instance_crops, rasterize_instances

SHAPE = (300, 260)

to_the_last_bit = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="torch's kernels for this CPU round otherwise, and differ from its own on others",
)


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


@to_the_last_bit
@pytest.mark.parametrize("seed", range(4))
def test_half_a_million_pixels_are_the_same_to_the_last_bit(seed: int) -> None:
    """About one in twenty million falls on the other side of the threshold where roundings differ."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 512, (300, 2))
    half = np.exp(rng.normal(np.log(17), 0.6, (300, 2)))
    boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    # Values on either side of the threshold by a few units in the last place: each rounding shows.
    masks = np.float32(0.5) + rng.integers(-3, 4, (300, 28, 28)).astype(np.float32) * np.float32(2**-24)
    masks[::2] = rng.random((150, 28, 28), np.float32)
    kept = (boxes[:, 2:] > 0).all(axis=1) & (boxes[:, :2] < 512).all(axis=1)
    boxes, masks = boxes[kept], masks[kept]
    pasted = paste_masks_in_image(torch.from_numpy(masks), torch.from_numpy(boxes), (512, 512), 0.5).numpy()
    own = np.zeros_like(pasted)
    for index, (x0, y0), crop in instance_crops(boxes, masks, (512, 512)):
        own[index, y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]] = crop
    np.testing.assert_array_equal(own, pasted)


@to_the_last_bit
@pytest.mark.parametrize(
    "box",
    [
        [2, 2, 12, 12],
        [2, 2, 30, 30],
        [3.25, 3.75, 3.5, 300],
        [-1000, -1000, 1000, 1000],
        [259.5, 299.5, 400, 400],
        [7.999999, 8, 8.000001, 9],
    ],
    ids=["rounded", "one cell a px", "a sliver", "far beyond", "a corner", "almost no width"],
)
@pytest.mark.parametrize("value", [0.5, 1.0])
def test_boxes_of_any_form_are_the_same(box: list[float], value: float) -> None:
    boxes, masks = np.array([box], np.float32), np.full((1, 28, 28), value, np.float32)
    pasted = paste_masks_in_image(torch.from_numpy(masks), torch.from_numpy(boxes), SHAPE, 0.5).numpy()[0]
    localization, _ = rasterize_instances(boxes, masks, np.ones(1), np.zeros(1, int), SHAPE)
    np.testing.assert_array_equal(localization > 0, pasted)


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
