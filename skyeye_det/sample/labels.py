"""Labels of a sample scene in the layout of xBD: outlines, geography, metadata."""

import uuid
from typing import Any

import numpy as np
import shapely
from numpy.random import Generator

from skyeye_det.damage import SUBTYPE_BY_DAMAGE
from skyeye_det.data.targets import Parts
from skyeye_det.data.xbd import Building
from skyeye_det.sample.footprints import House
from skyeye_det.sample.layout import MARGIN
from skyeye_det.sample.roofs import Sun
from skyeye_det.sample.scene import Recipe, SampleScene
from skyeye_det.sample.texture import cos_sin, whole

SMALLEST_AREA = 14.0
"""px²: less of a building inside the tile than this gets no label, as in xBD."""


def tile_buildings(rng: Generator, scene: SampleScene, size: int) -> list[Building]:
    """The labelled buildings of a scene, outlines cut at the tile's border.

    Args:
        rng: draws the uids.
        scene: the scene.
        size: edge of the tile in px.
    """
    buildings = []
    for house, grade in zip(scene.houses, scene.grades, strict=True):
        uid = str(uuid.UUID(bytes=rng.bytes(16), version=4))
        parts = _on_tile(house, size)
        if parts:
            buildings.append(Building(uid, parts, grade))
    return buildings


def _on_tile(house: House, size: int) -> Parts:
    rings = [ring - MARGIN for ring in house.rings]
    low, high = rings[0].min(), rings[0].max()
    if low < 0 or high > size - 1:
        polygon = shapely.Polygon(rings[0], rings[1:])
        inside = shapely.intersection(polygon, shapely.box(0, 0, size - 1, size - 1))
        whole_parts = [part for part in shapely.get_parts(inside) if part.geom_type == "Polygon"]
        if not whole_parts:
            return ()
        largest = max(whole_parts, key=lambda part: part.area)
        if largest.area < SMALLEST_AREA:
            return ()
        rings = [np.array(ring.coords)[:-1] for ring in (largest.exterior, *largest.interiors)]
    return (tuple(np.round(ring, 3) for ring in rings),)


def label_contents(
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
    closed = [np.concatenate([ring, ring[:1]]).tolist() for ring in rings]
    return (
        "POLYGON (" + ", ".join("(" + ", ".join(f"{x} {y}" for x, y in ring) + ")" for ring in closed) + ")"
    )


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
