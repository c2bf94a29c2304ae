"""Rows on class images: scoring against decoding, targets against encoding."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skyeye_det.benchmark.floors import decode_images, encode_images
from skyeye_det.benchmark.material import SPLIT, linked_root
from skyeye_det.benchmark.measure import interleaved, tree_memory
from skyeye_det.benchmark.rows import Row
from skyeye_det.benchmark.settings import Settings

from skyeye_det.data.scene_files import SceneFiles, find_scenes
from skyeye_det.errors import InputError
from skyeye_det.evaluation.submission_score import score_submission
from skyeye_det.files import whole_file, write_bytes
from skyeye_det.workers import ordered_map
from skyeye_det.xview2.submission import encode_class_png, submission_names
from skyeye_det.xview2.targets import make_targets, paint_pair

SCORING_BAR = 1.3
TARGETS_BAR = 1.5
_SHIFT = 3
"""Px by which the predictions of the scoring row are moved against the targets."""


@dataclass(frozen=True)
class _Tile:
    """A scene and the folder below which its images are written."""

    scene: SceneFiles
    folder: Path

    @property
    def targets(self) -> tuple[Path, Path]:
        """Target PNGs, localization and damage."""
        names = (f"{self.scene.name}_{time}_disaster_target.png" for time in ("pre", "post"))
        pre, post = (self.folder / "targets" / name for name in names)
        return pre, post

    @property
    def predictions(self) -> tuple[Path, Path]:
        """Prediction PNGs, localization and damage."""
        localization, damage = (
            self.folder / "predictions" / name for name in submission_names(self.scene.name)
        )
        return localization, damage

    @property
    def raw(self) -> Path:
        """Both target images as one array (2, h, w)."""
        return self.folder / "raw" / f"{self.scene.name}.npy"


def scoring_row(settings: Settings) -> Row:
    """Scores predictions of ``settings.tiles`` tiles that are their targets, moved by some px."""
    tiles = _tiles(settings, "scoring")
    for _ in ordered_map(write_scored_tile, tiles, settings.workers):
        pass
    predictions, targets = tiles[0].predictions[0].parent, tiles[0].targets[0].parent
    files = [(*tile.targets, *tile.predictions) for tile in tiles]

    def score() -> dict:
        return score_submission(predictions, targets=targets, workers=settings.workers)

    def decode() -> int:
        with ThreadPoolExecutor(settings.workers) as pool:
            return sum(pool.map(decode_images, files))

    with tree_memory() as peak:
        report = score()
    ours, floor, _ = interleaved(score, decode, settings.repeats)
    return Row(
        name="scoring",
        what=f"{len(tiles)} tiles, two predictions and two targets each, {settings.workers} threads",
        floor_is="only reading and decoding the same PNGs by the same decoder in as many threads",
        ours=ours,
        floor=floor,
        bar=SCORING_BAR,
        repeats=settings.repeats,
        memory_mib=peak.mib,
        memory_is="peak of all processes together (PSS), in a run of its own; no bar",
        figures={"score": report["official"]["score"], "tiles a second": len(tiles) / ours.wall},
    )


def targets_row(settings: Settings) -> Row:
    """Paints and writes the targets of ``settings.tiles`` tiles."""
    tiles = _tiles(settings, "targets")
    folder = tiles[0].folder
    for _ in ordered_map(write_raw_tile, tiles, settings.workers):
        pass
    raw = [tile.raw for tile in tiles]

    def make() -> int:
        return make_targets(folder, SPLIT, workers=settings.workers, overwrite=True).painted

    with tree_memory() as peak:
        painted = make()
    ours, floor, (_, size) = interleaved(
        make, lambda: sum(ordered_map(encode_images, raw, settings.workers)), settings.repeats
    )
    return Row(
        name="targets",
        what=f"labels of {len(tiles)} pairs to {painted} target PNGs, {settings.workers} workers",
        floor_is="only encoding the same images, from arrays, in as many processes",
        ours=ours,
        floor=floor,
        bar=TARGETS_BAR,
        repeats=settings.repeats,
        memory_mib=peak.mib,
        memory_is="peak of all processes together (PSS), in a run of its own; no bar",
        checks={"every target painted": painted == 2 * len(tiles)},
        figures={"MB of PNG": size / 1e6, "PNGs a second": painted / ours.wall},
    )


def write_scored_tile(tile: _Tile) -> None:
    """Writes the targets of a tile, and as predictions the targets moved by some px."""
    for target, path, image in zip(tile.targets, tile.predictions, _painted(tile), strict=True):
        write_bytes(target, encode_class_png(image))
        write_bytes(path, encode_class_png(np.roll(image, _SHIFT, axis=(0, 1))))


def write_raw_tile(tile: _Tile) -> None:
    """Writes the targets of a tile without compressing them."""
    with whole_file(tile.raw) as path, path.open("wb") as file:
        np.save(file, np.stack(_painted(tile)))


def _tiles(settings: Settings, name: str) -> list[_Tile]:
    folder = settings.output / name
    linked_root(folder, settings.geometry, settings.tiles)
    found, _ = find_scenes(folder, SPLIT)
    return [_Tile(scene, folder) for scene in found]


def _painted(tile: _Tile) -> tuple[np.ndarray, np.ndarray]:
    images, faults = paint_pair(tile.scene)
    if images is None:
        raise InputError(f"{tile.scene.name}: expected labels that can be read, found {faults[0]}")
    return images
