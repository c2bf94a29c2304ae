import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from skyeye_det.evaluation.report_table import format_report, json_report
from skyeye_det.evaluation.xview2_metrics import PixelCounts, count_pixels
from skyeye_det.postprocessing.png import encode_class_png
from skyeye_det.postprocessing.submission import write_submission_pngs

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "tools" / "score_submission.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def report_of(counts: PixelCounts, extra: int = 0) -> dict:
    return {
        "official": counts.score(),
        "overall": counts.report(),
        "events": {"palu-tsunami": {"tiles": 1, **counts.report()}},
        "tiles": 1,
        "tiles_without_target": extra,
    }


def test_table_reads_na_where_a_class_is_absent_and_says_what_the_official_score_does() -> None:
    target = np.array([[1, 1, 2, 2]], np.uint8)
    text = format_report(report_of(count_pixels(target, target, target, target), extra=2))
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines() if line}
    assert rows["minor-damage"][1:] == ["1.0000", "1.0000", "1.0000"]
    assert rows["destroyed"][1:] == ["n/a", "n/a", "n/a"]
    assert rows["palu-tsunami"] == [
        *("palu-tsunami", "1", "1.0000", "1.0000", "1.0000", "1.0000", "1.0000", "1.0000", "n/a", "n/a")
    ]
    assert rows["official score"][2] == "0.3000"
    assert "the targets have no major-damage, destroyed: the official score counts 0 for it" in text
    assert "2 predicted tiles have no target" in text


def test_table_of_nothing_is_all_na() -> None:
    text = format_report(report_of(PixelCounts.zero()))
    assert "nan" not in text
    assert text.count("n/a") > 20


def test_json_has_null_for_what_is_not_defined() -> None:
    text = json.dumps(json_report(report_of(PixelCounts.zero())), allow_nan=False)
    assert json.loads(text)["overall"]["damage"]["destroyed"]["f1"] is None
    assert json.loads(text)["official"]["localization_f1"] == 0


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
    assert "official score   0.3000   (1 tiles)" in done.stdout
    written = json.loads((tmp_path / "score.json").read_text())
    assert written["official"]["damage_f1_major_damage"] == 1
    assert written["events"]["anonymous"]["damage"]["major-damage"]["tp"] == 8


def test_wrong_input_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = run("--predictions", tmp_path / "none", "--targets", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
