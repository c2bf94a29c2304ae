from copy import deepcopy
from typing import Any

import pytest

from skyeye_det.benchmark.model_rows import (
    FailedRow,
    RatioRow,
    Row,
    memory_row,
    speed_rows,
    stage_table,
    table,
)

MEASURED: dict[str, Any] = {
    "inference": {
        "what": "1 pair(s) of 1024 x 1024 px, one at a time",
        "seconds": {
            "ours": [1.9, 1.8, 2.5],
            "stock": [1.0, 1.2, 1.1],
            "stock with pasting": [1.5, 1.6, 1.7],
            "stock with folded BatchNorm": [0.9, 0.9, 0.9],
            "peer": [0.9, 1.0, 0.95],
            "post-processing": [0.08, 0.09, 0.1],
        },
        "detections": {"ours": 100, "stock": 100},
        "stock_is_ours": True,
        "peer": "unet_lite0",
    },
    "training": {
        "what": "2 crops of 384 x 384 px",
        "peer_what": "2 crops of 384 x 384 px",
        "seconds": {"ours": [2.0, 2.2, 2.1], "stock": [1.0, 1.1, 1.2], "peer": [1.3, 1.4, 1.5]},
    },
    "options": {
        "inference bf16": {"seconds": [1.2, 1.3], "plain": [1.8, 1.9], "figures": {"detections": 100.0}},
        "fp16": {"failed": "--options fp16: expected a CUDA device, found cpu"},
    },
}


def rows_of(**changes: Any) -> dict[str, Row]:
    measured = deepcopy(MEASURED)
    for path, value in changes.items():
        part, group, key = path.split("__")
        measured[part][group][key.replace("_", " ") if group == "seconds" else key] = value
    return {row.name: row for row in speed_rows("m", measured)}


def ratio(row: Row) -> RatioRow:
    assert isinstance(row, RatioRow)
    return row


def test_rows_hold_the_best_runs_against_each_other() -> None:
    rows = rows_of()
    assert {name: round(row.ratio, 4) for name, row in rows.items() if isinstance(row, RatioRow)} == {
        "m inference": 1.8,
        "m post-processing": 0.0444,
        "m inference / peer": 2.0,
        "m training": 2.0,
        "m training / peer": round(2.0 / 1.3, 4),
        "m inference bf16": round(1.2 / 1.8, 4),
    }
    bars = {name: row.bar for name, row in rows.items() if isinstance(row, RatioRow) and row.bar}
    assert bars == {"m inference": 1.9, "m post-processing": 0.05, "m training": 2.1}
    assert ratio(rows["m inference"]).figures[
        "ratio where the stock model pastes its masks into the tile"
    ] == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, set()),
        ({"inference__seconds__ours": [1.91, 1.95]}, {"m inference"}),
        ({"inference__seconds__stock": [0.9]}, {"m inference"}),
        ({"inference__seconds__peer": [0.01]}, set()),
        ({"inference__seconds__stock with pasting": [0.01]}, set()),
        ({"training__seconds__ours": [2.11]}, {"m training"}),
        ({"options__inference bf16__seconds": [9.0]}, set()),
    ],
    ids=["all kept", "slow", "fast stock", "fast peer", "pasting has no bar", "slow training", "slow option"],
)
def test_bars_are_kept_or_missed(changes: dict, missed: set) -> None:
    rows = rows_of(**changes)
    assert {name for name, row in rows.items() if not row.is_met} == missed | {"m fp16"}


def test_slow_postprocessing_misses_its_own_bar_alone() -> None:
    measured = deepcopy(MEASURED)
    measured["inference"]["seconds"]["post-processing"] = [0.2, 0.091]
    rows = {row.name: row for row in speed_rows("m", measured)}
    assert not rows["m post-processing"].is_met
    assert rows["m inference"].is_met


def test_a_stock_model_of_other_weights_is_no_floor() -> None:
    measured = deepcopy(MEASURED)
    measured["inference"]["stock_is_ours"] = False
    assert not {row.name: row for row in speed_rows("m", measured)}["m inference"].is_met


def test_without_a_peer_there_is_no_row_of_it() -> None:
    measured = deepcopy(MEASURED)
    for part in ("inference", "training"):
        del measured[part]["seconds"]["peer"]
    names = [row.name for row in speed_rows("m", measured)]
    assert not [name for name in names if "peer" in name]
    assert speed_rows("m", {}) == []


@pytest.mark.parametrize(("many", "met"), [(1499.0, True), (1500.0, True), (1501.0, False)])
def test_memory_may_grow_by_half(many: float, met: bool) -> None:
    few = {"detections": 100, "mib": 1000.0, "memory_is": "VmHWM"}
    row = memory_row("m", few, few | {"detections": 1000, "mib": many})
    assert row.is_met is met
    assert row.unit == "MiB"
    assert "1000 detections" in row.what
    assert "100 detections" in row.against


def test_table_tells_best_median_ratio_bar_and_what_failed() -> None:
    text = table(list(rows_of().values()))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[1] == "m inference 1.8000 (1.9000) s 1.0000 (1.1000) s 1.800 1.90 yes"
    assert "m fp16: failed, --options fp16: expected a CUDA device, found cpu" in lines
    assert "the stock model has every weight from ours: yes" in lines
    assert "detections a tile, ours: 100" in lines


def test_json_has_every_run() -> None:
    content = ratio(rows_of()["m inference"]).as_json()
    assert content["ours"] == {"best": 1.8, "median": 1.9, "runs": [1.9, 1.8, 2.5]}
    assert content["ratio_of_medians"] == pytest.approx(1.9 / 1.1)
    assert content["met"]
    assert FailedRow("m", "killed").as_json() == {"name": "m", "met": False, "failed": "killed"}


def test_stages_have_shares_that_add_up() -> None:
    text = stage_table("m", {"ours": {"backbone": 1.5, "damage": 0.5}, "stock": {"backbone": 1.0}})
    lines = [line.split() for line in text.splitlines()]
    assert lines[1] == ["backbone", "1.5000", "75.0", "%", "1.0000", "100.0", "%"]
    assert lines[2] == ["damage", "0.5000", "25.0", "%", "-", "-"]
    assert lines[3] == ["all", "2.0000", "100.0", "%", "1.0000", "100.0", "%"]
