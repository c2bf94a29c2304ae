"""xBD tiles as georeferenced rasters, and their labels as a vector layer: scenes with known buildings.

A label draws each building in px and in degrees, and the two differ by an affine map (``data.ground``). As
everywhere here, a coordinate in px names a pixel's centre, as the official fill rule reads it. Were it the
corner, as GDAL's geotransform has it, all would lie half a pixel, a quarter of a metre, further north-west.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from skyeye_det.damage import IGNORE_DAMAGE, SUBTYPE_BY_DAMAGE
from skyeye_det.data.ground import GroundMap, ground_map
from skyeye_det.data.image_reading import read_image
from skyeye_det.data.label_file import LabelFile, damage_of, read_label
from skyeye_det.data.outlines import read_outlines
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.errors import InputError
from skyeye_det.scene.geotiff import write_geotiff
from skyeye_det.scene.vector_writing import whole_vector_file, write_layer

TRUTH = "truth.gpkg"
WGS84 = "EPSG:4326"


@dataclass(frozen=True)
class Placed:
    """A pair that was georeferenced.

    Attributes:
        scene: its name.
        errors: px, the worst of a vertex, before and after.
    """

    scene: str
    errors: tuple[float, float]


def georeference(scenes: Sequence[SceneFiles], output: Path) -> tuple[list[Placed], dict[str, str]]:
    """Writes ``pre/NAME.tif`` and ``post/NAME.tif`` of each pair, and ``truth.gpkg`` of all their buildings.

    Args:
        scenes: complete pairs.
        output: folder.

    Returns:
        The pairs that have a place; scene -> why, of the others.

    Raises:
        InputError: no pair has one, or a file cannot be written.
    """
    placed: list[Placed] = []
    left: dict[str, str] = {}
    buildings: list[dict[str, Any]] = []
    for files in scenes:
        try:
            labels = read_label(files.pre_label)[0], read_label(files.post_label)[0]
            placed.append(_written(files, labels, output))
            buildings += _buildings(files.name, *labels)
        except InputError as error:
            left[files.name] = str(error)
    if not placed:
        raise InputError(f"no pair can be georeferenced, of {len(left)}, such as {min(left.values())}")
    _write_truth(output / TRUTH, buildings)
    return placed, left


def _written(files: SceneFiles, labels: tuple[LabelFile, LabelFile], output: Path) -> Placed:
    errors = []
    for side, image, path, label in (
        ("pre", files.pre_image, files.pre_label, labels[0]),
        ("post", files.post_image, files.post_label, labels[1]),
    ):
        found = ground_map(label)
        if found is None:
            raise InputError(
                f"{path}: expected buildings in px and in degrees that fit each other, found none; a tile"
                " without them has no place"
            )
        place = output / side / f"{files.name}.tif"
        place.parent.mkdir(parents=True, exist_ok=True)
        _write_image(place, read_image(image), tile_transform(found[0]))
        errors.append(found[1])
    return Placed(files.name, (errors[0], errors[1]))


def tile_transform(ground: GroundMap) -> Affine:
    """GDAL's geotransform, in which px (0, 0) is a corner, of a map in which it is a pixel's centre."""
    (a, b), (d, e) = ground.matrix.tolist()
    return Affine(a, b, ground.offset[0], d, e, ground.offset[1]) @ Affine.translation(-0.5, -0.5)


def _write_image(path: Path, image: np.ndarray, transform: Affine) -> None:
    height, width, count = image.shape
    profile = {"width": width, "height": height, "count": count, "dtype": "uint8", "photometric": "RGB"}
    profile |= {"crs": WGS84, "transform": transform}

    def read(part: Window) -> np.ndarray:
        rows, columns = part.toslices()
        return image[rows, columns].transpose(2, 0, 1)

    write_geotiff(path, profile, read)


def _buildings(scene: str, pre: LabelFile, post: LabelFile) -> list[dict[str, Any]]:
    """Outlines of the pre label in degrees, with the grades of the post label."""
    entries = {uid: entry for uid, entry in pre.on_ground.items() if uid in pre.outlines}
    outlines = read_outlines([entry.get("wkt") for entry in entries.values()])
    rows = []
    for uid, outline in zip(entries, outlines, strict=True):
        if outline.parts:
            polygons = [shapely.Polygon(exterior, holes) for exterior, *holes in outline.parts]
            damage = damage_of(post.subtypes.get(uid))
            rows.append({"uid": uid, "scene": scene, "damage": damage, "geometry": polygons})
    return rows


def _write_truth(path: Path, buildings: list[dict[str, Any]]) -> None:
    geometry = [shapely.MultiPolygon(each["geometry"]) for each in buildings]
    damage = np.array([each["damage"] for each in buildings], np.int32)
    fields = {
        "uid": np.array([each["uid"] for each in buildings], object),
        "scene": np.array([each["scene"] for each in buildings], object),
        "damage": damage,
        "damage_label": np.array([SUBTYPE_BY_DAMAGE[grade] for grade in damage.tolist()], object),
    }
    missing = {"damage": damage == IGNORE_DAMAGE}
    with whole_vector_file(path) as place:
        write_layer(place, "truth", np.array(geometry, object), fields, CRS.from_string(WGS84), missing)
