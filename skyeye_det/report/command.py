"""From a data set or a folder of results to a gallery: the work of ``tools/visualize.py``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skyeye_det.data.image_reading import sure_image_size
from skyeye_det.errors import InputError
from skyeye_det.files import plain_bytes
from skyeye_det.report.gallery import PanelLook, write_gallery
from skyeye_det.report.outlines import DrawnBuilding, read_image
from skyeye_det.report.panel import PairPicture
from skyeye_det.report.sources import (
    ResultFolder,
    SceneSource,
    chosen,
    scenes_of_coco,
    scenes_of_folder,
    scenes_of_xbd,
)

ORDERS = ("name", "worst", "random")


@dataclass(frozen=True)
class PictureSources:
    """Where scenes and results lie.

    Attributes:
        xbd_root: xBD root, with ``split``: images and labels.
        split: of ``xbd_root``.
        annotations: converted split, in place of ``xbd_root``.
        images: folder of pairs; with ``annotations`` the root of their file names.
        predictions: folder of ``tools/infer.py``.
        score_threshold: instances of ``predictions`` below it are left out; None: those that were not
            painted.
    """

    xbd_root: Path | None = None
    split: str | None = None
    annotations: Path | None = None
    images: Path | None = None
    predictions: Path | None = None
    score_threshold: float | None = None


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
    sources: PictureSources,
    output: Path,
    *,
    choice: SceneChoice | None = None,
    look: PanelLook | None = None,
    scores: Path | None = None,
) -> int:
    """Draws scenes as panels pre | post | truth | prediction and writes their gallery.

    Args:
        sources: of images, labels and results.
        output: folder of ``panels/<scene>.png``, ``gallery.png`` and ``index.html``.
        choice: of scenes; all where not given.
        look: how pairs are drawn.
        scores: text file shown above the pictures, such as the table of ``tools/score_submission.py``.

    Returns:
        Number of scenes drawn.

    Raises:
        InputError: sources that contradict each other, are missing or broken, or nothing to draw.
    """
    choice = choice or SceneChoice()
    if choice.limit is not None and choice.limit < 1:
        raise InputError(f"--limit: expected 1 or more scenes, found {choice.limit}")
    scenes = scenes_of(sources)
    results = ResultFolder(sources.predictions, sources.score_threshold) if sources.predictions else None
    origin = str(sources.xbd_root or sources.annotations or sources.images)
    drawn = _in_order(chosen(scenes, choice.names, origin), choice, results)
    drawn = drawn[: choice.limit]
    table = _read_text(scores) if scores else None
    write_gallery(output, _pictures(drawn, results), score_table=table, look=look)
    return len(drawn)


def scenes_of(sources: PictureSources) -> dict[str, SceneSource]:
    """Scenes of the one source of images that is given, by name.

    Raises:
        InputError: none given, more than one, or a root without its split.
    """
    if sources.xbd_root and (sources.annotations or sources.images):
        raise InputError(
            "expected --xbd-root or --annotations or --images, found --xbd-root with another of them"
        )
    if sources.xbd_root:
        if not sources.xbd_root.is_dir():
            raise InputError(
                f"{sources.xbd_root}: expected an xBD root, found no such folder; check the path"
            )
        if not sources.split:
            raise InputError(f"{sources.xbd_root}: expected a split of it, found none; add --split val")
        return scenes_of_xbd(sources.xbd_root, sources.split)
    if sources.annotations:
        return scenes_of_coco(sources.annotations, sources.images)
    if sources.images:
        return scenes_of_folder(sources.images)
    raise InputError("expected images, found none; give --xbd-root with --split, --annotations, or --images")


def disagreement(
    truth: Sequence[DrawnBuilding], prediction: Sequence[DrawnBuilding], shape: tuple[int, int]
) -> int:
    """Pixels of an image of ``shape`` on which truth and prediction differ.

    They differ where one has a building and the other none, and where the damage is another. The damage of a
    building that is un-classified in truth is not compared.
    """
    labelled, found = _painted(truth, shape), _painted(prediction, shape)
    ignored = (labelled == _UNGRADED) & (found > 0)
    return int(np.count_nonzero((labelled != found) & ~ignored))


_UNGRADED = 1


def _painted(buildings: Sequence[DrawnBuilding], shape: tuple[int, int]) -> np.ndarray:
    """uint8 ``shape``: 0 no building, 1 un-classified, 2..5 the grades."""
    canvas = np.zeros(shape, np.uint8)
    for building in buildings:
        (x, y), (height, width) = building.corner, building.mask.shape
        canvas[y : y + height, x : x + width][building.mask > 0] = building.damage + 2
    return canvas


def _in_order(
    scenes: list[SceneSource], choice: SceneChoice, results: ResultFolder | None
) -> list[SceneSource]:
    if choice.order == "random":
        return [scenes[index] for index in np.random.default_rng(choice.seed).permutation(len(scenes))]
    if choice.order != "worst":
        return scenes
    return sorted(scenes, key=lambda scene: -_wrong_pixels(scene, results))


def _wrong_pixels(scene: SceneSource, results: ResultFolder | None) -> int:
    width, height = sure_image_size(scene.pre)
    shape = height, width
    prediction = results.buildings(scene.name, shape) if results else None
    if scene.truth is None or prediction is None:
        raise InputError(
            f"{scene.name}: has no labels or no results, so that it has no place in the order 'worst'"
        )
    return disagreement(scene.truth(shape)[0], prediction, shape)


def _pictures(scenes: list[SceneSource], results: ResultFolder | None) -> Iterator[PairPicture]:
    for scene in scenes:
        pre, post = read_image(scene.pre), read_image(scene.post)
        shape = pre.shape[0], pre.shape[1]
        prediction = results.buildings(scene.name, shape) if results else None
        truth, note = scene.truth(shape) if scene.truth else (None, "")
        least = f"score >= {results.score_threshold:g}" if results and results.has_scores else ""
        yield PairPicture(scene.name, pre, post, truth, prediction, note, prediction_note=least)


def _read_text(path: Path) -> str:
    try:
        return plain_bytes(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: expected a text of scores, found none that can be read ({error})"
        ) from error
