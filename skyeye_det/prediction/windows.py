"""Windows of an image that is too large to be predicted at once, with overlap."""

from dataclasses import dataclass

import numpy as np

from skyeye_det.errors import InputError

WINDOW, OVERLAP = 1024, 256
"""px; the side that models are trained for, and what two neighbours share: 120 m at xBD's resolution."""


@dataclass(frozen=True)
class Window:
    """A part of an image.

    Attributes:
        x: first column, px of the image.
        y: first row.
        width: px.
        height: px.
        image: (height, width) of the whole image.
    """

    x: int
    y: int
    width: int
    height: int
    image: tuple[int, int]

    @property
    def name(self) -> str:
        """Its place in the image, for file names."""
        return f"{self.x}-{self.y}"

    def of(self, array: np.ndarray) -> np.ndarray:
        """The window of an image (..., h, w)."""
        return array[..., self.y : self.y + self.height, self.x : self.x + self.width]

    def edge_distance(self, boxes: np.ndarray) -> np.ndarray:
        """How far boxes stay from the edges at which the window cuts the image.

        Args:
            boxes: (N, 4), XYXY px of the window.

        Returns:
            (N,) px, below 1 where a box reaches such an edge; infinite where the window is the whole image.
        """
        height, width = self.image
        inner = np.array(
            [self.x > 0, self.y > 0, self.x + self.width < width, self.y + self.height < height], np.bool_
        )
        apart = np.asarray(boxes, np.float64) * [1, 1, -1, -1] + [0, 0, self.width, self.height]
        return np.where(inner, apart, np.inf).min(axis=1, initial=np.inf)


def cut_windows(shape: tuple[int, int], size: int = WINDOW, overlap: int = OVERLAP) -> list[Window]:
    """Windows that cover an image, row by row; the last ones are moved back to lie inside it.

    Args:
        shape: (height, width) of the image in px.
        size: side of a window in px; an image that is no larger is one window.
        overlap: px that neighbours share at least.

    Raises:
        InputError: an overlap of more than half a window, or a window of less than 64 px.
    """
    if size < 64 or not 0 <= overlap <= size // 2:
        raise InputError(
            f"--window and --overlap: expected 64 px or more and at most half of that, found {size} and"
            f" {overlap}"
        )
    rows, columns = (_starts(length, size, overlap) for length in shape)
    height, width = min(size, shape[0]), min(size, shape[1])
    return [Window(x, y, width, height, shape) for y in rows for x in columns]


def _starts(length: int, size: int, overlap: int) -> list[int]:
    count = 1 if length <= size else 1 + -(-(length - size) // (size - overlap))
    return [round(step * (length - size) / (count - 1)) for step in range(count)] if count > 1 else [0]
