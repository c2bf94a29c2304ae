"""From image pairs to kept predictions: the one loop of inference, tuning and evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.data.footprint_file import FootprintFile
from skyeye_det.data.pairs import ImagePair, find_pairs
from skyeye_det.decision.buildings import Buildings
from skyeye_det.decision.results import PREDICTIONS_FOLDER, ResultWriter
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.stitch import decide_windows
from skyeye_det.engine.faults import faults_reported
from skyeye_det.engine.models import Models
from skyeye_det.engine.pair_reading import kept_image, read_pairs, readable_pairs, tile_of
from skyeye_det.errors import InputError
from skyeye_det.files import files_sha256, require_writable, sole_writer
from skyeye_det.prediction.footprints import Footprints, cut_to, shared_out
from skyeye_det.prediction.masks import Crop
from skyeye_det.prediction.store import KeptImage, PredictionStore
from skyeye_det.prediction.visibility import keep_window, shares_in, visible
from skyeye_det.prediction.windows import OVERLAP, WINDOW, cut_windows
from skyeye_det.progress import progress
from skyeye_det.xview2.submission import PREFIXES, number_scenes, write_tile


@dataclass(frozen=True)
class InferenceOptions:
    """How a folder is predicted and written.

    Attributes:
        numbered: name the PNGs in the official scorer's order, with a table of which is which.
        prefix: of ``PREFIXES``, of numbered names.
        window: side in px of the windows that a larger image is cut into.
        overlap: px that neighbours share.
        footprints: COCO file of outlines to classify; None: buildings are found.
    """

    numbered: bool = False
    prefix: str = PREFIXES[0]
    window: int = WINDOW
    overlap: int = OVERLAP
    footprints: Path | None = None


def infer_pair(
    models: Models,
    images: tuple[Path, Path],
    outputs: tuple[Path, Path],
    rule: DecisionRule,
    options: InferenceOptions = InferenceOptions(),
) -> Buildings:
    """The competition's container entry: one pair in, its two PNGs out.

    Args:
        models: one, or several whose predictions are merged.
        images: (pre, post) images of one size.
        outputs: (localization, damage) PNGs to write, 0/1 and 0..4.
        rule: to decide by.
        options: of the windows.

    Returns:
        The buildings in the PNGs.

    Raises:
        InputError: an image or the weights are not what they should be.
    """
    pair = PairMapper(models.cfg, is_train=False)(tile_of(ImagePair("pair", *images)))
    for path in outputs:
        require_writable(path)
    models.load()
    with faults_reported():
        found = buildings_of(models, pair["image"].numpy(), rule, options.window, options.overlap)
    write_tile(*outputs, *found.rasterize())
    return found


def buildings_of(
    models: Models, image: np.ndarray, rule: DecisionRule, window: int = WINDOW, overlap: int = OVERLAP
) -> Buildings:
    """The buildings of an image uint8 (6, h, w), window by window, without keeping what was predicted."""
    shape = image.shape[1], image.shape[2]
    windows = cut_windows(shape, window, overlap)
    found = decide_windows(((each, models.predict(each.of(image))) for each in windows), shape, rule)
    return found.graded_where_seen(partial(shares_in, seen=visible(image)))


def infer_folder(
    models: Models,
    images: Path,
    output: Path,
    rule: DecisionRule,
    options: InferenceOptions = InferenceOptions(),
) -> tuple[int, dict[str, str]]:
    """Predicts every pair of a folder, or those that an earlier, killed run has left, and decides them.

    Writes the results of ``decision.results`` to ``output``, with the prediction store in ``predictions/``.

    Args:
        models: one, or several whose predictions are merged.
        images: xBD root, one split of it, or a flat folder; see ``find_pairs``.
        output: folder of the results.
        rule: to decide by; another than an earlier run's decides anew what that predicted.
        options: windows, names of the PNGs, footprints.

    Returns:
        The number of pairs that were predicted; scene -> why, of those that could not be.

    Raises:
        InputError: no pair can be predicted, or weights or an earlier result are not what they should be.
    """
    pairs, halves = find_pairs(images)
    scenes = [*(pair.name for pair in pairs), *halves]
    names = number_scenes(scenes, options.prefix) if options.numbered else {}
    footprints = FootprintFile(options.footprints) if options.footprints else None
    with sole_writer(output):
        store, unreadable = keep_predictions(
            models, pairs, output / PREDICTIONS_FOLDER, options, footprints, halves
        )
        ResultWriter(output, rule, names).write_all(store, footprints)
    return len(store.images), unreadable


def keep_predictions(
    models: Models,
    pairs: Sequence[ImagePair],
    folder: Path,
    options: InferenceOptions = InferenceOptions(),
    footprints: FootprintFile | None = None,
    halves: Mapping[str, str] | None = None,
) -> tuple[PredictionStore, dict[str, str]]:
    """Predicts the windows of pairs that a store does not hold yet.

    Args:
        models: one, or several whose predictions are merged.
        pairs: all that belong to the store, sorted by name.
        folder: of the store.
        options: of the windows.
        footprints: outlines to classify, in place of finding buildings.
        halves: of ``find_pairs``.

    Returns:
        The store, with all windows of the pairs that could be predicted; scene -> why, of the others.

    Raises:
        InputError: no pair can be predicted, the weights are not what they should be, or the store is of
            something else.
    """
    tiles, unreadable = readable_pairs(pairs, footprints)
    unreadable |= halves or {}
    _require_any(tiles, unreadable)
    kept = tuple(kept_image(tile) for tile in tiles)
    origin = models.origin() | {
        "footprints_sha256": files_sha256([footprints.path], named=False) if footprints else None
    }
    store = PredictionStore.create(folder, kept, options.window, options.overlap, origin, unreadable)
    todo = {
        image.scene: (tile, image) for tile, image in zip(tiles, kept, strict=True) if store.missing(image)
    }
    print(
        f"{len(tiles)} pairs, {len(tiles) - len(todo)} of them predicted before, on {models.cfg.MODEL.DEVICE}"
    )
    if todo:
        models.load()
    with faults_reported():
        loaded = read_pairs(models.cfg, [tile for tile, _ in todo.values()])
        for pair in progress(loaded, len(todo), "predict", "pair"):
            image = todo[pair["scene"]][1]
            if "fault" in pair:
                unreadable[image.scene] = pair["fault"]
            elif kept_image(todo[image.scene][0]) != image:
                unreadable[image.scene] = (
                    f"{image.file_name}: expected both images as they were when this run began, found others;"
                    " run the same command again"
                )
            else:
                _keep_image(models, store, image, pair["image"].numpy(), footprints)
    if models.full_windows:
        print(
            f"{models.full_windows} windows hold as many instances as TEST.DETECTIONS_PER_IMAGE allows:"
            " buildings may be lost; raise it with --opts, or take a smaller --window"
        )
    store = store.keep_images([image for image in kept if image.scene not in unreadable])
    _require_any(store.images, unreadable)
    return store, dict(sorted(unreadable.items()))


def _keep_image(
    models: Models,
    store: PredictionStore,
    image: KeptImage,
    pixels: np.ndarray,
    footprints: FootprintFile | None,
) -> None:
    """Predicts and keeps the windows of an image that are missing."""
    missing, windows = set(store.missing(image)), store.windows(image)
    outlines: Sequence[Crop] = []
    if footprints is not None:
        _, outlines = footprints.outlines(image.scene, (image.height, image.width))
    for window, indices in zip(windows, shared_out(outlines, windows), strict=True):
        if window not in missing:
            continue
        if footprints is None:
            prediction = models.predict(window.of(pixels))
        else:
            shape = window.height, window.width
            given = Footprints([cut_to(outlines[index], window) for index in indices], shape)
            prediction = models.classify(window.of(pixels), given)
        keep_window(store, image, window, prediction, visible(window.of(pixels)))


def _require_any(readable: Sequence[Any], unreadable: Mapping[str, str]) -> None:
    if not readable:
        raise InputError(
            f"no pair can be predicted, of {len(unreadable)}, such as {min(unreadable.values())}"
        )
