"""The command from end to end at a tiny size; times are never judged."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from skyeye_det.benchmark.data_command import ROW_NAMES, run_data_benchmark
from skyeye_det.benchmark.settings import Settings
from skyeye_det.errors import InputError

TOOL = Path(__file__).parents[2] / "tools" / "benchmark.py"
NEED_TORCH = {"rasterize", "loader"}


def tiny(output: Path, **changes: object) -> Settings:
    sizes = {"pairs": 4, "tiles": 3, "repeats": 1, "instances": 30, "crop": 64, "sample_size": 128}
    return Settings(output, **(sizes | changes))


def test_every_row_is_measured_or_says_what_it_needs(tmp_path: Path) -> None:
    text, _ = run_data_benchmark(tiny(tmp_path / "work"), json_file=tmp_path / "rows.json")
    content = json.loads((tmp_path / "rows.json").read_text())
    rows = {row["name"]: row for row in content["rows"]}
    assert tuple(rows) == ROW_NAMES == ("conversion", "scoring", "targets", "rasterize", "loader")
    skipped = {name for name, row in rows.items() if row["skipped"]}
    assert skipped == (set() if find_spec("torch") and find_spec("detectron2") else NEED_TORCH)
    for name in set(rows) - skipped:
        row = rows[name]
        assert row["seconds"]["ours"] > 0
        assert row["seconds"]["floor"] > 0
        assert row["ratio"] == pytest.approx(row["seconds"]["ours"] / row["seconds"]["floor"])
        assert row["bar"] > 0
        assert all(row["checks"].values())
        assert row["memory_mib"] is not None
        assert isinstance(row["met"], bool)
    assert rows["conversion"]["checks"] == {"same output for 1 and 2 workers": True}
    assert 0 < rows["scoring"]["figures"]["score"] < 1
    assert {"python", "numpy", "shapely", "orjson"} <= set(content["versions"])
    assert content["machine"]["cpu"]
    assert all(name in text for name in ROW_NAMES)
    assert not list((tmp_path / "work").iterdir())


def test_a_row_whose_floor_cannot_be_taken_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)
    text, met = run_data_benchmark(tiny(tmp_path), ["conversion"], tmp_path / "rows.json")
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert row["met"] is None
    assert "needs orjson" in row["skipped"]
    assert "conversion: skipped, needs orjson" in text
    assert met


def test_only_the_rows_asked_for_are_measured(tmp_path: Path) -> None:
    run_data_benchmark(tiny(tmp_path), ["targets"], tmp_path / "rows.json")
    assert [row["name"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]] == ["targets"]


def test_what_means_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--only"):
        run_data_benchmark(tiny(tmp_path), ["speed"])
    with pytest.raises(InputError, match="--pairs: expected 1 or more, found 0"):
        tiny(tmp_path, pairs=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another --output"):
        run_data_benchmark(tiny(tmp_path / "file"))


def run_tool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(TOOL), "data", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_tool_ends_with_the_code_that_the_bars_say(tmp_path: Path) -> None:
    sizes = ["--pairs", "4", "--repeats", "1", "--sample-size", "128"]
    done = run_tool(
        *sizes, "--only", "conversion", "--output", str(tmp_path), "--json", str(tmp_path / "rows.json")
    )
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert done.returncode == (0 if row["met"] else 1), done.stderr
    assert "conversion" in done.stdout


def test_the_tool_refuses_a_folder_without_labels_in_one_sentence(tmp_path: Path) -> None:
    done = run_tool("--labels", str(tmp_path / "none"), "--only", "conversion", "--output", str(tmp_path))
    assert done.returncode == 2
    assert "expected label pairs" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
