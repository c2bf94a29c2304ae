"""Small roots of labels and folders of predictions for the comparison of outlines."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from skyeye_det.data.targets import fill_polygons
from skyeye_det.postprocessing.png import encode_class_png
from skyeye_det.postprocessing.rasterize import encode_crop
from skyeye_det.postprocessing.submission import write_submission_pngs

SHAPE = (80, 100)
GRADES = ("no-damage", "minor-damage", "major-damage", "destroyed")


def ring(column: float) -> np.ndarray:
    left, top = 4 + 24 * column, 10 + column
    return np.array([[left, top], [left + 12, top + 3], [left + 9, top + 15], [left - 3, top + 12]], float)


def wkt(column: float) -> str:
    vertices = [*ring(column), ring(column)[0]]
    return f"POLYGON (({', '.join(f'{x:g} {y:g}' for x, y in vertices)}))"


def mask(column: int) -> np.ndarray:
    return fill_polygons(((ring(column),),), SHAPE)


def write_truth(
    root: Path, scene: str, grades: tuple[str, ...] = GRADES, columns: tuple[float, ...] = (0, 1, 2, 3)
) -> None:
    """One building a grade, in columns."""
    for kind in ("images", "labels"):
        (root / "val" / kind).mkdir(parents=True, exist_ok=True)
    for phase in ("pre", "post"):
        features = [
            {
                "properties": {"feature_type": "building", "uid": f"u{column}"}
                | ({"subtype": grade} if phase == "post" else {}),
                "wkt": wkt(column),
            }
            for column, grade in zip(columns, grades, strict=False)
        ]
        metadata = {"width": SHAPE[1], "height": SHAPE[0], "disaster": "a-flood"}
        stem = f"{scene}_{phase}_disaster"
        label = {"features": {"xy": features, "lng_lat": []}, "metadata": metadata}
        (root / "val" / "labels" / f"{stem}.json").write_text(json.dumps(label))
        (root / "val" / "images" / f"{stem}.png").write_bytes(encode_class_png(np.zeros(SHAPE, np.uint8)))


def result(scene: str, plane: np.ndarray, damage: int, score: float = 0.9, **other: Any) -> dict[str, Any]:
    probs = [0.1, 0.1, 0.1, 0.1]
    probs[damage] = 0.7
    return {
        "scene": scene,
        "segmentation": encode_crop((0, 0), plane > 0, SHAPE),
        "score": score,
        "damage": damage,
        "damage_probs": probs,
    } | other


def write_found(
    folder: Path, scene: str, results: list[dict[str, Any]], png_damage: int | None = None
) -> None:
    """Instances and both PNGs; all in one class where ``png_damage`` says so."""
    damage = np.zeros(SHAPE, np.uint8)
    for each in results:
        value = each["damage"] + 1 if png_damage is None else png_damage
        damage[coco_mask.decode(each["segmentation"]) > 0] = value
    write_submission_pngs(folder, scene, (damage > 0).astype(np.uint8), damage)
    (folder / "instances").mkdir(exist_ok=True)
    (folder / "instances" / f"{scene}.json").write_text(json.dumps(results))


def scene(number: int) -> str:
    return f"a-flood_{number:08d}"


def right_answer(name: str, grades: int = 4) -> list[dict[str, Any]]:
    return [result(name, mask(column), column) for column in range(grades)]
