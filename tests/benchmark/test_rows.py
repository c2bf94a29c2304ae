from dataclasses import replace

import pytest

from skyeye_det.benchmark.measure import Cost
from skyeye_det.benchmark.rows import Row, Skipped, table

ROW = Row(
    name="scoring",
    what="3 tiles",
    floor_is="only decoding",
    ours=Cost(1.2, 2.0),
    floor=Cost(1.0, 1.6),
    bar=1.3,
    repeats=2,
    memory_mib=100.0,
    memory_bar_mib=200.0,
    memory_is="peak",
    checks={"same output": True},
)


@pytest.mark.parametrize(
    ("change", "met"),
    [
        ({}, True),
        ({"bar": 1.1}, False),
        ({"memory_mib": 201.0}, False),
        ({"memory_mib": 201.0, "memory_bar_mib": None}, True),
        ({"checks": {"same output": True, "whole": False}}, False),
        ({"ours": Cost(9.0, 0.1)}, False),
    ],
    ids=[
        "all kept",
        "too slow",
        "too much memory",
        "memory without a bar",
        "a check fails",
        "clock, not CPU",
    ],
)
def test_a_row_is_met_where_time_memory_and_checks_are(change: dict, met: bool) -> None:
    row = replace(ROW, **change)
    assert row.is_met is met
    assert row.as_json()["met"] is met
    assert table([row]).splitlines()[1].endswith("yes" if met else "NO")


def test_the_table_names_seconds_ratio_bar_and_what_was_skipped() -> None:
    fast = replace(ROW, name="rasterize", ours=Cost(0.01, 0.01), bar=1 / 30)
    text = table([ROW, fast, Skipped("loader", "needs torch")])
    lines = text.splitlines()
    assert " ".join(lines[1].split()) == "scoring 1.200 (2.000) 1.000 (1.600) 1.20 1.30 100.0 200 yes"
    assert "1/100.0  1/30.0" in lines[2]
    assert "loader: skipped, needs torch" in lines
    assert "scoring: 3 tiles; best of 2" in lines
    assert "  same output: yes" in lines


def test_json_has_all_figures_of_a_row() -> None:
    content = ROW.as_json()
    assert content["ratio"] == pytest.approx(1.2)
    assert content["cpu_ratio"] == pytest.approx(1.25)
    assert content["seconds"] == {"ours": 1.2, "floor": 1.0}
    assert content["best_of"] == 2
    assert Skipped("loader", "needs torch").as_json() == {
        "name": "loader",
        "met": None,
        "skipped": "needs torch",
    }
