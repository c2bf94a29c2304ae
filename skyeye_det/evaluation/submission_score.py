"""Scores a folder of predictions, tile by tile: memory does not grow with the number of tiles."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.data.pairs import anonymous_id
from skyeye_det.errors import InputError
from skyeye_det.evaluation.truth import TrueTile, tiles_from_labels, tiles_from_targets
from skyeye_det.evaluation.xview2_metrics import PixelCounts, count_pixels
from skyeye_det.postprocessing.png import read_class_png
from skyeye_det.postprocessing.submission import (
    LOCALIZATION,
    NUMBERING_FILE,
    read_numbering,
    scene_of_file,
    submission_names,
)

_SHOWN = 3


def score_submission(
    predictions: Path,
    targets: Path | None = None,
    xbd_root: Path | None = None,
    splits: Iterable[str] | None = None,
    workers: int = 2,
) -> dict:
    """Scores predictions against targets or labels.

    A target named like the official scorer's is matched to ``test_localization_00000_prediction.png``; one
    with a scene's name to ``<scene>_localization_prediction.png``, or to the number that ``numbering.csv``
    gives the scene. Predictions without a target are counted and left alone.

    Args:
        predictions: folder of both PNGs of every tile.
        targets: folder of target PNGs, see :func:`skyeye_det.evaluation.truth.tiles_from_targets`.
        xbd_root: xBD root whose labels are the truth instead.
        splits: names of the splits that count; None for all.
        workers: tiles read at a time.

    Returns:
        ``official``: :meth:`PixelCounts.score` of all tiles; ``overall``: :meth:`PixelCounts.report` of all
        tiles;
        ``events``: the same report and ``tiles`` per event, sorted by name; ``tiles``;
        ``tiles_without_target``.

    Raises:
        InputError: not exactly one of ``targets`` and ``xbd_root``; a prediction that is missing, of another
            size or with values that mean nothing; a fault of the truth.
    """
    if (targets is None) == (xbd_root is None):
        raise InputError("expected one of --targets and --xbd-root, found both or neither")
    if targets is not None:
        tiles = tiles_from_targets(targets, splits)
    else:
        assert xbd_root is not None
        tiles = tiles_from_labels(xbd_root, splits)
    return score_tiles(Path(predictions), tiles, workers)


def score_tiles(predictions: Path, tiles: list[TrueTile], workers: int = 2) -> dict:
    """Scores predictions against given tiles; report and errors as of :func:`score_submission`."""
    files = _match(predictions, tiles)

    def count(tile: TrueTile) -> PixelCounts:
        return _count_tile(tile, *files[tile.scene])

    counts = {event: PixelCounts.zero() for event in sorted({tile.event for tile in tiles})}
    sizes = dict.fromkeys(counts, 0)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            progress = tqdm(pool.map(count, tiles), total=len(tiles), desc="score", unit="tile", disable=None)
            for tile, counted in zip(tiles, progress, strict=True):
                counts[tile.event] += counted
                sizes[tile.event] += 1
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    total = PixelCounts.total(counts.values())
    return {
        "official": total.score(),
        "overall": total.report(),
        "events": {event: {"tiles": sizes[event], **counts[event].report()} for event in counts},
        "tiles": len(tiles),
        "tiles_without_target": _extra_tiles(predictions, files),
    }


def _match(predictions: Path, tiles: list[TrueTile]) -> dict[str, tuple[Path, Path]]:
    """Finds scene -> (localization, damage) prediction, all of them there."""
    if not predictions.is_dir():
        raise InputError(f"{predictions}: expected a folder of predictions, found none; check the path")
    present = {path.name for path in predictions.iterdir()}
    numbering = read_numbering(predictions)
    files: dict[str, tuple[Path, Path]] = {}
    missing: list[str] = []
    for tile in tiles:
        names = _names(predictions, tile.scene, numbering, present)
        missing += [name for name in names if name not in present]
        files[tile.scene] = predictions / names[0], predictions / names[1]
    if missing:
        raise InputError(_missing_sentence(predictions, missing, tiles, present))
    return files


def _names(predictions: Path, scene: str, numbering: Mapping[str, str], present: set[str]) -> tuple[str, str]:
    own = submission_names(scene)
    if scene not in numbering:
        return own
    numbered = submission_names(numbering[scene])
    if present.issuperset(own) and present.issuperset(numbered):
        raise InputError(
            f"{predictions}: scene {scene} is there twice, as {own[0]} and, by {NUMBERING_FILE},"
            f" as {numbered[0]}; remove what the other run left"
        )
    return numbered


def _missing_sentence(predictions: Path, missing: list[str], tiles: list[TrueTile], present: set[str]) -> str:
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    sentence = (
        f"{predictions}: expected a localization and a damage PNG for each of {len(tiles)} tiles,"
        f" {len(missing)} files are missing: {', '.join(missing[:_SHOWN])}{more}"
    )
    if any(name.startswith(("test_localization_", "hold_localization_")) for name in present) and any(
        anonymous_id(tile.scene) is None for tile in tiles
    ):
        return f"{sentence}; numbered predictions of named scenes need their {NUMBERING_FILE} beside them"
    return f"{sentence}; run tools/infer.py on them, or choose what to score with --splits"


def _extra_tiles(predictions: Path, files: Mapping[str, tuple[Path, Path]]) -> int:
    """Number of localization predictions that no target asked for."""
    asked = {localization.name for localization, _ in files.values()}
    present = (scene_of_file(path.name) for path in predictions.iterdir() if path.name not in asked)
    return sum(known is not None and known[1] == LOCALIZATION for known in present)


def _count_tile(tile: TrueTile, localization_path: Path, damage_path: Path) -> PixelCounts:
    true_localization, true_damage = tile.read()
    images = []
    for path in (localization_path, damage_path):
        image = read_class_png(path)
        if image.shape != true_damage.shape:
            raise InputError(
                f"{path}: expected {true_damage.shape[1]} x {true_damage.shape[0]} px as in the target,"
                f" found {image.shape[1]} x {image.shape[0]}"
            )
        if (highest := int(image.max())) > NUM_DAMAGE_CLASSES:
            raise InputError(
                f"{path}: expected values 0..{NUM_DAMAGE_CLASSES}, found up to {highest};"
                " tools/check_submission.py lists all such files"
            )
        images.append(image)
    return count_pixels(images[0], images[1], true_localization, true_damage)
