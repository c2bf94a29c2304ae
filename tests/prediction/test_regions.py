import numpy as np

from skyeye_det.prediction.regions import Regions, connected_regions, spread_labels


def image(*rows: str) -> np.ndarray:
    return np.array([[int(cell) for cell in row] for row in rows], np.int32)


def spread(seeds: np.ndarray, inside: np.ndarray) -> list[str]:
    regions = connected_regions(inside > 0)
    labels = spread_labels(seeds.ravel()[regions.places], regions)
    assert labels.dtype == np.int32
    return ["".join(map(str, row)) for row in labels]


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    regions = connected_regions(image("1000", "0100", "0001") > 0)
    assert len(regions) == 3
    assert regions.areas.tolist() == [9, 2, 1]
    assert regions.boxes[1:].tolist() == [[0, 0, 2, 2], [3, 2, 4, 3]]
    assert regions.window(1) == (slice(0, 2), slice(0, 2))


def test_an_image_without_pixels_has_no_region() -> None:
    regions = connected_regions(np.zeros((3, 5), bool))
    assert len(regions) == 1
    assert spread(np.ones((3, 5), np.int32), np.zeros((3, 5))) == ["00000"] * 3


def test_boxes_hold_the_pixels_of_each_label() -> None:
    regions = Regions(image("0220", "0202", "1000"), 4)
    assert regions.boxes[1:3].tolist() == [[0, 2, 1, 3], [1, 0, 4, 2]]
    assert regions.boxes[3, 2] == 0
    assert regions.areas.tolist() == [7, 1, 4, 0]


def test_values_are_laid_at_the_pixels_of_regions() -> None:
    regions = connected_regions(image("0110", "0001") > 0)
    assert regions.image_of(np.array([5, 6, 7])).tolist() == [[0, 5, 6, 0], [0, 0, 0, 7]]


def test_a_label_spreads_over_its_own_region_alone() -> None:
    assert spread(image("1000000", "0000000"), image("1110011", "1110011")) == ["1110000", "1110000"]


def test_each_pixel_takes_the_nearest_label() -> None:
    assert spread(image("100000020"), image("111111111")) == ["111122222"]  # of two as near, either


def test_a_nearer_label_of_another_region_is_passed_over() -> None:
    inside = image("11111111", "00000000", "00000001")
    seeds = image("10000000", "00000000", "00000002")
    assert spread(seeds, inside) == ["11111111", "00000000", "00000002"]


def test_labels_outside_all_regions_do_not_count() -> None:
    assert spread(image("2010000"), image("0011111")) == ["0011111"]
    assert spread(image("2000000"), image("0011111")) == ["0000000"]


def test_seeds_are_left_as_they_are() -> None:
    seeds = image("1000", "0002").ravel()
    before = seeds.copy()
    spread_labels(seeds, connected_regions(np.ones((2, 4), bool)))
    np.testing.assert_array_equal(seeds, before)


def test_every_pixel_of_a_random_image_has_the_nearest_label_of_its_region() -> None:
    rng = np.random.default_rng(5)
    inside = rng.random((40, 60)) < 0.45
    seeds = np.where(rng.random((40, 60)) < 0.02, rng.integers(1, 9, (40, 60)), 0).astype(np.int32)
    regions = connected_regions(inside)
    labels = spread_labels(seeds.ravel()[regions.places], regions)
    assert not labels[~inside].any()
    for y, x in zip(*np.nonzero(inside), strict=True):
        rows, columns = np.nonzero((regions.labels == regions.labels[y, x]) & (seeds > 0))
        if not len(rows):
            assert labels[y, x] == 0
            continue
        distances = np.hypot(rows - y, columns - x)
        near = seeds[rows, columns][distances <= distances.min() * 1.05]
        assert labels[y, x] in near
