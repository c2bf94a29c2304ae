"""Figures of the page count what people have reviewed as they say, and the model's grades of the rest."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
from made_assessment import boxes, grid_of, records_of, write_folder

from skyeye_det.report.page.folder import META, renew_page
from skyeye_det.report.page.script_files import read_call
from skyeye_det.scene.review.file import ReviewFile
from skyeye_det.scene.review.state import FALSE_BUILDING, GRADE, UNSURE, Review

GRID = grid_of(2000, 1000)  # px of half a metre: cells of 1,000 px
LEFT = np.array([10, 40, 70, 100, 1010, 1040, 1070, 1100, 1130, 1160])
"""px; the last one is not assessed."""

GRADES = ("no_damage", "minor", "major", "destroyed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four buildings in the west, six in the east."""
    outlines = boxes(np.column_stack([LEFT, 0 * LEFT + 10, LEFT + 20, 0 * LEFT + 30]), GRID)
    west, east = boxes(np.array([[0, 0, 1000, 1000], [1000, 0, 2000, 1000]]), GRID)
    return write_folder(tmp_path, GRID, records_of(outlines), areas={"west": west, "east": east})


def figures(folder: Path) -> dict[str, Any]:
    renew_page(folder)
    (meta,) = read_call(folder / "report" / META)
    return meta


def review(folder: Path, said: dict[int, tuple[str, int | None]], drawn: int | None = None) -> None:
    with closing(ReviewFile(folder)) as file:
        for number, (verdict, damage) in said.items():
            review = Review.of(verdict, damage, "Ann", "")
            file.review(0, f"b{number:06x}", review, "Ann", None)
        if drawn is not None:
            file.draw([[500, 500, 540, 500, 540, 540, 500, 540]], Review.of(GRADE, drawn, "Ann", ""))


def probabilities(folder: Path) -> np.ndarray:
    columns = [f"p_{grade}" for grade in GRADES]
    *_, values = pyogrio.raw.read(folder / "damage.gpkg", layer="buildings", columns=columns)
    return np.stack(values, axis=1)


def test_all_that_people_have_reviewed_is_certain(folder: Path) -> None:
    review(folder, {number: (GRADE, number % 4) for number in range(10)}, drawn=3)
    told = figures(folder)
    for count, exact in zip(told["counts"], [3, 3, 2, 3], strict=True):
        assert count == {"labelled": exact, "expected": exact, "low": exact, "high": exact}
    assert (told["buildings"], told["assessed"], told["reviewed"]) == (11, 11, 11)
    assert told["statuses"] == {"assessed": 11}


def test_each_verdict_counts_as_it_says_and_the_rest_as_the_model_does(folder: Path) -> None:
    before = figures(folder)
    review(folder, {0: (GRADE, 3), 1: (FALSE_BUILDING, None), 4: (UNSURE, None), 9: (GRADE, 2)}, drawn=3)
    told, probs = figures(folder), probabilities(folder)
    assert (told["buildings"], told["assessed"], told["reviewed"]) == (10, 9, 5)
    assert told["statuses"] == {"assessed": 9, "a reviewer cannot tell": 1}
    left = probs[[2, 3, 5, 6, 7, 8]]  # by the model
    certain, grades = np.array([0, 0, 1, 2]), np.bincount(left.argmax(axis=1), minlength=4)
    reach = 1.6449 * np.sqrt((left * (1 - left)).sum(axis=0))
    for grade, count in enumerate(told["counts"]):
        expected = certain[grade] + left[:, grade].sum()
        assert count["labelled"] == certain[grade] + grades[grade]
        assert count["expected"] == pytest.approx(expected)
        assert count["low"] == pytest.approx(max(expected - reach[grade], certain[grade]))
        assert count["high"] == pytest.approx(min(expected + reach[grade], 6 + certain[grade]))
    assert before["by_model"] == told["by_model"]
    # The drawn one lies in the west.
    for places in (told["areas"], told["cells"]):
        assert [each["buildings"] for each in places] == [4, 6]
        assert [each["assessed"] for each in places] == [4, 5]
        sums = np.array([each["labelled"] for each in places]).sum(axis=0)
        assert sums.tolist() == [each["labelled"] for each in told["counts"]]
        assert places[0]["low"][3] >= 2


def test_a_scene_in_which_nothing_is_a_building_counts_none(folder: Path) -> None:
    review(folder, dict.fromkeys(range(10), (FALSE_BUILDING, None)))
    told = figures(folder)
    assert (told["buildings"], told["reviewed"], told["cells"], told["statuses"]) == (0, 10, [], {})
    assert {each["high"] for each in told["counts"]} == {0}
    assert [each["buildings"] for each in told["areas"]] == [0, 0]


def test_the_layers_of_the_geopackage_stay_the_models(folder: Path) -> None:
    def summary() -> list[list[float]]:
        *_, values = pyogrio.raw.read(folder / "damage.gpkg", layer="summary_areas", read_geometry=False)
        return [each.tolist() for each in values]

    before = summary()
    review(folder, {0: (GRADE, 3), 1: (FALSE_BUILDING, None)})
    figures(folder)
    assert summary() == before
