"""Writes an xBD root of sample scenes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from skyeye_det.data.targets import scene_targets
from skyeye_det.errors import InputError
from skyeye_det.files import read_json, write_bytes, write_json
from skyeye_det.progress import progress
from skyeye_det.sample.labels import label_contents, tile_buildings
from skyeye_det.sample.scene import LABEL_STREAM, draw_recipe, draw_scene
from skyeye_det.sample.texture import scene_rng
from skyeye_det.workers import ordered_map, worker_count

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other bytes than before."""

MANIFEST = "sample.json"
"""File of the root that says what the scenes were made from."""

DEFAULT_SPLITS: Mapping[str, float] = {"train": 0.8, "val": 0.2}

_SMALLEST_SIZE, _LARGEST_SIZE, _MOST_PAIRS = 128, 4096, 10**8


@dataclass(frozen=True)
class _Task:
    root: Path
    split: str
    seed: int
    index: int
    size: int

    @property
    def name(self) -> str:
        return f"{draw_recipe(self.seed, self.index).hazard.event}_{self.index:08d}"

    def paths(self) -> dict[tuple[str, str], Path]:
        """(``"image"``, ``"label"`` or ``"target"``; ``"pre"`` or ``"post"``) -> file."""
        folder = self.root / self.split
        kinds = (
            ("image", "images", ".png"),
            ("target", "targets", "_target.png"),
            ("label", "labels", ".json"),
        )
        return {
            (kind, time): folder / place / f"{self.name}_{time}_disaster{suffix}"
            for kind, place, suffix in kinds
            for time in ("pre", "post")
        }


def make_sample_xbd(
    output: str | os.PathLike[str],
    pairs: int,
    seed: int,
    size: int = 1024,
    splits: Mapping[str, float] = DEFAULT_SPLITS,
    workers: int | None = None,
) -> None:
    """Writes ``pairs`` made-up scenes as an xBD root, the same bytes for the same seed and size.

    Scene ``i`` depends on ``seed``, ``i`` and ``size`` alone, not on ``pairs`` or ``workers``. Scenes that
    are already whole are left as they are, so a killed run is taken up by the same command, and a larger
    ``pairs`` adds scenes.

    Args:
        output: folder of the root; made where missing. It must be empty or hold scenes of the same making.
        pairs: number of scenes, 1 or more.
        seed: 0 or more.
        size: edge of the tiles, 128 to 4096 px.
        splits: name -> share of the scenes; the shares are positive and add up to 1.
        workers: processes; ``None`` for one a core. 1 draws in this process.

    Raises:
        InputError: an argument is out of range, or ``output`` holds something else.
    """
    root = Path(output)
    _check(pairs, seed, size, workers)
    assigned = split_of_each(pairs, splits)
    _claim(root, {"seed": seed, "size": size, "splits": dict(splits)}, pairs)
    for split in splits:
        for folder in ("images", "labels", "targets"):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
    tasks = [_Task(root, split, seed, index, size) for index, split in enumerate(assigned)]
    tasks = [task for task in tasks if not all(path.is_file() for path in task.paths().values())]
    count = min(worker_count(workers, len(tasks), 1), len(tasks))
    write = _write_scene if count <= 1 else _write_in_worker
    for _ in progress(ordered_map(write, tasks, count, chunk=1), len(tasks), "sample scenes", "pair"):
        pass


def split_of_each(pairs: int, splits: Mapping[str, float]) -> list[str]:
    """Split of scene 0 .. ``pairs`` - 1: each goes to the split that lags most behind its share.

    Raises:
        InputError: the shares are not positive or do not add up to 1, or a name is no plain folder name.
    """
    for name, share in splits.items():
        if not name or not name.replace("-", "").replace("_", "").isalnum():
            raise InputError(f"--splits: expected a folder name of letters, digits, - and _, found {name!r}")
        if not 0 < share <= 1:
            raise InputError(f"--splits: expected a share above 0 and up to 1 for {name}, found {share}")
    if abs(sum(splits.values()) - 1) > 1e-6:
        raise InputError(f"--splits: expected shares that add up to 1, found {dict(splits)}")
    counts = dict.fromkeys(splits, 0)
    assigned = []
    for index in range(pairs):
        lagging = max(splits, key=lambda name: round(splits[name] * (index + 1) - counts[name], 9))
        counts[lagging] += 1
        assigned.append(lagging)
    return assigned


def _check(pairs: int, seed: int, size: int, workers: int | None) -> None:
    if not 1 <= pairs <= _MOST_PAIRS:
        raise InputError(f"--pairs: expected 1 to {_MOST_PAIRS}, found {pairs}")
    if seed < 0:
        raise InputError(f"--seed: expected 0 or more, found {seed}")
    if not _SMALLEST_SIZE <= size <= _LARGEST_SIZE:
        raise InputError(f"--size: expected {_SMALLEST_SIZE} to {_LARGEST_SIZE} px, found {size}")
    if workers is not None and workers < 1:
        raise InputError(f"--workers: expected 1 or more, found {workers}")


def _claim(root: Path, making: dict[str, Any], pairs: int) -> None:
    """Writes the manifest, or compares it with the one that is there."""
    path = root / MANIFEST
    making = {"generator": GENERATOR_VERSION, **making}
    try:
        # Hidden files may be what a killed run left.
        empty = not root.exists() or all(path.name.startswith(".") for path in root.iterdir())
    except OSError as error:
        raise InputError(f"{root}: expected a folder to write to ({error.strerror})") from error
    if not empty:
        if not path.is_file():
            raise InputError(
                f"{root}: expected an empty folder or sample scenes with {MANIFEST}, found other files; "
                "give another --output"
            )
        found = read_json(path)
        there = found if isinstance(found, dict) else {}
        for key, value in making.items():
            if there.get(key) != value:
                raise InputError(
                    f"{path}: expected {key} {value}, found {there.get(key)}; "
                    "give another --output or delete the folder"
                )
        if isinstance(there.get("pairs"), int) and there["pairs"] > pairs:
            raise InputError(
                f"{path}: expected at most {pairs} pairs, found {there['pairs']}; "
                f"give --pairs {there['pairs']} or another --output"
            )
    write_json(path, {**making, "pairs": pairs}, pretty=True)


def _write_in_worker(task: _Task) -> None:
    cv2.setNumThreads(1)  # the cores belong to the other workers
    _write_scene(task)


def _write_scene(task: _Task) -> None:
    scene = draw_scene(task.seed, task.index, task.size)
    rng = scene_rng(task.seed, task.index, LABEL_STREAM)
    buildings = tile_buildings(rng, scene, task.size)
    pre_label, post_label = label_contents(rng, scene, buildings, task.name, task.size)
    localization, damage = scene_targets(buildings, (task.size, task.size))
    paths = task.paths()
    for time, image, target in (("pre", scene.pre, localization), ("post", scene.post, damage)):
        write_bytes(paths["image", time], _png(cv2.cvtColor(image, cv2.COLOR_RGB2BGR)))
        write_bytes(paths["target", time], _png(target))
    write_json(paths["label", "pre"], pre_label)
    write_json(paths["label", "post"], post_label)


def _png(image: np.ndarray) -> bytes:
    # Stated, so that another default of OpenCV does not change the bytes.
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 3, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT,
                cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB]  # fmt: skip
    return cv2.imencode(".png", image, settings)[1].tobytes()
