"""Two sides on one grid, read together, and how far they lie apart."""

from dataclasses import dataclass
from types import TracebackType

import numpy as np
import shapely

from skyeye_det.errors import InputError, UnreadableError
from skyeye_det.prediction.visibility import repeated
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
        self._is_moved = not scene.shift.source.is_identity

    def __enter__(self) -> "PairReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in (self._before, self._after):
            reader.__exit__(kind, error, trace)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray, str]:
        """A window of both.

        Args:
            window: of the grid.

        Returns:
            uint8 (6, h, w) RGB before and after; bool (2, h, w), where something can be seen, after: what
            does not repeat the pre image; why it could not be read, where it could not.

        Raises:
            UnreadableError: it cannot be read, and is not to be passed over.
        """
        try:
            before, after = self._before.stored(window), self._after.stored(window)
            # A copy that is moved and resampled equals the pre image that is moved and resampled alike.
            moved = self._before.stored(window, self.scene.shift.source) if self._is_moved else before
        except UnreadableError as error:
            if not self.scene.skip_unreadable:
                raise
            shape = window.height, window.width
            return np.zeros((6, *shape), np.uint8), np.zeros((2, *shape), np.bool_), str(error)
        pixels = np.concatenate([self._before.toned(before), self._after.toned(after)])
        new = after.seen & ~(moved.seen & repeated(moved.values, after.values))
        return pixels, np.stack([before.seen, new]), ""

    def is_same(self, window: Window) -> bool | None:
        """Whether both images of a scene that is not moved are the same in a window.

        Returns:
            None where they cannot tell: of one tone, or without a place that both show.

        Raises:
            UnreadableError: it cannot be read.
        """
        before, after = self._before.stored(window), self._after.stored(window)
        seen = before.seen & after.seen
        values, others = before.values[:, seen], after.values[:, seen]
        if not np.array_equal(values, others):
            return False
        return True if values.size and values.min() < values.max() else None


def estimated_shift(reader: PairReader) -> Shift:
    """Compares at most ``_MOST_COMPARED`` windows, spread over a scene that is not moved yet.

    Raises:
        UnreadableError: see ``PairReader.read``.
    """
    chosen = _samples(reader.scene)[:_MOST_COMPARED]
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
    is_copy = False
    for window in _samples(reader.scene):
        try:
            is_same = reader.is_same(window)
        except UnreadableError:
            if reader.scene.skip_unreadable:
                continue
            return  # the prediction names it
        if is_same is False:
            return
        is_copy |= is_same is True
    if is_copy:
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
