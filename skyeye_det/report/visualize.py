"""Scenes in a chosen order, drawn beside what was predicted, into a gallery."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from skyeye_det.data.image_reading import ImageError, image_size, read_image
from skyeye_det.errors import InputError
from skyeye_det.files import plain_bytes
from skyeye_det.report.gallery import PanelLook, write_gallery
from skyeye_det.report.outlines import DrawnBuilding
from skyeye_det.report.panel import PairPicture
from skyeye_det.report.sources import ResultFolder, SceneSource, chosen

ORDERS = ("name", "worst", "random")
_UNGRADED = 1


@dataclass(frozen=True)
class SceneChoice:
    """Which scenes are drawn, and in which order.

    Attributes:
        names: these; all where empty.
        limit: at most so many; None for no limit.
        order: "name" as they are found or named, "worst" with the most wrong pixels first, "random".
        seed: of the random order.
    """

    names: Sequence[str] = ()
    limit: int | None = None
    order: str = "name"
    seed: int = 0


def visualize(
    scenes: Mapping[str, SceneSource],
    output: Path,
    predictions: Path | None = None,
    *,
    choice: SceneChoice | None = None,
    look: PanelLook | None = None,
    scores: Path | None = None,
) -> tuple[int, dict[str, str]]:
    """Draws scenes as panels pre | post | truth | prediction and writes their gallery.

    Args:
        scenes: by name, see ``sources``.
        output: folder of ``panels/<scene>.png``, ``gallery.png`` and ``index.html``.
        predictions: folder of ``tools/infer.py``.
        choice: of scenes; all where not given.
        look: how pairs are drawn.
        scores: text file shown above the pictures, such as the table of ``tools/score_submission.py``.

    Returns:
        Number of scenes drawn; scene -> why, of those whose images cannot be read.

    Raises:
        InputError: results or labels that are missing or broken, or nothing to draw.
    """
    choice = choice or SceneChoice()
    if choice.limit is not None and choice.limit < 1:
        raise InputError(f"--limit: expected 1 or more scenes, found {choice.limit}")
    results = ResultFolder(predictions) if predictions else None
    drawn = chosen(scenes, choice.names)
    if choice.order == "random":
        drawn = [drawn[index] for index in np.random.default_rng(choice.seed).permutation(len(drawn))]
    elif choice.order == "worst":
        drawn = sorted(drawn, key=lambda scene: -_wrong_pixels(scene, results))
    drawn = drawn[: choice.limit]
    unreadable: dict[str, str] = {}
    pictures = _pictures(drawn, results, unreadable)
    first = next(pictures, None)
    if first is None:
        raise InputError(
            f"no scene can be drawn, of {len(drawn)}, such as {min(unreadable.values(), default='')}"
        )
    write_gallery(output, chain([first], pictures), score_table=_read_text(scores), look=look)
    return len(drawn) - len(unreadable), unreadable


def disagreement(
    truth: Sequence[DrawnBuilding], prediction: Sequence[DrawnBuilding], shape: tuple[int, int]
) -> int:
    """Pixels of an image of ``shape`` on which truth and prediction differ.

    They differ where one has a building and the other none, and where the damage is another. The damage of a
    building that is un-classified in truth is not compared.
    """
    labelled, found = np.zeros((2, *shape), np.uint8)  # 0 no building, 1 un-classified, 2..5 the classes
    for canvas, buildings in ((labelled, truth), (found, prediction)):
        for building in buildings:
            (x, y), (height, width) = building.corner, building.mask.shape
            canvas[y : y + height, x : x + width][building.mask > 0] = building.damage + 2
    ignored = (labelled == _UNGRADED) & (found > 0)
    return int(np.count_nonzero((labelled != found) & ~ignored))


def _wrong_pixels(scene: SceneSource, results: ResultFolder | None) -> int:
    try:
        width, height = image_size(scene.pre)
    except ImageError:
        return -1  # behind all that can be drawn
    prediction = results.buildings(scene.name, (height, width)) if results else None
    if scene.truth is None or prediction is None:
        raise InputError(
            f"{scene.name}: has no labels or no results, so that it has no place in the order 'worst'"
        )
    return disagreement(scene.truth((height, width))[0], prediction, (height, width))


def _pictures(
    scenes: list[SceneSource], results: ResultFolder | None, unreadable: dict[str, str]
) -> Iterator[PairPicture]:
    for scene in scenes:
        try:
            pre, post = read_image(scene.pre), read_image(scene.post)
        except ImageError as error:
            unreadable[scene.name] = str(error)
            continue
        shape = pre.shape[0], pre.shape[1]
        prediction = results.buildings(scene.name, shape) if results else None
        truth, note = scene.truth(shape) if scene.truth else (None, "")
        yield PairPicture(scene.name, pre, post, truth, prediction, note)


def _read_text(path: Path | None) -> str | None:
    try:
        return plain_bytes(path).decode() if path else None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: expected a text of scores, found none that can be read ({error})"
        ) from error
