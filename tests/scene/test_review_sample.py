from contextlib import closing
from pathlib import Path

import pyogrio
import pytest
from assessed import write_assessment

from skyeye_det.errors import InputError
from skyeye_det.scene.outputs import GEOPACKAGE
from skyeye_det.scene.review.file import ReviewFile
from skyeye_det.scene.review.sample import draw_sample, sample_estimate, sample_to_check
from skyeye_det.scene.review.state import FALSE_BUILDING, GRADE, UNSURE, Review

COUNT, UNSEEN = 600, 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_assessment(tmp_path, COUNT)
    return tmp_path


@pytest.fixture
def file(folder: Path):
    with closing(ReviewFile(folder)) as opened:
        yield opened


def answer(file: ReviewFile, building: str, verdict: str, damage: int | None = None) -> None:
    file.review(0, building, Review.of(verdict, damage, "Ann", ""), "Ann", None)


def all_ids(folder: Path) -> list[str]:
    return pyogrio.raw.read(folder / GEOPACKAGE, layer="buildings", columns=["building_id"])[3][0].tolist()


def drawn(file: ReviewFile) -> list[str]:
    found = sample_to_check(file)
    assert found
    return [each["id"] for each in found["buildings"]]


def test_without_a_sample_there_is_none(file) -> None:
    assert sample_to_check(file) is None
    assert sample_estimate(file) == {"answered": 0, "needed": 0}


def test_the_frame_is_the_assessed_buildings_and_the_order_stays(file, folder) -> None:
    assert draw_sample(file, 60, 1) == 60
    ids = drawn(file)
    assert len(set(ids)) == 60
    _, _, _, values = pyogrio.raw.read(
        folder / GEOPACKAGE, layer="buildings", columns=["building_id", "status"]
    )
    status = dict(zip(*(each.tolist() for each in values), strict=True))
    assert {status[each] for each in ids} == {"assessed"}
    with closing(ReviewFile(folder)) as again:
        assert drawn(again) == ids
    _, _, _, (codes, sizes) = pyogrio.raw.read(
        folder / GEOPACKAGE, layer="review_sample", columns=["stratum", "stratum_size"]
    )
    assert sum(dict(zip(codes.tolist(), sizes.tolist(), strict=True)).values()) == COUNT - UNSEEN
    assert draw_sample(file, 60, 2) == 60  # nobody has answered
    assert drawn(file) != ids
    assert draw_sample(file, 10_000, 0) == COUNT - UNSEEN
    assert sample_to_check(file)["buildings"][0]["chunk"] in ("0_0", "1_0")


def test_only_answers_to_the_sample_count_and_another_cannot_be_drawn_then(file, folder) -> None:
    draw_sample(file, 60, 0)
    ids = drawn(file)
    others = sorted(set(all_ids(folder)) - set(ids))
    for building in others[:40]:
        answer(file, building, GRADE, 3)
    assert sample_estimate(file)["answered"] == 0
    for number, building in enumerate(ids[:50]):
        if number % 10 == 0:
            answer(file, building, UNSURE)
        elif number % 10 == 5:
            answer(file, building, FALSE_BUILDING)
        else:
            answer(file, building, GRADE, 0)
    answer(file, ids[-1], GRADE, 3)
    found = sample_estimate(file)
    assert (found["answered"], found["needed"] <= 50) == (51, True)
    assert [each["answered"] for each in sample_to_check(file)["buildings"]].count(True) == 51
    assert sum(each["labelled"] for each in found["counts"]) == COUNT - UNSEEN
    assert found["counts"][3]["estimated"] < 20
    assert found["counts"][0]["low"] < found["counts"][0]["estimated"] < found["counts"][0]["high"]
    assert found["buildings"]["high"] < COUNT - UNSEEN
    assert 0 < found["accuracy_low"] < found["accuracy"] < found["accuracy_high"] < 1
    assert (found["unsure"], found["waiting"]) == (5, 1)
    with pytest.raises(InputError, match="found one with 51"):
        draw_sample(file, 60, 1)


def test_what_cannot_be_drawn_from_is_refused(tmp_path: Path) -> None:
    write_assessment(tmp_path, 0)
    with closing(ReviewFile(tmp_path)) as file:
        with pytest.raises(InputError, match="expected assessed buildings"):
            draw_sample(file, 50, 0)
        with pytest.raises(InputError, match="expected 20 buildings or more"):
            draw_sample(file, 19, 0)
        assert sample_to_check(file) is None
