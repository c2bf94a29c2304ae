"""Damaged files through every torch-free step: done, mended or refused in one sentence, never a traceback.

``SKYEYE_FUZZ`` sets the number of damaged inputs; draws are hypothesis's, so a failure shrinks and is kept.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from skyeye_det.commands.make_targets import checked_table, made_table
from skyeye_det.data.coco import convert_split, summary_table
from skyeye_det.data.coco_file import read_xbd_json
from skyeye_det.data.conversion import ConversionOptions, convert_xbd
from skyeye_det.data.dataset_check import check_dataset, check_json, check_table
from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.targets import building_mask, scene_targets
from skyeye_det.data.xbd import read_scene
from skyeye_det.errors import InputError, printable
from skyeye_det.evaluation.report_table import format_report
from skyeye_det.evaluation.submission_score import score_submission
from skyeye_det.files import write_json
from skyeye_det.prediction.masks import encode_crop
from skyeye_det.report.sources import scenes_of_folder, scenes_of_xbd
from skyeye_det.report.visualize import SceneChoice, visualize
from skyeye_det.sample.dataset import make_sample_xbd
from skyeye_det.xview2.bootstrap import Resampling
from skyeye_det.xview2.submission import number_scenes, write_numbering, write_submission_pngs
from skyeye_det.xview2.submission_check import check_submission, expected_from_images, format_check
from skyeye_det.xview2.targets import check_targets, make_targets

EXAMPLES = int(os.environ.get("SKYEYE_FUZZ", "120"))
ODD_WKT = (
    None, 5, [], {}, "", " ", "POLYGON", "POLYGON EMPTY", "POLYGON ()", "POLYGON (())", "POLYGON ((,))",
    "POLYGON ((1))", "POLYGON ((1 1))", "POLYGON ((1 1, 1 1))", "POLYGON ((1 1, 2 2, 1 1))",
    "POLYGON ((1 1 1, 2 2 2, 3 1 1, 1 1 1))", "POLYGON Z ((1 1 1, 9 9 1, 3 1 1, 1 1 1))",
    "SRID=4326;POLYGON ((1 1, 9 1, 9 9, 1 1))", "polygon((1 1,9 1,9 9,1 1))", "POINT (3 3)",
    "LINESTRING (1 1, 9 9)", "GEOMETRYCOLLECTION (POINT (1 1))", "MULTIPOLYGON EMPTY", "MULTIPOLYGON (())",
    "MULTIPOLYGON (((1 1, 9 1, 9 9, 1 1)), ((2 2, 4 2, 4 4, 2 2)))",
    "MULTIPOLYGON (((1 1, 9 1, 9 9, 1 1)), EMPTY)",
    "POLYGON ((1 1, 9 1, 9 9, 1 1), (30 30, 40 30, 40 40, 30 30))",
    "POLYGON ((1 1, 30 1, 30 30, 1 30, 1 1), (5 5, 5 5))",
    "POLYGON ((1 1, 30 1, 30 30, 1 30, 1 1), (1 1, 30 1, 30 30, 1 30, 1 1))",
    "POLYGON ((1 1, 9 1, 9 9, 1 1)) x",
    "POLYGON ((\uff11 \uff11, \uff19 \uff11, \uff19 \uff19, \uff11 \uff11))",
    "POLYGON ((1_0 1, 9 1, 9 9, 1_0 1))", "POLYGON ((1\u30001, 9\u20031, 9\xa09, 1\x1c1))",
    "POLYGON ((0x1 1, 9 1, 9 9, 0x1 1))", "POLYGON ((1,5 1,5, 9 9))",
    "POLYGON ((+1 1., .9e1 1E0, 9 9, +1 1.))", "POLYGON ((1d0 1, 9 1, 9 9, 1d0 1))",
    "POLYGON ((1 1\0, 9 1, 9 9, 1 1))",
    "POLYGON ((\u0661 \u0661, \u0669 \u0661, \u0669 \u0669, \u0661 \u0661))",
    "POLYGON ((nan 1, 9 1, 9 9, nan 1))", "POLYGON ((inf 1, 9 1, 9 9, inf 1))",
    "POLYGON ((-infinity NaN, 9 1, 9 9, 1 1))", "POLYGON ((1 1, 9 1, 9 9, 1 1)",
)  # fmt: skip
ODD_COORDINATES = (
    "nan", "inf", "-inf", "1e400", "1e308", "-1e308", "1e-320", "-0.0", "1048575.9", "1048576", "-1048575",
    "0.5", "1.5", "2.5", "-0.5", "-0.50001", "1e6", "-1e6", "65536", "-32769", "16777216", "1" * 400,
    "0." + "3" * 400, "1e", "--1",
)  # fmt: skip
ODD_VALUES = (
    None,
    True,
    -1,
    0,
    1e300,
    "",
    "x" * 2000,
    "\udcff",
    "../../etc/passwd",
    "a\0b",
    [],
    {},
    [1, "a"],
)
ROLES = {
    "label": ("root/train/labels", "*.json", ("convert", "check", "targets", "score_labels", "draw")),
    "image": ("root/train/images", "*.png", ("convert", "check", "targets", "draw", "check_submission")),
    "target": ("root/train/targets", "*.png", ("score_targets", "compare", "check")),
    "coco": ("root/annotations", "xbd_train.json", ("read_coco",)),
    "split": ("root/annotations", "split_random.json", ("convert_parts",)),
    "prediction": ("results", "*.png", ("score_targets", "check_submission", "draw_results")),
    "instances": ("results", "instances.json", ("score_labels", "draw_results")),
    "numbering": ("numbered", "numbering.csv", ("score_numbered",)),
}
"""Role of a file -> its folder, its name, and the steps that read it."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Undamaged input: root, annotations, results under both namings."""
    folder = tmp_path_factory.mktemp("damaged")
    root = folder / "base" / "root"
    make_sample_xbd(root, 3, seed=0, size=128, splits={"train": 1.0}, workers=1)
    convert_split(root, "train", root / "annotations", workers=1)
    parts = {"split_by": "random", "fractions": "a=.5,b=.5"}
    convert_xbd(root, ConversionOptions(("train",), root / "annotations", **parts))
    scenes = [scene for files in find_scenes(root, "train")[0] if (scene := read_scene(files)[0])]
    numbering = number_scenes(scene.name for scene in scenes)
    instances = []
    for scene in scenes:
        shape = scene.height, scene.width
        images = scene_targets(scene.buildings, shape)
        write_submission_pngs(folder / "base" / "results", scene.name, *images)
        write_submission_pngs(folder / "base" / "numbered", numbering[scene.name], *images)
        for building in scene.buildings:
            mask, corner = building_mask(building.parts, shape)
            segmentation = encode_crop(corner, mask, shape)
            result = {"category_id": 1, "bbox": list(coco_mask.toBbox(segmentation)), "score": 0.9}
            place = {"scene": scene.name, "image_id": 1, "damage": max(building.damage, 0)}
            instances.append(place | result | {"segmentation": segmentation})
    write_json(folder / "base" / "results" / "instances.json", instances)
    write_numbering(folder / "base" / "numbered", numbering)
    return folder / "base"


def scored(box: Path, predictions: str, **truth: Any) -> str:
    report = score_submission(box / predictions, workers=1, resampling=Resampling(20), **truth)
    write_json(box / "output" / "score.json", report)
    return format_report(report)


def check(box: Path) -> str:
    found = check_dataset(box / "root", workers=1)
    write_json(box / "output" / "check.json", check_json(found))
    return check_table(found)


def draw(box: Path, predictions: Path | None = None) -> str:
    root = box / "root"
    scenes = scenes_of_folder(root / "train/images") if predictions else scenes_of_xbd(root, "train")
    return str(visualize(scenes, box / "output", predictions, choice=SceneChoice(limit=2)))


STEPS: dict[str, Callable[[Path], str]] = {
    "convert": lambda box: summary_table([convert_split(box / "root", "train", box / "output", workers=1)]),
    "convert_parts": lambda box: str(
        convert_xbd(
            box / "root",
            ConversionOptions(
                output=box / "output", workers=1, split_file=box / "root/annotations/split_random.json"
            ),
        )
    ),
    "check": check,
    "targets": lambda box: made_table(
        [make_targets(box / "root", "train", workers=1, overwrite=True, scorer_folder=box / "output")]
    ),
    "compare": lambda box: checked_table([check_targets(box / "root", "train", workers=1)]),
    "score_targets": lambda box: scored(box, "results", targets=box / "root/train"),
    "score_labels": lambda box: scored(box, "results", xbd_root=box / "root", splits=["train"]),
    "score_numbered": lambda box: scored(box, "numbered", targets=box / "root/train"),
    "check_submission": lambda box: format_check(
        check_submission(box / "results", expected_from_images(box / "root/train/images"))
    ),
    "read_coco": lambda box: str(len(read_xbd_json(box / "root/annotations/xbd_train.json"))),
    "draw": draw,
    "draw_results": lambda box: draw(box, box / "results"),
}


def places_of(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths to every value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [place for key, inner in items for place in places_of(inner, (*path, key))]


def damaged_json(data: st.DataObject, content: bytes) -> bytes:
    """One value replaced, lost or doubled, or an odd outline in the place of one."""
    value = json.loads(content)
    *way, last = data.draw(st.sampled_from([place for place in places_of(value) if place]))
    inner = value
    for key in way:
        inner = inner[key]
    kind = data.draw(st.sampled_from(("replace", "replace", "lose", "double")))
    if kind == "lose":
        del inner[last]
    elif kind == "double" and isinstance(inner, list):
        inner.append(inner[last])
    elif last == "wkt":
        numbers = re.findall(r"-?\d+(?:\.\d+)?", str(inner[last]))
        odd = inner[last].replace(numbers[0], data.draw(st.sampled_from(ODD_COORDINATES))) if numbers else ""
        inner[last] = data.draw(st.sampled_from((*ODD_WKT, odd)))
    else:
        inner[last] = data.draw(st.sampled_from(ODD_VALUES) | st.integers() | st.floats())
    return json.dumps(value).encode(errors="surrogatepass")


def damaged_bytes(data: st.DataObject, content: bytes) -> bytes:
    """Bytes lost at the end, changed or put in, or another text encoding."""
    place, bit = data.draw(st.integers(0, len(content) - 1)), 1 << data.draw(st.integers(0, 7))
    kinds = {
        "cut": content[:place],
        "flip": content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :],
        "insert": content[:place] + data.draw(st.binary(min_size=1, max_size=9)) + content[place:],
        "twice": content + content,
        "mark": b"\xef\xbb\xbf" + content,
        "utf-16": content.decode("latin-1").encode("utf-16"),
        "other": data.draw(st.binary(max_size=40)),
    }
    return kinds[data.draw(st.sampled_from(sorted(kinds)))]


def damaged_place(data: st.DataObject, path: Path) -> None:
    """No file, or something else under its name."""
    kinds = "gone", "folder", "loose link", "link to itself", "pipe", "other name"
    kind = data.draw(st.sampled_from(kinds))
    if kind == "other name":
        path.rename(path.with_name(f"x{path.name}"))
        return
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "gone":
        path.symlink_to(path.name if kind == "link to itself" else "nowhere")


def run_step(step: str, box: Path) -> None:
    """Runs a step: it ends, or refuses in one line that names a file; nothing half-written stays."""
    try:
        shown = STEPS[step](box)
    except InputError as error:
        shown = str(error)
        assert "\n" not in shown
        assert ":" in shown
    assert printable(shown.replace("\n", " ")).encode()
    assert "\x1b" not in shown
    assert not list(box.rglob("*.partial"))


@pytest.mark.parametrize("step", STEPS)
def test_undamaged_input_passes(base: Path, tmp_path: Path, step: str) -> None:
    shutil.copytree(base, tmp_path / "box")
    assert STEPS[step](tmp_path / "box")


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES <= 120
)
@given(data=st.data())
def test_damaged_input_is_done_mended_or_refused(base: Path, data: st.DataObject) -> None:
    box = base.parent / "box"
    shutil.rmtree(box, ignore_errors=True)
    shutil.copytree(base, box)
    folder, pattern, steps = ROLES[data.draw(st.sampled_from(sorted(ROLES)))]
    path = data.draw(st.sampled_from(sorted((box / folder).glob(pattern))))
    kind = data.draw(st.sampled_from(("json", "json", "bytes", "place")))
    if kind == "place":
        damaged_place(data, path)
    else:
        damage = damaged_json if kind == "json" and path.suffix == ".json" else damaged_bytes
        path.write_bytes(damage(data, path.read_bytes()))
    run_step(data.draw(st.sampled_from(steps)), box)


def test_odd_outlines_are_faults_of_their_buildings_alone(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "box")
    labels = sorted((tmp_path / "box/root/train/labels").glob("*_pre_disaster.json"))
    path, label = next(
        (path, label) for path in labels if (label := json.loads(path.read_bytes()))["features"]["xy"]
    )
    sound = label["features"]["xy"]
    odd = [
        {"properties": {"feature_type": "building", "uid": f"odd-{number}"}, "wkt": wkt}
        for number, wkt in enumerate(ODD_WKT)
    ]
    label["features"]["xy"] = [*odd, *sound]
    path.write_text(json.dumps(label))
    run_step("convert", tmp_path / "box")
    run_step("check", tmp_path / "box")
    _, kept = read_xbd_json(tmp_path / "box/output/xbd_train.json")
    assert {each["properties"]["uid"] for each in sound} <= {each["uid"] for each in kept}
