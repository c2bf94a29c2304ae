"""The sample generator: same bytes each time, the layout of xBD, targets by the official rule."""

import hashlib
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely

from skyeye_det.damage import DAMAGE_BY_SUBTYPE
from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.targets import scene_targets
from skyeye_det.data.xbd import Scene, read_scene
from skyeye_det.errors import InputError
from skyeye_det.sample.dataset import MANIFEST, make_sample_xbd, split_of_each
from skyeye_det.sample.destruction import WRECKAGE
from skyeye_det.sample.kinds import HAZARDS
from skyeye_det.sample.layout import MARGIN, draw_plan
from skyeye_det.sample.scene import SampleScene, draw_recipe, draw_scene
from skyeye_det.sample.texture import scene_rng, shifted

PAIRS, SEED, SIZE = 10, 4, 192
DRAWN_SIZE = 160


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "xbd"
    make_sample_xbd(folder, PAIRS, SEED, size=SIZE, workers=1)
    return folder


@pytest.fixture(scope="module")
def drawn() -> list[SampleScene]:
    return [draw_scene(6, index, DRAWN_SIZE) for index in range(36)]


@pytest.fixture(scope="module")
def scenes(root: Path) -> list[Scene]:
    found = []
    for split in ("train", "val"):
        files, faults = find_scenes(root, split)
        assert not faults
        for entry in files:
            scene, faults = read_scene(entry)
            assert scene is not None
            assert not faults
            found.append(scene)
    return found


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_same_seed_gives_same_bytes_with_one_worker_and_with_two(tmp_path: Path) -> None:
    make_sample_xbd(tmp_path / "one", 4, 11, size=128, workers=1)
    make_sample_xbd(tmp_path / "two", 4, 11, size=128, workers=2)
    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")


@pytest.mark.skipif(not cv2.__version__.startswith("5.0."), reason="stated for the locked OpenCV 5.0")
def test_pixels_and_outlines_are_those_of_every_other_machine() -> None:
    """A wanted change of the generator raises GENERATOR_VERSION and states its new digest here."""
    digest = hashlib.sha256()
    for index in (2, 3):
        scene = draw_scene(1, index, SIZE)
        digest.update(scene.pre.tobytes() + scene.post.tobytes())
        outlines = [ring.tolist() for house in scene.houses for ring in house.rings]
        digest.update(repr((scene.grades, outlines)).encode())
    assert digest.hexdigest() == "d311afda4ec658594e0f76e2a542e4a19936877f0b1d18c51a342bd46c9973ff"


def test_a_scene_does_not_depend_on_how_many_there_are(root: Path, tmp_path: Path) -> None:
    make_sample_xbd(tmp_path, 2, SEED, size=SIZE, workers=1)
    few, many = _digests(tmp_path), _digests(root)
    assert {name: many[name] for name in few if name != MANIFEST} == {
        name: digest for name, digest in few.items() if name != MANIFEST
    }


def test_every_pair_has_its_six_files_and_nothing_else(root: Path) -> None:
    pattern = re.compile(
        r"(train|val)/(images/{0}_disaster\.png|labels/{0}_disaster\.json|targets/{0}_disaster_target\.png)".format(
            r"sample-(?:wind|fire|flood|quake)_\d{8}_(?:pre|post)"
        )
    )
    names = set(_digests(root)) - {MANIFEST}
    assert len(names) == 6 * PAIRS
    assert [name for name in names if not pattern.fullmatch(name)] == []


def test_splits_get_their_shares(root: Path) -> None:
    assert [len(list((root / split / "images").iterdir())) for split in ("train", "val")] == [16, 4]
    assert split_of_each(10, {"a": 0.5, "b": 0.3, "c": 0.2}).count("b") == 3


def test_all_kinds_grades_and_empty_tiles_are_there(scenes: list[Scene]) -> None:
    assert {scene.disaster for scene in scenes} == {hazard.event for hazard in HAZARDS.values()}
    assert {building.damage for scene in scenes for building in scene.buildings} >= {0, 1, 2, 3}
    assert sum(not scene.buildings for scene in scenes) >= PAIRS // 5
    assert set(WRECKAGE) == set(HAZARDS)


def test_some_buildings_are_unclassified_under_clouds(drawn: list[SampleScene]) -> None:
    grades = [grade for scene in drawn for grade in scene.grades]
    assert 0 < grades.count(-1) < len(grades) // 8


def test_one_tile_in_five_has_no_buildings() -> None:
    recipes = [draw_recipe(9, index) for index in range(100)]
    assert [recipe.settlement for recipe in recipes].count("empty") == 20
    assert all({recipe.kind for recipe in recipes[i : i + 4]} == set(HAZARDS) for i in range(0, 100, 4))


def test_images_are_rgb_of_the_asked_size_and_not_flat(scenes: list[Scene]) -> None:
    for scene in scenes:
        for path in (scene.pre_image, scene.post_image):
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert image.shape == (SIZE, SIZE, 3)
            assert image.std() > 5


def test_targets_follow_the_official_fill_rule(root: Path, scenes: list[Scene]) -> None:
    for scene in scenes:
        folder = root / scene.split / "targets"
        expected = scene_targets(scene.buildings, (SIZE, SIZE))
        for time, target in zip(("pre", "post"), expected, strict=True):
            path = folder / f"{scene.name}_{time}_disaster_target.png"
            assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), target)


def test_polygons_are_valid_and_inside_the_image(scenes: list[Scene]) -> None:
    for scene in scenes:
        for building in scene.buildings:
            assert len(building.parts) == 1
            polygon = shapely.Polygon(building.parts[0][0], building.parts[0][1:])
            assert polygon.is_valid
            assert polygon.area > 0
            assert np.concatenate(building.parts[0]).min() >= 0
            assert np.concatenate(building.parts[0]).max() <= SIZE - 1


def test_courtyards_are_holes() -> None:
    plan = draw_plan(scene_rng(1, 0, 0), 512, "dense", None)
    assert {len(house.rings) for house in plan.houses} == {1, 2}


def test_dense_tiles_hold_some_300_buildings() -> None:
    counts = [len(draw_plan(scene_rng(1, index, 0), 1024, "dense", None).houses) for index in range(2)]
    assert 200 < np.mean(counts) < 450


def test_part_of_some_tiles_is_black_without_buildings_there(drawn: list[SampleScene]) -> None:
    black = [scene for scene in drawn if (scene.pre.max(2) == 0).mean() > 0.02]
    assert 0 < len(black) < len(drawn) // 3
    for scene in black:
        for house in scene.houses:
            x, y = (int(c) - MARGIN for c in house.center)
            inside = 0 <= x < DRAWN_SIZE and 0 <= y < DRAWN_SIZE
            assert not inside or scene.pre[y, x].any()


def test_labels_name_the_damage_in_the_post_file_only(root: Path, scenes: list[Scene]) -> None:
    scene = next(scene for scene in scenes if scene.buildings)
    pre, post = (json.loads(path.read_text()) for path in (scene.pre_label, scene.post_label))
    assert all("subtype" not in entry["properties"] for entry in pre["features"]["xy"])
    assert {entry["properties"]["subtype"] for entry in post["features"]["xy"]} <= set(DAMAGE_BY_SUBTYPE)
    assert [entry["wkt"] for entry in pre["features"]["xy"]] == [e["wkt"] for e in post["features"]["xy"]]
    assert post["metadata"]["img_name"] == scene.post_image.name


def test_lng_lat_is_an_affine_image_of_xy(scenes: list[Scene]) -> None:
    scene = max(scenes, key=lambda scene: len(scene.buildings))
    features = json.loads(scene.pre_label.read_text())["features"]
    pixels, degrees = (
        np.array([re.findall(r"-?\d+\.\d+(?:e-?\d+)?", e["wkt"])[:2] for e in features[kind]], float)
        for kind in ("xy", "lng_lat")
    )
    fit = np.column_stack([pixels, np.ones(len(pixels))])
    solution = np.linalg.lstsq(fit, degrees, rcond=None)[0]
    assert np.abs(fit @ solution - degrees).max() < 1e-8


def test_damage_shows_in_the_post_image_the_more_the_worse(drawn: list[SampleScene]) -> None:
    change: dict[int, list[float]] = {0: [], 1: [], 2: [], 3: []}
    for scene in drawn:
        difference = np.abs(scene.post.astype(int) - scene.pre).sum(2)
        for house, grade in zip(scene.houses, scene.grades, strict=True):
            mask = np.zeros(difference.shape, np.uint8)
            cv2.fillPoly(mask, [ring - MARGIN for ring in house.pixel_rings()], 1)
            if grade >= 0 and mask.sum() > 60:
                change[grade].append(float(difference[mask > 0].mean()))
    means = [float(np.mean(change[grade])) for grade in range(4)]
    assert means[1] < means[2] < means[3]
    assert means[3] > 1.4 * means[0]


def test_taking_up_writes_what_is_missing_and_leaves_the_rest(tmp_path: Path) -> None:
    make_sample_xbd(tmp_path, 3, 5, size=128, workers=1)
    before = _digests(tmp_path)
    kept, *_, lost = sorted((tmp_path / "train" / "images").iterdir())
    assert kept.name.rsplit("_", 2)[0] != lost.name.rsplit("_", 2)[0]
    stamp = kept.stat().st_mtime_ns
    label = tmp_path / "train" / "labels" / lost.name.replace(".png", ".json")
    label.unlink()
    make_sample_xbd(tmp_path, 3, 5, size=128, workers=1)
    assert _digests(tmp_path) == before
    assert kept.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 6}, "expected seed 6, found 5"),
        ({"size": 160}, "expected size 160, found 128"),
        ({"splits": {"train": 1.0}}, "expected splits"),
        ({"pairs": 1}, "expected at most 1 pairs, found 2"),
    ],
)
def test_a_folder_made_otherwise_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    (tmp_path / MANIFEST).write_text(
        json.dumps({"generator": 1, "seed": 5, "size": 128, "splits": {"train": 0.8, "val": 0.2}, "pairs": 2})
    )
    with pytest.raises(InputError, match=message):
        make_sample_xbd(**{"output": tmp_path, "pairs": 2, "seed": 5, "size": 128, "workers": 1} | change)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="expected an empty folder or sample scenes"):
        make_sample_xbd(tmp_path, 1, 0, size=128)
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": 0}, "--pairs: expected 1 to"),
        ({"seed": -1}, "--seed: expected 0 or more, found -1"),
        ({"size": 100}, "--size: expected 128 to 4096 px, found 100"),
        ({"workers": 0}, "--workers: expected 1 or more"),
        ({"splits": {"train": 0.5, "val": 0.4}}, "add up to 1"),
        ({"splits": {"train": 1.5, "val": -0.5}}, "share above 0"),
        ({"splits": {"../x": 1.0}}, "expected a folder name"),
        ({"splits": {}}, "add up to 1"),
    ],
)
def test_bad_arguments_are_told(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        make_sample_xbd(**{"output": tmp_path / "new", "pairs": 1, "seed": 0} | arguments)
    assert not (tmp_path / "new").exists()


def test_shift_moves_by_whole_and_by_part_pixels() -> None:
    image = np.zeros((12, 12, 3), np.uint8)
    image[5, 6] = 160
    moved = shifted(image, 16, -16, 4)
    assert moved.shape == (4, 4, 3)
    assert np.argwhere(moved[..., 0]).tolist() == [[0, 3]]
    half = shifted(image, 8, 0, 4)
    assert half[1, 2:4, 0].tolist() == [80, 80]
