"""The comparison of outlines, fill rules and damage inside, from a folder of predictions to a table."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skyeye_det.data.targets import fill_polygons
from skyeye_det.errors import InputError
from skyeye_det.evaluation.bootstrap import Resampling
from skyeye_det.evaluation.outline_rows import MASK_ROW, ROWS, OutlineRow
from skyeye_det.evaluation.outline_table import compare_outlines, format_outlines
from skyeye_det.evaluation.submission_score import ScoreOptions, score_submission
from skyeye_det.postprocessing.png import encode_class_png
from skyeye_det.postprocessing.rasterize import encode_crop
from skyeye_det.postprocessing.submission import write_submission_pngs

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (80, 100)
GRADES = ("no-damage", "minor-damage", "major-damage", "destroyed")
OPTIONS = ScoreOptions(resampling=Resampling(200))


def ring(column: int) -> np.ndarray:
    left, top = 4 + 24 * column, 10 + column
    return np.array([[left, top], [left + 12, top + 3], [left + 9, top + 15], [left - 3, top + 12]], float)


def wkt(column: int) -> str:
    vertices = [*ring(column), ring(column)[0]]
    return f"POLYGON (({', '.join(f'{x:g} {y:g}' for x, y in vertices)}))"


def mask(column: int) -> np.ndarray:
    return fill_polygons(((ring(column),),), SHAPE)


def write_truth(root: Path, scene: str, grades: tuple[str, ...] = GRADES) -> None:
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
            for column, grade in enumerate(grades)
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
    from pycocotools import mask as coco_mask

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


def rows_of(report: dict[str, Any]) -> dict[OutlineRow, dict[str, Any]]:
    return {OutlineRow(row["outline"], row["damage"], row["fill_rule"]): row for row in report["rows"]}


def compare(folder: Path, **options: Any) -> dict[str, Any]:
    return compare_outlines(folder / "p", folder / "xbd", ["val"], **({"options": OPTIONS} | options))


def test_right_masks_score_one_and_other_rules_lose_their_edges(tmp_path: Path) -> None:
    for number in range(3):
        write_truth(tmp_path / "xbd", scene(number))
        write_found(tmp_path / "p", scene(number), right_answer(scene(number)))
    rows = rows_of(report := compare(tmp_path))
    assert list(rows) == list(ROWS)
    assert (report["tiles"], report["buildings"]) == (3, 12)
    for row in (MASK_ROW, OutlineRow("written", "-", "-"), OutlineRow("exact", "own", "official")):
        assert rows[row]["official"]["score"] == pytest.approx(1)
        assert rows[row]["against_mask"] == 0
    assert rows[OutlineRow("labels", "own", "official")]["official"]["score"] == pytest.approx(1)
    for outline in ("exact", "labels"):
        for rule in ("pixel-centre", "eroded"):
            row = rows[OutlineRow(outline, "own", rule)]
            assert 0.7 < row["official"]["localization_f1"] < 0.97
            assert row["higher_share"] == 0
            assert row["difference_interval"][1] < 0
    assert rows[OutlineRow("labels", "own", "official")]["vertices"] == 4
    simple = rows[OutlineRow("simplified", "own", "official")]
    assert simple["vertices"] < rows[OutlineRow("exact", "own", "official")]["vertices"]
    assert simple["official"]["localization_f1"] > 0.9
    assert rows[OutlineRow("mask", "proportional", "-")]["official"]["damage_f1"] == pytest.approx(
        0.7, abs=0.02
    )


def test_the_masks_score_as_the_pngs_that_were_painted_of_them(tmp_path: Path) -> None:
    for number, shift in enumerate((0, 2, 5)):
        write_truth(tmp_path / "xbd", scene(number))
        found = [
            result(scene(number), np.roll(mask(column), shift, axis=1), (column + number) % 4)
            for column in range(4)
        ]
        write_found(tmp_path / "p", scene(number), found)
    rows = rows_of(compare(tmp_path))
    expected = score_submission(
        tmp_path / "p", xbd_root=tmp_path / "xbd", splits=["val"], workers=1, options=OPTIONS
    )
    for row in (MASK_ROW, OutlineRow("written", "-", "-")):
        assert rows[row]["official"] == expected["official"]
        assert rows[row]["interval"] == expected["intervals"]["score"]


def test_majority_follows_the_damage_png(tmp_path: Path) -> None:
    for number in range(2):
        write_truth(tmp_path / "xbd", scene(number))
        write_found(tmp_path / "p", scene(number), right_answer(scene(number)), png_damage=3)
    rows = rows_of(compare(tmp_path))
    for outline, rule in (("mask", "-"), ("simplified", "official"), ("right-angled", "official")):
        row = rows[OutlineRow(outline, "majority", rule)]
        assert row["official"]["damage_f1_major_damage"] > 0
        assert row["official"]["damage_f1_destroyed"] == 0
        assert row["against_mask"] < 0


def test_a_better_outline_is_higher_in_every_draw(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random(SHAPE) > 0.15
    for number in range(4):
        write_truth(tmp_path / "xbd", scene(number))
        found = [result(scene(number), mask(column) * noise, column) for column in range(4)]
        write_found(tmp_path / "p", scene(number), found)
    row = rows_of(compare(tmp_path))[OutlineRow("simplified", "own", "official")]
    assert row["against_mask"] > 0
    assert row["higher_share"] == 1  # small holes are closed


def test_nothing_found_is_zero_and_nothing_is_undefined_in_the_table(tmp_path: Path) -> None:
    write_truth(tmp_path / "xbd", scene(0))
    write_truth(tmp_path / "xbd", scene(1), grades=())
    for number in range(2):
        write_found(tmp_path / "p", scene(number), [])
    rows = rows_of(report := compare(tmp_path))
    assert report["buildings"] == 0
    for row, values in rows.items():
        assert values["official"]["score"] == pytest.approx(float(row.outline == "labels"), abs=0.2)
        if row.outline != "labels":
            assert values["official"]["localization_f1"] == 0
            assert math.isnan(values["vertices"])
    text = format_outlines(report)
    assert "nan" not in text
    (line,) = [
        line for line in text.splitlines() if line.split()[:3] == ["simplified", "majority", "official"]
    ]
    assert line.split()[-2] == "-"


def test_empty_truth_makes_the_classes_undefined_and_says_so(tmp_path: Path) -> None:
    write_truth(tmp_path / "xbd", scene(0), grades=("un-classified",))
    write_found(tmp_path / "p", scene(0), right_answer(scene(0), 1))
    report = compare(tmp_path)
    assert rows_of(report)[MASK_ROW]["official"]["localization_f1"] == 1
    text = format_outlines(report)
    assert "the truth has no no-damage, minor-damage, major-damage, destroyed (n/a)" in text
    assert "nan" not in text
    assert math.isnan(report["rows"][0]["higher_share"])  # one tile alone has no draws


def test_instances_below_the_threshold_are_not_drawn(tmp_path: Path) -> None:
    write_truth(tmp_path / "xbd", scene(0))
    results = right_answer(scene(0))
    results[3]["score"] = 0.3
    write_found(tmp_path / "p", scene(0), results)
    assert compare(tmp_path)["buildings"] == 3
    low = ScoreOptions(0.3, Resampling(10))
    assert rows_of(compare(tmp_path, options=low))[MASK_ROW]["official"]["score"] == pytest.approx(1)


def test_one_pixel_instances_and_several_workers(tmp_path: Path) -> None:
    pixel = np.zeros(SHAPE, np.uint8)
    pixel[79, 99] = 1
    for number in range(3):
        write_truth(tmp_path / "xbd", scene(number))
        write_found(tmp_path / "p", scene(number), [result(scene(number), pixel, 2)])
    alone, both = (compare(tmp_path, workers=workers)["rows"] for workers in (1, 2))
    for one, two in zip(alone, both, strict=True):
        assert one["official"] == two["official"]
        assert one["overall"]["localization"]["fp"] == two["overall"]["localization"]["fp"]
    fp = {
        OutlineRow(r["outline"], r["damage"], r["fill_rule"]): r["overall"]["localization"]["fp"]
        for r in alone
    }
    assert fp[MASK_ROW] == fp[OutlineRow("right-angled", "own", "official")] == 3
    assert fp[OutlineRow("simplified", "own", "eroded")] == 0


@pytest.mark.parametrize(
    "probs", [None, [0, 0, 0, 0], [0.5, 0.5], [1, 0, 0, "1"], [True, 0, 0, 0], [2, 0, 0, 0]]
)
def test_probabilities_that_mean_nothing_are_named(tmp_path: Path, probs: Any) -> None:
    write_truth(tmp_path / "xbd", scene(0))
    results = right_answer(scene(0))
    write_found(tmp_path / "p", scene(0), results)
    results[2]["damage_probs"] = probs
    (tmp_path / "p" / "instances" / f"{scene(0)}.json").write_text(json.dumps(results))
    with pytest.raises(InputError, match=r"expected damage_probs of 4 numbers .*instance 3 of the file"):
        compare(tmp_path)


def test_a_folder_without_instances_is_refused(tmp_path: Path) -> None:
    write_truth(tmp_path / "xbd", scene(0))
    write_submission_pngs(tmp_path / "p", scene(0), *(np.zeros(SHAPE, np.uint8),) * 2)
    with pytest.raises(InputError, match=r"expected instances/<scene>.json .*run tools/infer.py"):
        compare(tmp_path)


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, math.inf])
def test_a_tolerance_without_meaning_is_refused(tmp_path: Path, tolerance: float) -> None:
    with pytest.raises(InputError, match="--tolerance"):
        compare(tmp_path, tolerance=tolerance)


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "tools" / "compare_outlines.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_command_prints_the_table_and_writes_the_report(tmp_path: Path) -> None:
    for number in range(2):
        write_truth(tmp_path / "xbd", scene(number))
        write_found(tmp_path / "p", scene(number), right_answer(scene(number)))
    given = ("--predictions", tmp_path / "p", "--xbd-root", tmp_path / "xbd", "--splits", "val")
    done = run(*given, "--json", tmp_path / "out.json", "--draws", "50")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[2][:4] == ["mask", "own", "-", "1.0000"]
    assert "50 draws, seed 0" in done.stdout
    written = json.loads((tmp_path / "out.json").read_text())
    assert [row["outline"] for row in written["rows"]] == [row.outline for row in ROWS]
    assert written["rows"][0]["seconds"] is None


def test_wrong_input_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = run("--predictions", tmp_path, "--xbd-root", tmp_path / "none")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
