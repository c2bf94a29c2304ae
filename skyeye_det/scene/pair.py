"""Two sides on one grid, read together, and how far they lie apart."""

from dataclasses import dataclass

import numpy as np
import shapely

from skyeye_det.errors import InputError, UnreadableError
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

    def read(
        self, before: SideReader, after: SideReader, window: Window
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """A window of both.

        Args:
            before: of ``readers``.
            after: likewise.
            window: of the grid.

        Returns:
            uint8 (6, h, w) RGB before and after; bool (2, h, w), where something can be seen; why it could
            not be read, where it could not.

        Raises:
            UnreadableError: it cannot be read, and is not to be passed over.
        """
        try:
            (one, seen), (other, also) = before.read(window), after.read(window)
        except UnreadableError as error:
            if not self.skip_unreadable:
                raise
            shape = window.height, window.width
            return np.zeros((6, *shape), np.uint8), np.zeros((2, *shape), np.bool_), str(error)
        return np.concatenate([one, other]), np.stack([seen, also]), ""


def estimated_shift(scene: Scene, before: SideReader, after: SideReader) -> Shift:
    """Compares at most ``_MOST_COMPARED`` windows, spread over a scene that is not moved yet.

    Args:
        scene: not moved.
        before: of its ``readers``.
        after: likewise.

    Raises:
        UnreadableError: see ``Scene.read``.
    """
    chosen = _samples(scene)[:_MOST_COMPARED]
    found: list[WindowShift] = []
    for window in progress(chosen, len(chosen), "compare", "window"):
        pixels, seen, _ = scene.read(before, after, window)
        middle = window.x + window.width / 2, window.y + window.height / 2
        if (shift := window_shift(pixels[:3], pixels[3:], seen[0] & seen[1], middle)) is not None:
            found.append(shift)
    return agreed_shift(found)


def refuse_copy(scene: Scene, before: SideReader, after: SideReader) -> None:
    """Refuses two sides that show the same in every window; the first one that differs ends the reading.

    Args:
        scene: not moved.
        before: of its ``readers``.
        after: likewise.

    Raises:
        InputError: they do: one is a copy of the other.
    """
    own, is_told = after.stretch, False
    if scene.pre.dtype == scene.post.dtype:
        after.stretch = before.stretch  # a copy's own differs by its nodata or overviews
    for window in _samples(scene):
        try:
            pixels, seen, _ = scene.read(before, after, window)
        except UnreadableError:  # the prediction names it
            break
        one, other = pixels[:, seen[0] & seen[1]].reshape(2, -1)
        if not np.array_equal(one, other):
            break
        is_told |= bool(one.size and one.min() < one.max())  # of one tone no window tells
    else:
        if is_told:
            raise same_images(scene.pre.rasters[0].path, scene.post.rasters[0].path)
    after.stretch = own


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
