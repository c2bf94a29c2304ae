"""Writes an xBD root of sample scenes."""

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.random import Generator

from skyeye_det.damage import SUBTYPE_BY_DAMAGE
from skyeye_det.data.targets import Building, Parts, scene_targets
from skyeye_det.errors import InputError
from skyeye_det.files import read_json, write_bytes, write_json
from skyeye_det.progress import progress
from skyeye_det.sample.layout import MARGIN
from skyeye_det.sample.roofs import Sun
from skyeye_det.sample.scene import LABEL_STREAM, Recipe, SampleScene, draw_recipe, draw_scene
from skyeye_det.sample.streets import House
from skyeye_det.sample.texture import cos_sin, scene_rng, whole
from skyeye_det.workers import ordered_map, worker_count

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other bytes than before."""

MANIFEST = "sample.json"
"""File of the root that says what the scenes were made from."""

DEFAULT_SPLITS: Mapping[str, float] = {"train": 0.8, "val": 0.2}

SMALLEST_AREA = 14.0
"""px²: less of a building inside the tile than this gets no label, as in xBD."""


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
        folder, endings = self.root / self.split, {"image": ".png", "target": "_target.png", "label": ".json"}
        return {
            (kind, time): folder / f"{kind}s" / f"{self.name}_{time}_disaster{ending}"
            for kind, ending in endings.items()
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
    _lock(root, {"seed": seed, "size": size, "splits": dict(splits)}, pairs)
    for split in splits:
        for folder in ("images", "labels", "targets"):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
    tasks = [_Task(root, split, seed, index, size) for index, split in enumerate(assigned)]
    tasks = [task for task in tasks if not all(path.is_file() for path in task.paths().values())]
    written = ordered_map(_write_scene, tasks, worker_count(workers, len(tasks), 1), chunk=1)
    for _ in progress(written, len(tasks), "sample scenes", "pair"):
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
    for option, found, is_right, expected in (
        ("--pairs", pairs, 1 <= pairs <= 10**8, "1 to 100000000"),
        ("--seed", seed, seed >= 0, "0 or more"),
        ("--size", size, 128 <= size <= 4096, "128 to 4096 px"),
        ("--workers", workers, workers is None or workers >= 1, "1 or more"),
    ):
        if not is_right:
            raise InputError(f"{option}: expected {expected}, found {found}")


def _lock(root: Path, making: dict[str, Any], pairs: int) -> None:
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


def _write_scene(task: _Task) -> None:
    scene = draw_scene(task.seed, task.index, task.size)
    rng = scene_rng(task.seed, task.index, LABEL_STREAM)
    buildings = _tile_buildings(rng, scene, task.size)
    pre_label, post_label = _label_contents(rng, scene, buildings, task.name, task.size)
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


def _tile_buildings(rng: Generator, scene: SampleScene, size: int) -> list[Building]:
    """The labelled buildings of a scene, outlines cut at the tile's border.

    Args:
        rng: draws the uids.
        scene: the scene.
        size: edge of the tile in px.
    """
    buildings = []
    for house, grade in zip(scene.houses, scene.grades, strict=True):
        uid = str(uuid.UUID(bytes=rng.bytes(16), version=4))
        parts = outline_on_tile(house, size, size)
        if parts:
            buildings.append(Building(uid, parts, grade))
    return buildings


def outline_on_tile(house: House, width: int, height: int) -> Parts:
    """The outline of a house, cut at the border of its tile; empty where too little is left.

    Args:
        house: in canvas px.
        width: of the tile, px.
        height: of the tile, px.

    Returns:
        Rings float64 (n, 2) in px of the tile, in which (0, 0) is the middle of the first pixel.
    """
    rings = [ring - MARGIN for ring in house.rings]
    last = width - 1, height - 1
    if rings[0].min() < 0 or (rings[0] > last).any():
        polygon = shapely.Polygon(rings[0], rings[1:])
        inside = shapely.intersection(polygon, shapely.box(0, 0, *last))
        whole_parts = [part for part in shapely.get_parts(inside) if part.geom_type == "Polygon"]
        if not whole_parts:
            return ()
        largest = max(whole_parts, key=lambda part: part.area)
        if largest.area < SMALLEST_AREA:
            return ()
        rings = [np.array(ring.coords)[:-1] for ring in (largest.exterior, *largest.interiors)]
    return (tuple(np.round(ring, 3) for ring in rings),)


def _label_contents(
    rng: Generator, scene: SampleScene, buildings: list[Building], name: str, size: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """JSON contents of the pre and the post label; ``subtype`` stands in the post one only, as in xBD."""
    west, north = whole(rng, -1_200_000, 1_200_000) / 10_000, whole(rng, -450_000, 450_000) / 10_000
    # Metres a degree, on a sphere: enough for an affine fit of xy to lng_lat.
    gsd = whole(rng, 440, 560) / 1000
    scale = gsd / (111_320 * cos_sin(round(north))[0]), -gsd / 110_540
    geography = (west, north), scale
    pre_day = whole(rng, 1, 28)
    contents = []
    for time, sun, year in (("pre", scene.suns[0], 2016), ("post", scene.suns[1], 2018)):
        features: dict[str, list] = {"lng_lat": [], "xy": []}
        for building in buildings:
            properties = {"feature_type": "building"}
            if time == "post":
                properties["subtype"] = SUBTYPE_BY_DAMAGE[building.damage]
            properties["uid"] = building.uid
            polygon = building.parts[0]
            degrees = [np.round(geography[0] + ring * geography[1], 12) for ring in polygon]
            features["lng_lat"].append({"properties": dict(properties), "wkt": _wkt(degrees)})
            features["xy"].append({"properties": properties, "wkt": _wkt(list(polygon))})
        date = f"{year}-{whole(rng, 1, 12):02d}-{pre_day:02d}T16:{whole(rng, 0, 59):02d}:00.000Z"
        metadata = _metadata(rng, scene.recipe, sun, (gsd, date), f"{name}_{time}_disaster.png", size)
        contents.append({"features": features, "metadata": metadata})
    return contents[0], contents[1]


def _wkt(rings: list[np.ndarray]) -> str:
    texts = (", ".join(f"{x} {y}" for x, y in [*ring.tolist(), ring[0].tolist()]) for ring in rings)
    return f"POLYGON ({', '.join(f'({text})' for text in texts)})"


def _metadata(
    rng: Generator, recipe: Recipe, sun: Sun, taken: tuple[float, str], image: str, size: int
) -> dict[str, Any]:
    gsd, date = taken
    return {
        "sensor": "SAMPLE", "provider_asset_type": "SAMPLE", "gsd": gsd, "capture_date": date,
        "off_nadir_angle": whole(rng, 20, 300) / 10, "pan_resolution": gsd,
        "sun_azimuth": float(sun.azimuth), "sun_elevation": float(sun.elevation),
        "target_azimuth": whole(rng, 0, 3599) / 10, "disaster": recipe.hazard.event,
        "disaster_type": recipe.hazard.disaster_type, "catalog_id": rng.bytes(8).hex().upper(),
        "original_width": size, "original_height": size, "width": size, "height": size,
        "id": rng.bytes(12).hex(), "img_name": image,
    }  # fmt: skip
