"""Two sides on one grid, read together, and how far they lie apart."""

from dataclasses import dataclass
from itertools import chain

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
        pixels = np.concatenate([one, other])
        return pixels, np.stack([seen, also & ~repeated(pixels)]), ""


def estimated_shift(scene: Scene) -> Shift:
    """Compares at most ``_MOST_COMPARED`` windows, spread over a scene that is not moved yet.

    Raises:
        UnreadableError: see ``Scene.read``.
    """
    chosen, _ = _sampled(scene)
    found: list[WindowShift] = []
    before, after = scene.readers()
    with before, after:
        for window in progress(chosen, len(chosen), "compare", "window"):
            pixels, seen, _ = scene.read(before, after, window)
            middle = window.x + window.width / 2, window.y + window.height / 2
            if (shift := window_shift(pixels[:3], pixels[3:], seen[0] & seen[1], middle)) is not None:
                found.append(shift)
    return agreed_shift(found)


def refuse_copy(scene: Scene) -> None:
    """Refuses two sides that show the same in every window; one that differs ends the reading.

    Args:
        scene: not moved.

    Raises:
        InputError: they do: one is a copy of the other.
    """
    is_told = False  # of one tone no window tells
    before, after = scene.readers()
    with before, after:
        if scene.pre.dtype == scene.post.dtype:
            after.stretch = before.stretch  # a copy's own differs by its nodata or overviews
        for window in chain(*_sampled(scene)):
            try:
                (one, seen), (other, also) = before.read(window), after.read(window)
            except UnreadableError:  # the prediction tells it
                continue
            one, other = one[:, seen & also], other[:, seen & also]
            if not np.array_equal(one, other):
                return
            is_told |= bool(one.size and one.min() < one.max())
    if is_told:
        raise InputError(
            f"--pre and --post: expected images of two dates, found the same pixels in"
            f" {scene.pre.rasters[0].path} and {scene.post.rasters[0].path}: no building would be"
            " damaged; give the image of the other date"
        )


def _sampled(scene: Scene) -> tuple[list[Window], list[Window]]:
    """At most ``_MOST_COMPARED`` windows, spread over a scene, and the others."""
    windows = cut_windows(scene.grid.shape, SAMPLE, SAMPLE // 2)
    step = max(-(-len(windows) // _MOST_COMPARED), 1)
    return windows[::step], [window for number, window in enumerate(windows) if number % step]
