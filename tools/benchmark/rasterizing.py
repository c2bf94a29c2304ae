"""Row: instances to images, against detectron2's pasting of each into an image of its own. Needs torch."""

import numpy as np
import torch
from detectron2.layers.mask_ops import paste_masks_in_image
from skyeye_det.benchmark.measure import interleaved, traced_peak
from skyeye_det.benchmark.rows import Row
from skyeye_det.benchmark.settings import Settings

from skyeye_det.prediction.rasterize import rasterize_instances

BAR = 1 / 30
MEMORY_BAR_MIB = 16.0
_SHAPE = (1024, 1024)
_MASK_SIDE = 28
_HALF_SIDE = 17.0
"""Half the side of a middling building of xBD, px."""
_MASK_THRESHOLD = 0.5

Images = tuple[np.ndarray, np.ndarray]


def rasterizing_row(settings: Settings) -> Row:
    """Rasterises ``settings.instances`` instances of a dense tile."""
    tile = dense_tile(settings.instances)
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.workers)
    try:
        same = all(map(np.array_equal, rasterize_instances(*tile, _SHAPE, _MASK_THRESHOLD), pasted(*tile)))
        ours, floor, _ = interleaved(
            lambda: rasterize_instances(*tile, _SHAPE, _MASK_THRESHOLD),
            lambda: pasted(*tile),
            settings.repeats,
        )
    finally:
        torch.set_num_threads(threads)
    return Row(
        name="rasterize",
        what=f"{settings.instances} boxes and 28 x 28 masks to both images of a 1024 x 1024 px tile",
        floor_is=f"paste_masks_in_image with {settings.workers} threads, and painting by rising score",
        ours=ours,
        floor=floor,
        bar=BAR,
        repeats=settings.repeats,
        memory_mib=traced_peak(lambda: rasterize_instances(*tile, _SHAPE, _MASK_THRESHOLD)).mib,
        memory_bar_mib=MEMORY_BAR_MIB,
        memory_is="most that Python and numpy hold at a time beyond the inputs (tracemalloc)",
        checks={"identical pixels at threshold 0.5": same},
    )


def dense_tile(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Made-up boxes (N, 4), masks (N, 28, 28) of noise 0..1, scores (N,), all different, and damage (N,)."""
    generator = np.random.default_rng(3)
    centre = generator.uniform(0, 1024, (count, 2))
    half = np.exp(generator.normal(np.log(_HALF_SIDE), 0.5, (count, 2)))
    boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32).clip(0, 1024)
    masks = generator.random((count, _MASK_SIDE, _MASK_SIDE), np.float32)
    return boxes, masks, generator.permutation(count) / count, generator.integers(0, 4, count)


def pasted(boxes: np.ndarray, masks: np.ndarray, scores: np.ndarray, damage: np.ndarray) -> Images:
    """Localization and damage by detectron2's means."""
    inside = paste_masks_in_image(
        torch.from_numpy(masks), torch.from_numpy(boxes), _SHAPE, _MASK_THRESHOLD
    ).numpy()
    painted = np.zeros(_SHAPE, np.uint8)
    for index in np.argsort(scores, kind="stable"):
        painted[inside[index]] = damage[index] + 1
    return (painted > 0).astype(np.uint8), painted
