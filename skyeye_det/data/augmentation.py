"""Random geometry of an image pair: one draw for both images and the buildings, and a misplaced post image.

Coordinates are detectron2's: continuous, pixel ``k`` covers ``[k, k + 1]``. xBD's coordinates are pixel
centres, so whoever moves a polygon adds 0.5 before ``apply_coords`` and takes it off afterwards; flips and
turns are then exact to the pixel. Draws come from numpy's global generator, as in detectron2;
``loading.PairDataset`` seeds it.
"""

import cv2
import numpy as np
from detectron2.data import transforms
from fvcore.transforms.transform import Transform

from skyeye_det.damage import IGNORE_DAMAGE


class PairAugInput(transforms.AugInput):
    """A pair under augmentation: every transform moves both images and the boxes.

    Attributes:
        image: pre image, (H, W, 3) uint8.
        post_image: post image, same shape.
        boxes: (N, 4) float, XYXY in px.
        damage: (N,) int, -1..3.
    """

    def __init__(
        self, image: np.ndarray, post_image: np.ndarray, *, boxes: np.ndarray, damage: np.ndarray
    ) -> None:
        super().__init__(image, boxes=boxes)
        self.post_image = post_image
        self.damage = damage

    def transform(self, tfm: Transform) -> None:
        """Applies ``tfm`` to both images and the boxes."""
        super().transform(tfm)
        self.post_image = tfm.apply_image(self.post_image)


class WindowTransform(Transform):
    """Cuts a square window out of a tile and resizes it; black where the window leaves the tile.

    Args:
        x0, y0: left and top edge of the window, whole px of the tile; may be negative.
        side: side of the window in px of the tile.
        size: side of the result in px.
    """

    def __init__(self, x0: int, y0: int, side: int, size: int) -> None:
        super().__init__()
        self.x0, self.y0, self.side, self.size = x0, y0, side, size

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """Cuts ``img`` (H, W[, C]) to (size, size[, C])."""
        height, width = img.shape[:2]
        left, top = max(self.x0, 0), max(self.y0, 0)
        right, bottom = min(self.x0 + self.side, width), min(self.y0 + self.side, height)
        window = img[top:bottom, left:right]
        if window.shape[:2] != (self.side, self.side):
            canvas = np.zeros((self.side, self.side, *img.shape[2:]), img.dtype)
            canvas[top - self.y0 : bottom - self.y0, left - self.x0 : right - self.x0] = window
            window = canvas
        if self.side == self.size:
            return np.ascontiguousarray(window)
        interp = cv2.INTER_AREA if self.side > self.size else cv2.INTER_LINEAR
        return cv2.resize(window, (self.size, self.size), interpolation=interp)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Moves (N, 2) points of the tile into the result."""
        return (coords - (self.x0, self.y0)) * (self.size / self.side)


_ROTATIONS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}


class MirrorTransform(transforms.HFlipTransform):
    """Mirrors left and right, and copies images of values at once: numpy's views are slow to copy."""

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """Mirrors (H, W[, C]) or (N, H, W, C)."""
        is_picture = img.ndim == 3 and img.dtype == np.uint8
        return cv2.flip(img, 1) if is_picture else super().apply_image(img)


class QuarterTurnTransform(Transform):
    """Turns an (height, width) image counter-clockwise by ``turns`` * 90 degrees, without interpolation."""

    def __init__(self, height: int, width: int, turns: int) -> None:
        super().__init__()
        self.height, self.width, self.turns = height, width, turns % 4

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """Turns (H, W[, C]) or (N, H, W, C); the result may be a view."""
        if img.ndim == 3 and img.dtype == np.uint8 and self.turns:
            return cv2.rotate(img, _ROTATIONS[self.turns])  # numpy takes ten times as long to copy its view
        return np.rot90(img, self.turns, axes=(0, 1) if img.ndim <= 3 else (1, 2))

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Turns (N, 2) points."""
        x, y = coords[:, 0], coords[:, 1]
        turned = (
            (x, y),
            (y, self.width - x),
            (self.width - x, self.height - y),
            (self.height - y, x),
        )[self.turns]
        return np.stack(turned, axis=1)


class ShiftTransform(Transform):
    """Moves the picture by (dx, dy) whole px; the strip that opens mirrors what lies beside it."""

    def __init__(self, dx: int, dy: int) -> None:
        super().__init__()
        self.dx, self.dy = dx, dy

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """Moves (H, W[, C]); at most to the opposite edge."""
        height, width = img.shape[:2]
        dx = int(np.clip(self.dx, 1 - width, width - 1))
        dy = int(np.clip(self.dy, 1 - height, height - 1))
        kept = img[max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)]
        borders = max(dy, 0), max(-dy, 0), max(dx, 0), max(-dx, 0)
        return cv2.copyMakeBorder(kept, *borders, cv2.BORDER_REFLECT)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Moves (N, 2) points."""
        return coords + np.array([self.dx, self.dy])


class DamageAwareCrop(transforms.Augmentation):
    """Draws a scale and a window that likes buildings, each grade of damage in the tile as often as the next.

    With probability ``building_prob`` the window lies around a building: a grade is drawn evenly from those
    in the tile, then a building of it; un-classified ones are drawn where there is no other. Otherwise the
    window falls anywhere. It stays inside the tile where it fits, and the tile anywhere inside it where it
    does not.

    Args:
        crop_size: side of the result in px.
        scale_range: least and largest scale factor, drawn log-uniformly.
        building_prob: 0..1.
    """

    def __init__(self, crop_size: int, scale_range: tuple[float, float], building_prob: float) -> None:
        super().__init__()
        self.crop_size, self.scale_range, self.building_prob = crop_size, tuple(scale_range), building_prob

    def get_transform(self, image: np.ndarray, boxes: np.ndarray, damage: np.ndarray) -> WindowTransform:
        """Draws a window for an (H, W, 3) tile with (N, 4) boxes and (N,) damage."""
        low, high = np.log(self.scale_range)
        side = max(round(self.crop_size / float(np.exp(self._rand_range(low, high)))), 1)
        chosen = None
        if len(boxes) and self._rand_range() < self.building_prob:
            chosen = boxes[self._building(damage)]
        x0 = self._start(side, image.shape[1], None if chosen is None else chosen[[0, 2]])
        y0 = self._start(side, image.shape[0], None if chosen is None else chosen[[1, 3]])
        return WindowTransform(x0, y0, side, self.crop_size)

    def _start(self, side: int, extent: int, span: np.ndarray | None) -> int:
        """First px of the window along one axis; ``span`` is the building's extent on it."""
        least, most = sorted((0, extent - side))
        low, high = float(least), float(most)
        if span is not None:
            center, half = float(span.mean()), min(float(span[1] - span[0]), side) / 2
            low, high = np.clip((center + half - side, center - half), least, most)
        return int(np.clip(round(float(self._rand_range(low, high))), least, most))

    def _building(self, damage: np.ndarray) -> int:
        """Index of a building: evenly over the grades present, then evenly within the grade."""
        grades = np.unique(damage)
        classified = grades[grades != IGNORE_DAMAGE]
        grade = self._choice(classified if len(classified) else grades)
        return int(self._choice(np.flatnonzero(damage == grade)))

    def _choice(self, values: np.ndarray) -> np.ndarray:
        return values[int(self._rand_range(len(values)))]


class RandomMirror(transforms.Augmentation):
    """Mirrors left and right every other time."""

    def get_transform(self, image: np.ndarray) -> Transform:
        """Draws whether an (H, W, 3) image is mirrored."""
        return MirrorTransform(image.shape[1]) if self._rand_range() < 0.5 else transforms.NoOpTransform()


class RandomQuarterTurn(transforms.Augmentation):
    """Turns by 0, 90, 180 or 270 degrees, each as likely; a horizontal flip makes it all eight positions."""

    def get_transform(self, image: np.ndarray) -> QuarterTurnTransform:
        """Draws the turn of an (H, W, 3) image."""
        return QuarterTurnTransform(image.shape[0], image.shape[1], int(self._rand_range(4)))


class RandomShift(transforms.Augmentation):
    """Draws a whole-pixel shift of -max_shift..max_shift along each axis, for the post image alone.

    xBD's polygons were drawn on the pre image and moved by one shift per event, which leaves several px in
    many pairs.
    """

    def __init__(self, max_shift: int) -> None:
        super().__init__()
        self.max_shift = max_shift

    def get_transform(self) -> ShiftTransform:
        """Draws the shift."""
        dx, dy = np.floor(self._rand_range(-self.max_shift, self.max_shift + 1, 2))
        return ShiftTransform(int(dx), int(dy))
