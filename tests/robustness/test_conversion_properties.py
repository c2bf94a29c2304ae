"""What must hold for the conversion of every valid scene."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given
from scene_strategies import DrawnScene, official_mask, quick, scenes, write_scene

from skyeye_det.data.coco import convert_split
from skyeye_det.data.coco_file import read_xbd_json
from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.targets import fill_polygons, parts_from_segmentation, scene_targets
from skyeye_det.data.xbd import read_scene


def filled(scene: DrawnScene) -> list[tuple[np.ndarray, int]]:
    """(mask, damage) of the buildings that fill a pixel."""
    masks = [(official_mask(pre, scene.height, scene.width), damage) for pre, _, damage in scene.buildings]
    return [(mask, damage) for mask, damage in masks if mask.any()]


@quick
@given(scenes())
def test_every_building_keeps_its_area_box_pixels_and_grade(scene: DrawnScene) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_scene(Path(folder), scene, "flood_00000001")
        summary = convert_split(folder, "train", Path(folder, "out"), workers=1)
        (image,), annotations = read_xbd_json(summary.path)
    expected = filled(scene)
    assert len(annotations) == len(expected)
    assert Counter(summary.buildings) == Counter(damage for _, damage in expected)
    assert summary.empty_pairs == (not expected)
    assert (image["width"], image["height"]) == (scene.width, scene.height)
    for annotation, (mask, damage) in zip(annotations, expected, strict=True):
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert annotation["area"] == mask.sum()
        assert annotation["bbox"] == box
        assert annotation["damage"] == damage
        parts = parts_from_segmentation(annotation["segmentation"])
        assert (fill_polygons(parts, mask.shape) == mask).all()


@quick
@given(scenes())
def test_targets_are_the_buildings_painted_one_after_another(scene: DrawnScene) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_scene(Path(folder), scene, "flood_00000001")
        read, _ = read_scene(find_scenes(folder, "train")[0][0])
    assert read is not None
    localization, damage = scene_targets(read.buildings, (scene.height, scene.width))
    expected_localization = np.zeros_like(localization)
    expected_damage = np.zeros_like(damage)
    for pre, post, grade in scene.buildings:
        mask = official_mask(pre, scene.height, scene.width)
        expected_localization |= mask
        if mask.any():
            expected_damage[official_mask(post, scene.height, scene.width) > 0] = grade + 1
    assert (localization == expected_localization).all()
    assert (damage == expected_damage).all()
