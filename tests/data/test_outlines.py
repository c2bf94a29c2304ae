from pathlib import Path
from typing import Any

import pytest
from test_xbd import read_outline

from skyeye_det.data.validation import FaultKind


@pytest.mark.parametrize(
    "wkt",
    [
        None,
        "",
        "POINT (1 1)",
        "GEOMETRYCOLLECTION (POLYGON ((1 1, 9 1, 9 9, 1 1)))",
        "POLYGON ((1 1, 9 1, 9 9, 1 1)",
        "POLYGON ((1 1 1, 9 1 1, 9 9 1, 1 1 1))",
        "POLYGON ((1 1, nan 1, 9 9, 1 1))",
        "POLYGON ((1 1, 1e99 1, 9 9, 1 1))",
        "POLYGON ((1 1, 9 1, 9 9, 1 1), ())",
        "POLYGON ((one two, 9 1, 9 9, 1 1))",
    ],
)
def test_unusable_outline_leaves_the_building_out(tmp_path: Path, wkt: Any) -> None:
    assert read_outline(tmp_path, wkt) == ((), [FaultKind.UNUSABLE_OUTLINE])


@pytest.mark.parametrize(
    ("wkt", "kinds", "ring"),
    [
        ("POLYGON((1 1,9 1,9 9,1 1))", [], [[1, 1], [9, 1], [9, 9]]),
        ("  polygon ( ( 1.0 1e0 , 9 +1 ,\n 9. 9, 1 1 ) ) ", [], [[1, 1], [9, 1], [9, 9]]),
        ("MULTIPOLYGON (((1 1, 9 1, 9 9, 1 1)))", [], [[1, 1], [9, 1], [9, 9]]),
        ("POLYGON ((1 1, 9 1, 9 9))", [FaultKind.NOT_CLOSED], [[1, 1], [9, 1], [9, 9]]),
        ("POLYGON ((1 1, 9 9, 9 1, 1 9, 1 1))", [FaultKind.CROSSES_ITSELF], [[1, 1], [9, 9], [9, 1], [1, 9]]),
        ("POLYGON ((5 5, 5 5, 5 5, 5 5))", [FaultKind.NO_AREA], [[5, 5]] * 3),
        ("POLYGON ((5 5, 9 5, 5 5))", [FaultKind.NO_AREA], [[5, 5], [9, 5]]),
        ("POLYGON ((1 1, 5 5, 9 9, 1 1))", [FaultKind.NO_AREA], [[1, 1], [5, 5], [9, 9]]),
        (
            "POLYGON ((-20 10, 20 10, 20 20))",
            [FaultKind.NOT_CLOSED, FaultKind.BEYOND_IMAGE],
            [[-20, 10], [20, 10], [20, 20]],
        ),
        ("POLYGON ((-0.5 10, 64.5 10, 64 64, -0.5 10))", [], [[-0.5, 10], [64.5, 10], [64, 64]]),
    ],
)
def test_one_ring_is_kept_as_drawn_whatever_its_spelling_and_faults(
    tmp_path: Path, wkt: str, kinds: list[FaultKind], ring: list[list[float]]
) -> None:
    (building,), faults = read_outline(tmp_path, wkt)
    assert faults == kinds
    assert building.parts[0][0].tolist() == ring


def test_parts_and_holes_are_kept(tmp_path: Path) -> None:
    wkt = (
        "MULTIPOLYGON (((1 1, 30 1, 30 30, 1 30, 1 1), (5 5, 9 5, 9 9, 5 5), (12 12, 15 12, 15 15, 12 12)), "
    )
    (building,), faults = read_outline(tmp_path, wkt + "((40 40, 50 40, 50 50, 40 40)))")
    assert faults == []
    assert [len(polygon) for polygon in building.parts] == [3, 1]


def test_hole_outside_its_exterior_is_left_out(tmp_path: Path) -> None:
    wkt = "POLYGON ((1 1, 9 1, 9 9, 1 9, 1 1), (20 20, 22 20, 22 22, 20 20), (3 3, 6 3, 6 6, 3 3))"
    (building,), faults = read_outline(tmp_path, wkt)
    assert faults == [FaultKind.HOLE_OUTSIDE]
    assert [polygon[0].tolist() for polygon in building.parts[0:1]] == [[[1, 1], [9, 1], [9, 9], [1, 9]]]
    assert building.parts[0][1].tolist() == [[3, 3], [6, 3], [6, 6]]


def test_hole_of_a_point_or_line_is_kept(tmp_path: Path) -> None:
    (building,), faults = read_outline(tmp_path, "POLYGON ((1 1, 9 1, 9 9, 1 9, 1 1), (4 4, 5 4, 4 4))")
    assert faults == []
    assert len(building.parts[0]) == 2


@pytest.mark.parametrize("x", [-90, 70, 64])
def test_outline_outside_the_image_leaves_the_building_out(tmp_path: Path, x: float) -> None:
    wkt = f"POLYGON (({x} 10, {x + 5} 10, {x + 5} 20, {x} 10))"
    assert read_outline(tmp_path, wkt) == ((), [FaultKind.OUTSIDE_IMAGE])
