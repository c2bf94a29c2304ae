import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from skyeye_det.data.targets import Building
from skyeye_det.evaluation.buildings import (
    FOUND_COLUMNS,
    TRUE_ROWS,
    BuildingCounts,
    FoundComponents,
    Overlaps,
    count_buildings,
    match,
    overlaps_of_components,
    overlaps_of_masks,
)
from skyeye_det.evaluation.truth import TrueBuildings

SHAPE = (60, 80)


def building(x: int, y: int, width: int, height: int, damage: int = 0, uid: str = "u") -> Building:
    """A building whose official mask is these pixels."""
    ring = np.array([[x, y], [x + width - 1, y], [x + width - 1, y + height - 1], [x, y + height - 1]], float)
    return Building(uid, ((ring,),), damage)


def tile(*boxes: tuple[int, ...]) -> TrueBuildings:
    return TrueBuildings.of([building(*box) for box in boxes], SHAPE)


def pairs(overlaps: Overlaps) -> dict[tuple[int, int], float]:
    return {(t, f): iou for t, f, iou in zip(*(part.tolist() for part in overlaps), strict=True)}


def matched(overlaps: Overlaps) -> list[tuple[int, int]]:
    ranks = (
        np.arange(int(part.max()) + 1) if len(part) else part for part in (overlaps.true, overlaps.found)
    )
    return sorted(zip(*(part.tolist() for part in match(overlaps, *ranks)), strict=True))


def test_masks_are_the_official_ones_and_empty_ones_are_left_out() -> None:
    true = tile((10, 10, 4, 6, 2), (-50, -50, 4, 4, 1), (78, 58, 10, 10, -1))
    assert true.areas.tolist() == [24, 4]
    assert true.corners.tolist() == [[10, 10], [78, 58]]
    assert true.damage.tolist() == [2, -1]
    assert coco_mask.area(true.run_lengths()).tolist() == [24, 4]


def test_overlap_of_exactly_one_half_counts() -> None:
    true = tile((10, 10, 20, 10)).run_lengths()
    assert pairs(overlaps_of_masks(true, tile((10, 10, 10, 10)).run_lengths())) == {(0, 0): 0.5}
    assert pairs(overlaps_of_masks(true, tile((11, 10, 9, 10)).run_lengths())) == {}


def test_components_that_overlap_by_one_half_count_and_touching_ones_are_one() -> None:
    true = tile((10, 10, 20, 10), (40, 10, 5, 10), (45, 10, 5, 10))
    image = np.zeros(SHAPE, np.uint8)
    image[10:20, 10:20] = 1
    image[10:20, 40:50] = 1  # both at once: half of each
    found = FoundComponents.of(image, image)
    assert found.areas.tolist() == [100, 100]
    assert pairs(overlaps_of_components(true, found)) == {
        (0, 0): 0.5,
        (1, 1): 0.5,
        (2, 1): 0.5,
    }
    assert [true for true, _ in matched(overlaps_of_components(true, found))] == [0, 1]
    image[20, 10] = 1  # below the building: 100 of 201 px
    found = FoundComponents.of(image, image)
    assert (0, 0) not in pairs(overlaps_of_components(true, found))


def test_largest_overlap_is_paired_first_and_the_other_takes_what_is_left() -> None:
    overlaps = Overlaps(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([0.6, 0.8, 0.7]))
    assert matched(overlaps) == [(0, 1), (1, 0)]


def test_equal_overlaps_are_decided_by_rank() -> None:
    overlaps = Overlaps(np.array([0, 1]), np.array([0, 0]), np.array([0.7, 0.7]))
    first, second = (match(overlaps, np.array(ranks), np.array([0])) for ranks in ([0, 1], [1, 0]))
    assert (first[0].tolist(), second[0].tolist()) == ([0], [1])


@pytest.mark.parametrize("sides", [((), ((1, 1, 5, 5),)), (((1, 1, 5, 5),), ()), ((), ())])
def test_nothing_overlaps_nothing(sides: tuple) -> None:
    true, found = (tile(*side) for side in sides)
    assert pairs(overlaps_of_masks(true.run_lengths(), found.run_lengths())) == {}
    nothing = FoundComponents.of(*np.zeros((2, *SHAPE), np.uint8))
    assert pairs(overlaps_of_components(true, nothing)) == {}
    assert matched(overlaps_of_masks([], [])) == []


@pytest.mark.parametrize("seed", range(3))
def test_overlaps_equal_those_of_whole_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.integers(-4, 50, (25, 2)), rng.integers(4, 25, (25, 2))], axis=1)
    true, found = (tile(*(boxes + rng.integers(-1, 2, boxes.shape)).tolist()) for _ in range(2))
    images = [coco_mask.decode(side.run_lengths()).astype(bool) for side in (true, found)]
    expected = {}
    for t in range(len(true.areas)):
        for f in range(len(found.areas)):
            shared = (images[0][..., t] & images[1][..., f]).sum()
            iou = shared / (images[0][..., t] | images[1][..., f]).sum()
            if iou >= 0.5:
                expected[t, f] = iou
    assert pairs(overlaps_of_masks(true.run_lengths(), found.run_lengths())) == pytest.approx(expected)
    assert len(expected) > 5


@pytest.mark.parametrize("seed", range(2))
def test_overlaps_of_components_equal_those_of_their_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = tile(
        *np.concatenate([rng.integers(0, 50, (12, 2)), rng.integers(3, 20, (12, 2))], axis=1).tolist()
    )
    image = (coco_mask.decode(true.run_lengths()).any(axis=2) & (rng.random(SHAPE) < 0.97)).astype(np.uint8)
    found = FoundComponents.of(image, image)
    masks = [
        coco_mask.encode(np.asfortranarray((found.labels == label + 1).astype(np.uint8)))
        for label in range(len(found.areas))
    ]
    by_labels = pairs(overlaps_of_components(true, found))
    assert by_labels == pairs(overlaps_of_masks(true.run_lengths(), masks))
    assert by_labels


def test_grade_of_a_component_is_that_of_most_of_its_graded_pixels() -> None:
    localization, damage = np.zeros((2, *SHAPE), np.uint8)
    localization[0, 0:9] = 1
    damage[0, :9] = (0, 0, 0, 0, 0, 3, 3, 2, 4)
    localization[2, 0:4] = 1  # no grade at all
    localization[4, 0:4] = 4
    damage[4, :4] = (4, 4, 1, 1)  # as many: the lesser
    damage[10:20] = 4  # outside the localization
    found = FoundComponents.of(localization, damage)
    assert found.damage.tolist() == [2, -1, 0]
    assert found.areas.tolist() == [9, 4, 4]


def counts(true: list[tuple[int, ...]], damage: list[int], pairs: list[tuple[int, int]]) -> BuildingCounts:
    matched = np.array(pairs, np.int64).reshape(-1, 2)
    return count_buildings(tile(*true), np.array(damage, np.int64), (matched[:, 0], matched[:, 1]))


def test_figures_worked_out_by_hand() -> None:
    true = [
        (0, 0, 8, 8, 0),
        (0, 0, 16, 16, 1),
        (0, 0, 32, 32, 2),
        (0, 0, 33, 33, 3),
        (0, 0, 8, 8, -1),
        (0, 0, 8, 8, 3),
    ]
    # found: none as none, minor as major, major as none, the un-classified one; missed: both destroyed
    found = counts(true, [0, 2, 0, 3, 1, 1], [(0, 0), (1, 1), (2, 2), (4, 3)])
    assert found.sizes.tolist() == [[3, 2, 1], [2, 2, 0]]
    assert found.finding.tolist() == [4, 6, 6]
    assert found.confusion.tolist() == [
        [1, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 2],
        [0, 0, 0, 1, 0, 0],
        [0, 2, 0, 0, 0, 0],
    ]
    report = found.report()
    assert (report["precision"], report["recall"], report["f1"]) == pytest.approx((4 / 6, 4 / 6, 4 / 6))
    assert [group["recall"] for group in report["by_size"].values()] == pytest.approx([2 / 3, 1, 0])
    of_found = report["damage_found"]["classes"]
    assert of_found["no-damage"]["f1"] == pytest.approx(2 / 3)
    assert of_found["minor-damage"]["f1"] == of_found["major-damage"]["f1"] == 0
    assert math.isnan(of_found["destroyed"]["f1"])  # none was found
    assert report["damage_found"]["macro_f1"] == pytest.approx(2 / 9)
    end = report["damage_end_to_end"]["classes"]
    assert [end[name]["f1"] for name in end] == pytest.approx([2 / 3, 0, 0, 0])
    assert (end["minor-damage"]["fp"], end["destroyed"]["fn"], end["destroyed"]["fp"]) == (2, 2, 0)
    assert report["damage_end_to_end"]["macro_f1"] == pytest.approx(1 / 6)
    assert report["graded"] == 3
    assert report["ordinal_error"] == pytest.approx((0 + 1 + 2) / 3)
    assert report["confusion"]["rows"] == list(TRUE_ROWS)
    assert report["confusion"]["columns"] == list(FOUND_COLUMNS)


def test_prediction_without_a_grade_is_wrong_and_not_part_of_the_ordinal_error() -> None:
    report = counts([(0, 0, 8, 8, 0), (20, 0, 8, 8, 0)], [-1, 0], [(0, 0), (1, 1)]).report()
    assert report["damage_found"]["classes"]["no-damage"]["recall"] == 0.5
    assert (report["graded"], report["ordinal_error"]) == (1, 0)


def test_unclassified_buildings_count_for_finding_alone() -> None:
    report = counts([(0, 0, 8, 8, -1), (20, 0, 8, 8, -1)], [2, 3], [(0, 0)]).report()
    assert (report["recall"], report["precision"], report["f1"]) == (0.5, 0.5, 0.5)
    assert math.isnan(report["damage_found"]["macro_f1"])
    assert math.isnan(report["ordinal_error"])
    assert report["graded"] == 0


def test_nothing_there_and_nothing_predicted_is_not_defined() -> None:
    for empty in (counts([], [], []), BuildingCounts.total([])):
        report = empty.report()
        assert all(math.isnan(report[key]) for key in ("precision", "recall", "f1", "ordinal_error"))
        assert all(math.isnan(group["recall"]) for group in report["by_size"].values())


def test_only_one_side_is_there() -> None:
    missed, made_up = counts([(0, 0, 8, 8, 1)], [], []).report(), counts([], [1], []).report()
    assert (missed["recall"], missed["f1"]) == (0, 0)
    assert math.isnan(missed["precision"])
    assert missed["damage_end_to_end"]["classes"]["minor-damage"]["f1"] == 0
    assert made_up["precision"] == 0
    assert math.isnan(made_up["f1"])
