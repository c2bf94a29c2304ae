"""The comparison of outlines, fill rules and damage inside, from a folder of predictions to a table."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outline_folders import SHAPE, mask, result, right_answer, scene, write_found, write_truth

from skyeye_det.errors import InputError
from skyeye_det.evaluation.bootstrap import Resampling
from skyeye_det.evaluation.outline_rows import MASK_ROW, ROWS, OutlineCounts, OutlineRow, draw_tile
from skyeye_det.evaluation.outline_table import compare_outlines, format_outlines
from skyeye_det.evaluation.submission_score import ScoreOptions, score_submission
from skyeye_det.postprocessing.submission import write_submission_pngs

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ScoreOptions(resampling=Resampling(200))


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
    assert rows[OutlineRow("exact", "own", "official")]["higher_share"] == 0  # as high is not higher
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


def test_true_outlines_that_overlap_lie_as_in_the_targets(tmp_path: Path) -> None:
    write_truth(tmp_path / "xbd", scene(0), columns=(0, 0.25, 1, 2))
    write_found(tmp_path / "p", scene(0), [])
    labels = rows_of(compare(tmp_path))[OutlineRow("labels", "own", "official")]
    assert labels["official"]["score"] == pytest.approx(1)


def test_seconds_are_of_a_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_two_seconds(*arguments: Any, **options: Any) -> OutlineCounts:
        counts = draw_tile(*arguments, **options)
        assert (counts.seconds > 0).sum() == len(ROWS) - 4  # nothing is drawn for the PNGs and the labels
        return replace(counts, seconds=counts.seconds * 0 + 2)

    monkeypatch.setattr("skyeye_det.evaluation.outline_table.draw_tile", in_two_seconds)
    for number in range(3):
        write_truth(tmp_path / "xbd", scene(number))
        write_found(tmp_path / "p", scene(number), right_answer(scene(number)))
    seconds = {row["outline"]: row["seconds"] for row in compare(tmp_path)["rows"]}
    assert seconds["mask"] == seconds["right-angled"] == 2
    assert math.isnan(seconds["written"])
    assert math.isnan(seconds["labels"])


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
