"""Two sides on one grid, read together, and how far they lie apart."""

from dataclasses import dataclass
from types import TracebackType

import numpy as np
import shapely

from skyeye_det.errors import InputError, UnreadableError
from skyeye_det.prediction.visibility import blanks, blotted, repeated
from skyeye_det.prediction.windows import Window, cut_windows
from skyeye_det.progress import progress
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.rasters import Side
from skyeye_det.scene.reading import SideReader
from skyeye_det.scene.shift import SAMPLE, Shift, WindowShift, agreed_shift, window_shift

_MOST_COMPARED = 40


@dataclass(frozen=True)
class Scene:
    """Two sides on one grid.

    Attributes:
        pre: before.
        post: after.
        grid: of both.
        shift: by which the post image is moved.
        aoi: area of interest in the grid's CRS; None: all of it.
        skip_unreadable: whether a window that cannot be read is kept as one in which nothing is seen.
    """

    pre: Side
    post: Side
    grid: Grid
    shift: Shift
    aoi: shapely.Geometry | None = None
    skip_unreadable: bool = False

    def meets_aoi(self, window: Window) -> bool:
        """Whether a window has a place of interest."""
        if self.aoi is None:
            return True
        x, y = window.x, window.y
        return bool(self.aoi.intersects(self.grid.box(x, y, x + window.width, y + window.height)))

    def readers(self) -> tuple[SideReader, SideReader]:
        """Of both sides, the post image moved."""
        return (
            SideReader(self.pre, self.grid, skip_unreadable=self.skip_unreadable),
            SideReader(self.post, self.grid, self.shift.source, skip_unreadable=self.skip_unreadable),
        )


class PairReader:
    """Reads both sides of a scene together; a context, which keeps some files open.

    Args:
        scene: what is read.
    """

    def __init__(self, scene: Scene):
        self.scene = scene
        self._before, self._after = scene.readers()
        # The post image as a copy would be: not moved, in the tones of the pre image, whatever its nodata is.
        tones = self._before.stretch
        self._unmoved: SideReader | None = None
        if scene.shift.source.is_identity and self._after.stretch == tones:
            self._unmoved = self._after
        elif scene.pre.dtype == scene.post.dtype:
            self._unmoved = SideReader(
                scene.post, scene.grid, skip_unreadable=scene.skip_unreadable, stretch=tones
            )

    def __enter__(self) -> "PairReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in (self._before, self._after, self._unmoved):
            if reader is not None:
                reader.__exit__(kind, error, trace)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray, str]:
        """A window of both.

        Args:
            window: of the grid.

        Returns:
            uint8 (6, h, w) RGB before and after; bool (2, h, w), where something can be seen, and something
            new in the post image; why it could not be read, where it could not.

        Raises:
            UnreadableError: it cannot be read, and is not to be passed over.
        """
        try:
            (one, seen), (other, also) = self._before.read(window), self._after.read(window)
            unmoved = (other, also) if self._unmoved is self._after else self._read_unmoved(window)
        except UnreadableError as error:
            if not self.scene.skip_unreadable:
                raise
            shape = window.height, window.width
            return np.zeros((6, *shape), np.uint8), np.zeros((2, *shape), np.bool_), str(error)
        if unmoved is not None:
            # Where it moves, off by the shift. What 16 bits have beyond the tones looks alike on all dates.
            also = also & ~(seen & unmoved[1] & repeated(one, unmoved[0]) & ~blotted(blanks(one)))
        return np.concatenate([one, other]), np.stack([seen, also]), ""

    def _read_unmoved(self, window: Window) -> tuple[np.ndarray, np.ndarray] | None:
        """None of images of two dtypes, which are no copies."""
        return None if self._unmoved is None else self._unmoved.read(window)

    def is_new(self, window: Window) -> bool | None:
        """Whether the post image differs from the pre image in a window; None where it is of one tone.

        Raises:
            UnreadableError: it cannot be read.
        """
        unmoved = self._read_unmoved(window)
        if unmoved is None:
            return True
        one, seen = self._before.read(window)
        one, other = (image[:, seen & unmoved[1]] for image in (one, unmoved[0]))
        if not np.array_equal(one, other):
            return True
        return False if one.size and one.min() < one.max() else None


def estimated_shift(reader: PairReader, most: int = _MOST_COMPARED) -> Shift:
    """Compares windows, spread over a scene that is not moved yet.

    Args:
        reader: of the scene.
        most: number of windows.

    Raises:
        UnreadableError: see ``PairReader.read``.
    """
    chosen = _samples(reader.scene)[:most]
    found: list[WindowShift] = []
    for window in progress(chosen, len(chosen), "compare", "window"):
        pixels, seen, _ = reader.read(window)
        middle = window.x + window.width / 2, window.y + window.height / 2
        if (shift := window_shift(pixels[:3], pixels[3:], seen[0] & seen[1], middle)) is not None:
            found.append(shift)
    return agreed_shift(found)


def refuse_copy(reader: PairReader) -> None:
    """Refuses two sides that show the same in every window; the first one that differs ends the reading.

    Raises:
        InputError: they do: one is a copy of the other.
    """
    is_told = False
    for window in _samples(reader.scene):
        try:
            is_new = reader.is_new(window)
        except UnreadableError:
            if reader.scene.skip_unreadable:
                continue
            return  # the prediction names it
        if is_new:
            return
        is_told |= is_new is False
    if is_told:
        raise same_images(*(side.rasters[0].path for side in (reader.scene.pre, reader.scene.post)))


def same_images(pre: str, post: str) -> InputError:
    """The refusal of images, given by their paths, that are of one date."""
    found = f"{pre} in both" if pre == post else f"the same pixels in {pre} and {post}"
    return InputError(
        f"--pre and --post: expected images of two dates, found {found}: nothing would be known of the"
        " time after; give the image of the other date"
    )


def _samples(scene: Scene) -> list[Window]:
    """Windows by which two sides are compared, those first that are spread over the scene."""
    windows = cut_windows(scene.grid.shape, SAMPLE, SAMPLE // 2)
    step = -(-len(windows) // _MOST_COMPARED)
    return [window for first in range(step) for window in windows[first::step]]
