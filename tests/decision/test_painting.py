import time
import tracemalloc

import numpy as np
import pytest

from skyeye_det.decision.painting import OWNER_FLOOR, owner_map, paint, strongest_instances
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.rasterize import instance_crops, rasterize_instances

SHAPE = (40, 60)
Box = list[float]
NONE: list[Box] = []


def arrays(boxes: list[Box], scores: list[float], mask: float = 1.0) -> tuple[np.ndarray, ...]:
    """Boxes and scores as arrays, with flat masks."""
    count = len(boxes)
    return (
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full((count, 28, 28), mask, np.float32),
        np.array(scores, np.float32),
    )


def drawn(*rectangles: tuple[int, int, int, int], value: float = 1.0) -> np.ndarray:
    """A map, uint8, of rectangles (x0, y0, x1, y1), ends left out."""
    image = np.zeros(SHAPE, np.uint8)
    for x0, y0, x1, y1 in rectangles:
        image[y0:y1, x0:x1] = round(value * 255)
    return image


def painted(
    boxes: list[Box], scores: list[float], building_map: np.ndarray | None, mask: float = 1.0, **rule: float
) -> np.ndarray:
    """Damage image of instances whose classes count up from 0."""
    classes = np.arange(len(boxes)) % 4
    numbers = DecisionRule(**({"pixel_threshold": 0.4, "map_weight": 0.5} | rule))
    localization, damage = paint(*arrays(boxes, scores, mask), classes, SHAPE, building_map, numbers)
    assert localization.dtype == damage.dtype == np.uint8
    np.testing.assert_array_equal(localization, damage > 0)
    return damage


def test_without_a_map_pixels_are_those_of_rasterize_instances() -> None:
    rng = np.random.default_rng(1)
    low = rng.uniform(-10, 50, (40, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 20, (40, 2))], axis=1).astype(np.float32)
    masks, scores = rng.random((40, 28, 28), np.float32), rng.random(40, np.float32)
    damage = rng.integers(0, 4, 40)
    ours = paint(boxes, masks, scores, damage, SHAPE, None, DecisionRule(pixel_threshold=0.3))
    likely = masks * scores[:, None, None]
    for image, other in zip(
        ours, rasterize_instances(boxes, likely, scores, damage, SHAPE, 0.3), strict=True
    ):
        np.testing.assert_array_equal(image, other)


@pytest.mark.parametrize(
    ("map_weight", "value", "is_painted"),
    [(0.5, 1.0, True), (0.5, 0.1, False), (1.0, 0.5, True), (1.0, 0.3, False), (0.0, 0.0, True)],
)
def test_a_pixel_mixes_map_and_instance_by_weight(map_weight: float, value: float, is_painted: bool) -> None:
    # The instance brings 0.8 * 0.6 = 0.48; with the maps 0.74, 0.29, 0.5, 0.3, 0.48.
    building_map = drawn((0, 0, 60, 40), value=value)
    damage = painted([[10, 10, 20, 20]], [0.8], building_map, mask=0.6, map_weight=map_weight)
    assert bool(damage[15, 15]) is is_painted


def test_pixels_of_the_map_beyond_the_instance_take_its_class() -> None:
    damage = painted([[10, 10, 20, 20]], [0.8], drawn((8, 8, 26, 22)))
    np.testing.assert_array_equal(damage, drawn((8, 8, 26, 22)) // 255)


def test_pixels_between_two_instances_go_to_the_nearer() -> None:
    boxes = [[10, 10, 20, 20], [40, 10, 50, 20]]
    damage = painted(boxes, [0.8, 0.9], drawn((10, 10, 50, 20)))
    assert damage[15, 10:50].tolist() == [1] * 20 + [2] * 20


def test_pixels_of_the_map_go_to_the_object_of_their_own_region() -> None:
    """The lone region of the right lies nearer to the left instance than to its own."""
    boxes = [[10, 10, 20, 20], [50, 10, 58, 20]]
    damage = painted(boxes, [0.8, 0.9], drawn((10, 10, 20, 20), (22, 10, 58, 20)))
    assert set(damage[15, 22:58].tolist()) == {2}


def test_the_larger_probability_owns_an_overlap_under_a_map() -> None:
    boxes, masks, scores = arrays([[0, 0, 20, 20], [10, 0, 30, 20]], [0.9, 0.6])
    masks[0] *= 0.5  # 0.45 against 0.6, though its score is higher
    owner, _ = owner_map(boxes, masks, scores, SHAPE, drawn((0, 0, 30, 20)), 0.5, OWNER_FLOOR)
    assert owner[5, [5, 15, 25]].tolist() == [0, 1, 1]


def test_a_pixel_where_instances_are_faint_goes_to_the_nearest_sure_one() -> None:
    boxes, masks, scores = arrays([[0, 0, 60, 40], [10, 10, 20, 20]], [0.9, 0.9])
    masks[0] *= 0.1  # 0.09 all over the tile
    masks[0, :, 20:] = 1  # and 0.9 from x = 43 on
    owner, _ = owner_map(boxes, masks, scores, SHAPE, drawn((0, 0, 60, 40)), 0.5, OWNER_FLOOR)
    assert owner[15, [5, 15, 22, 50]].tolist() == [1, 1, 1, 0]


def test_a_region_of_the_map_without_object_is_left_out_of_both_images() -> None:
    damage = painted([[10, 10, 20, 20]], [0.8], drawn((10, 10, 20, 20), (40, 20, 50, 30)))
    assert not damage[:, 30:].any()
    assert (damage > 0).sum() == 100


@pytest.mark.parametrize("building_map", [drawn(), drawn((5, 5, 50, 30)), None], ids=["zero", "full", "none"])
def test_no_instances_give_zero_images(building_map: np.ndarray | None) -> None:
    assert not painted(NONE, [], building_map).any()


def test_a_map_that_is_zero_halves_the_instances() -> None:
    boxes = [[10, 10, 20, 20], [30, 10, 40, 20]]
    damage = painted(boxes, [0.9, 0.7], drawn())
    assert [damage[15, 15], damage[15, 35]] == [1, 0]


def test_a_building_of_one_pixel_is_painted() -> None:
    assert np.argwhere(painted([[7, 3, 8, 4]], [0.9], drawn((7, 3, 8, 4)))).tolist() == [[3, 7]]
    assert np.argwhere(painted([[7, 3, 8, 4]], [0.9], drawn((8, 4, 9, 5)))).tolist() == [[3, 7], [4, 8]]


@pytest.mark.parametrize("box", [[-30, 5, -10, 20], [70, 5, 90, 20], [10, 10, 10, 20]])
def test_an_instance_outside_the_image_or_without_area_owns_nothing(box: Box) -> None:
    assert not painted([box], [0.9], drawn((0, 0, 60, 40))).any()
    beside = painted([box, [20, 20, 30, 30]], [0.9, 0.8], drawn((0, 0, 60, 40)))
    assert (beside == 2).all()


def test_an_instance_across_the_border_is_clipped() -> None:
    damage = painted([[50, 30, 80, 60]], [0.9], drawn((50, 30, 60, 40)))
    np.testing.assert_array_equal(damage, drawn((50, 30, 60, 40)) // 255)


@pytest.mark.parametrize("threshold", [0.02, 0.1, 0.3, 0.6, 0.9])
def test_a_threshold_laid_on_the_owner_map_gives_the_images(threshold: float) -> None:
    rng = np.random.default_rng(2)
    low = rng.uniform(-5, 50, (12, 2))
    boxes = np.concatenate([low, low + rng.uniform(3, 15, (12, 2))], axis=1).astype(np.float32)
    masks, scores = rng.random((12, 28, 28), np.float32), rng.uniform(0.3, 1, 12).astype(np.float32)
    building_map = rng.integers(0, 256, SHAPE, np.uint8)
    damage = rng.integers(0, 4, 12)
    owner, probability = owner_map(
        boxes, masks, scores, SHAPE, building_map, 0.4, min(threshold, OWNER_FLOOR)
    )
    expected = np.where((owner >= 0) & (probability >= threshold), damage[owner] + 1, 0)
    rule = DecisionRule(pixel_threshold=threshold, map_weight=0.4)
    np.testing.assert_array_equal(paint(boxes, masks, scores, damage, SHAPE, building_map, rule)[1], expected)
    assert (owner.dtype, probability.dtype) == (np.int32, np.float32)


def test_strongest_instances_are_those_of_whole_images() -> None:
    """Against the plain way: an image of probabilities for each instance."""
    rng = np.random.default_rng(3)
    low = rng.uniform(-10, 50, (30, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 25, (30, 2))], axis=1).astype(np.float32)
    masks, scores = rng.random((30, 28, 28), np.float32), rng.random(30, np.float32)
    owner, probability = strongest_instances(boxes, masks, scores, SHAPE)
    for threshold in (0.05, 0.3, 0.6):
        likely = masks * scores[:, None, None]
        inside = np.zeros(SHAPE, bool)
        for _, (x0, y0), crop in instance_crops(boxes, likely, SHAPE, threshold):
            inside[y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]] |= crop
        np.testing.assert_array_equal(inside, probability >= threshold)
    for number in range(30):
        alone, own = strongest_instances(
            boxes[number : number + 1], masks[number : number + 1], scores[[number]], SHAPE
        )
        np.testing.assert_allclose(own[owner == number], probability[owner == number], atol=1e-6)
        assert (own <= probability + 1e-6).all()
        assert (alone[own > 0] == 0).all()


def test_of_equal_probabilities_the_first_listed_owns_the_pixel() -> None:
    owner, _ = strongest_instances(*arrays([[5, 5, 15, 15]] * 3, [0.5, 0.7, 0.7]), SHAPE)
    assert owner[10, 10] == 1


@pytest.mark.parametrize(("score", "mask"), [(0.9, 0.0), (-0.0, 1.0), (0.0, 1.0)])
def test_masks_and_scores_of_zero_own_nothing(score: float, mask: float) -> None:
    owner, probability = strongest_instances(*arrays([[5, 5, 15, 15]], [score], mask), SHAPE)
    assert (owner == -1).all()
    assert not probability.any()


@pytest.mark.parametrize(
    ("boxes", "scores", "damage", "building_map", "message"),
    [
        ([[1, 1, 5, 5]], [0.5], [0], drawn()[1:], "expected a building map"),
        ([[1, 1, 5, 5]], [0.5], [0], np.full(SHAPE, np.nan, np.float32), "finite building map"),
        ([[1, 1, 5, 5]], [0.5], [4], drawn(), r"damage 0\.\.3"),
        ([[1, 1, 5, 5]], [np.nan], [0], drawn(), "finite scores"),
        ([[1, 1, np.inf, 5]], [0.5], [0], drawn(), "finite boxes"),
    ],
)
def test_arrays_without_meaning_are_refused(boxes, scores, damage, building_map, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paint(*arrays(boxes, scores), np.array(damage), SHAPE, building_map, DecisionRule())


def test_a_thousand_instances_and_a_map_cost_a_few_images() -> None:
    rng = np.random.default_rng(3)
    centre, half = rng.uniform(0, 1024, (1000, 2)), np.exp(rng.normal(np.log(15), 0.5, (1000, 2)))
    boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    tile = boxes, rng.random((1000, 28, 28), np.float32), rng.random(1000, np.float32)
    building_map = rasterize_instances(*tile, np.zeros(1000, int), (1024, 1024), 0.4)[0] * np.uint8(230)
    start = time.process_time()
    paint(*tile, np.zeros(1000, int), (1024, 1024), building_map, DecisionRule())
    assert time.process_time() - start < 0.6  # 0.08 on one core at rest
    tracemalloc.start()
    paint(*tile, np.zeros(1000, int), (1024, 1024), building_map, DecisionRule())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80 * 1024**2
