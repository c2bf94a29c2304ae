import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from skyeye_det.errors import InputError
from skyeye_det.evaluation.buildings import ObjectCounts
from skyeye_det.evaluation.instance_metrics import precision_and_recall
from skyeye_det.evaluation.report_table import format_report
from skyeye_det.evaluation.submission_score import NO_OBJECTS, score_intervals, score_submission
from skyeye_det.xview2.bootstrap import Resampling
from skyeye_det.xview2.score import PixelCounts, count_pixels
from skyeye_det.xview2.submission import encode_class_png, write_submission_pngs

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "tools" / "score_submission.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def report_of(counts: PixelCounts, extra: int = 0, tiles: int = 1, objects: bool = False) -> dict:
    pixels = np.array([(counts.tp, counts.fp, counts.fn)] * tiles)
    settings = {"source": "instances", "least_iou": 0.5}
    finding = settings | ObjectCounts.total([]).report() if objects else None
    found = np.zeros((tiles, 3), np.int64) if objects else None
    return {
        "official": counts.score(),
        "overall": counts.report(),
        "objects": finding,
        "instances": precision_and_recall([]) if objects else None,
        "intervals": score_intervals(pixels, found, Resampling()),
        "resampling": asdict(Resampling()),
        "events": {"palu-tsunami": {"tiles": 1, **counts.report(), "objects": finding}},
        "tiles": tiles,
        "tiles_without_target": extra,
        "notes": [] if objects else [NO_OBJECTS],
    }


def test_table_reads_na_where_a_class_is_absent_and_says_what_the_official_score_does() -> None:
    target = np.array([[1, 1, 2, 2]], np.uint8)
    text = format_report(report_of(count_pixels(target, target, target, target), extra=2))
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines() if line}
    assert rows["minor-damage"][1:] == ["1.0000", "1.0000", "1.0000", "n/a"]
    assert rows["destroyed"][1:] == ["n/a", "n/a", "n/a", "n/a"]
    assert rows["palu-tsunami"] == [
        *("palu-tsunami", "1", "1.0000", "1.0000", "1.0000", "1.0000", "1.0000", "1.0000", "n/a", "n/a")
    ]
    assert rows["official score"][2] == "0.3000"
    assert "the targets have no major-damage, destroyed: the official score counts 0 for it" in text
    assert "2 predicted tiles have no target" in text
    assert NO_OBJECTS in text
    assert "object recall" not in text


def test_table_of_nothing_is_all_na() -> None:
    text = format_report(report_of(PixelCounts.zero(), objects=True))
    assert "nan" not in text
    assert text.count("n/a") > 60


def test_interval_stands_beside_its_figure_from_two_tiles_on() -> None:
    target = np.array([[1, 2, 3, 4]], np.uint8)
    counts = count_pixels(target, target, target, target)
    one, two = (format_report(report_of(counts, tiles=tiles)) for tiles in (1, 2))
    assert "official score   1.0000   90 % interval n/a   (1 tiles)" in one
    assert "official score   1.0000   90 % interval 1.0000 to 1.0000   (2 tiles)" in two
    assert "1,000 draws of as many tiles, seed 0" in two


def test_command_prints_the_table_and_writes_the_report(tmp_path: Path) -> None:
    localization, damage = np.eye(8, dtype=np.uint8), np.eye(8, dtype=np.uint8) * 3
    write_submission_pngs(tmp_path / "p", "test_00000", localization, damage)
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "test_localization_00000_target.png").write_bytes(encode_class_png(localization))
    (tmp_path / "t" / "test_damage_00000_target.png").write_bytes(encode_class_png(damage))
    done = run(
        "--predictions", tmp_path / "p", "--targets", tmp_path / "t", "--json", tmp_path / "score.json"
    )
    assert done.returncode == 0, done.stderr
    assert "official score   0.3000   90 % interval n/a   (1 tiles)" in done.stdout
    written = json.loads((tmp_path / "score.json").read_text())
    assert written["official"]["damage_f1_major_damage"] == 1
    assert written["events"]["anonymous"]["damage"]["major-damage"]["tp"] == 8


@pytest.mark.parametrize("options", [{"draws": -1}, {"draws": 10**9}, {"seed": -1}])
def test_option_without_meaning_is_refused(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="--draws and --seed"):
        score_submission(tmp_path, tmp_path, resampling=Resampling(**options))


def test_wrong_input_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = run("--predictions", tmp_path / "none", "--targets", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
