import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from skyeye_det.prediction.masks import mask_crops, window_of
from skyeye_det.prediction.merging import merge_predictions
from skyeye_det.prediction.prediction import InstancePrediction, PixelPrediction

SHAPE = (40, 60)
EVEN = (0.25, 0.25, 0.25, 0.25)


def found(
    boxes: list, scores: list, damage: tuple = EVEN, mask: float = 1.0, side: int = 14, building_map=None
) -> InstancePrediction:
    """Instances with flat masks and one damage distribution."""
    count = len(boxes)
    return InstancePrediction(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        masks=np.full((count, side, side), round(mask * 255), np.uint8),
        scores=np.array(scores, np.float32),
        damage_probs=np.tile(np.array(damage, np.float32), (count, 1)),
        is_component=np.zeros(count, bool),
        features=np.ones((count, 3), np.float16),
        shape=SHAPE,
        building_map=building_map,
    )


def grid_tile(count: int, seed: int = 0, shape: tuple[int, int] = (1024, 1024)) -> InstancePrediction:
    """Buildings of about 34 px anywhere in a tile, round, best first."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, shape[::-1], (count, 2))
    half = np.exp(rng.normal(np.log(17), 0.4, (count, 2)))
    rows, columns = np.mgrid[:28, :28] - 13.5
    damage = rng.dirichlet(np.ones(4), count).astype(np.float32)
    return InstancePrediction(
        boxes=np.concatenate([centre - half, centre + half], axis=1).astype(np.float32),
        masks=np.rint(
            255 * np.clip(1.3 - (rows**2 + columns**2) / 220 + rng.normal(0, 0.1, (count, 28, 28)), 0, 1)
        ).astype(np.uint8),
        scores=np.sort(rng.uniform(0.1, 1, count).astype(np.float32))[::-1],
        damage_probs=damage,
        is_component=np.zeros(count, bool),
        features=np.zeros((count, 0), np.float16),
        shape=shape,
        building_map=rng.integers(0, 256, shape, dtype=np.uint8),
    )


def jittered(tile: InstancePrediction, seed: int) -> InstancePrediction:
    """The same buildings as another view would see them."""
    rng = np.random.default_rng(seed)
    count = len(tile.scores)
    return replace(
        tile,
        boxes=(tile.boxes + rng.normal(0, 1, (count, 4))).astype(np.float32),
        scores=np.clip(tile.scores + rng.normal(0, 0.2, count), 0.01, 1).astype(np.float32),
    )


@pytest.mark.parametrize("copies", [1, 3])
def test_identical_predictions_merge_into_the_same(copies: int) -> None:
    tile = grid_tile(40, shape=(256, 300))
    merged = merge_predictions([tile] * copies)
    assert isinstance(merged, InstancePrediction)
    np.testing.assert_allclose(merged.boxes, tile.boxes, rtol=1e-6)
    for name in ("masks", "scores"):
        np.testing.assert_allclose(getattr(merged, name), getattr(tile, name), atol=1e-5)
    np.testing.assert_allclose(merged.damage_probs, tile.damage_probs, atol=2e-3)  # the pool's floor
    np.testing.assert_array_equal(merged.building_map, tile.building_map)
    assert merged.shape == tile.shape
    assert merged.scores.dtype == merged.boxes.dtype == np.float32


def test_what_one_view_of_eight_sees_gets_an_eighth_of_its_score() -> None:
    house, ghost = [2, 2, 14, 12], [30, 20, 44, 34]
    merged = merge_predictions([found([house, ghost], [0.8, 0.9])] + [found([house], [0.8])] * 7)
    assert len(merged.scores) == 2
    np.testing.assert_allclose(merged.scores, [0.8, 0.9 / 8], rtol=1e-6)
    np.testing.assert_allclose(merged.boxes, [house, ghost], rtol=1e-6)


def test_touching_buildings_stay_two() -> None:
    left, right = [2, 2, 14, 12], [14, 2, 26, 12]
    merged = merge_predictions([found([left, right], [0.9, 0.5]), found([right, left], [0.8, 0.6])])
    np.testing.assert_allclose(merged.boxes[np.argsort(merged.boxes[:, 0])], [left, right])
    np.testing.assert_allclose(sorted(merged.scores), [0.65, 0.75], rtol=1e-6)


def test_buildings_whose_boxes_overlap_but_not_their_masks_stay_two() -> None:
    triangle = np.tril(np.full((28, 28), 255, np.uint8))
    box = [[2, 2, 30, 30]]
    lower = replace(found(box, [0.9], side=28), masks=triangle[None])
    upper = replace(found(box, [0.9], side=28), masks=255 - triangle[None])
    assert len(merge_predictions([lower, upper]).scores) == 2
    assert len(merge_predictions([lower, lower]).scores) == 1


def test_a_cluster_takes_one_of_each_view_and_that_of_the_greatest_overlap() -> None:
    near, nearer = [3, 2, 23, 12], [2, 2, 22, 13]
    merged = merge_predictions([found([[2, 2, 22, 12]], [0.9]), found([near, nearer], [0.8, 0.4])])
    assert len(merged.scores) == 2
    np.testing.assert_allclose(merged.scores, [(0.9 + 0.4) / 2, 0.8 / 2], rtol=1e-6)
    np.testing.assert_allclose(merged.boxes[1], near)
    np.testing.assert_allclose(merged.boxes[0], [2, 2, 22, (0.9 * 12 + 0.4 * 13) / 1.3], rtol=1e-6)


def geometric_mean(*rows: tuple[float, ...], weights: tuple[float, ...]) -> np.ndarray:
    mean = np.exp(np.average(np.log(rows), axis=0, weights=weights))
    return mean / mean.sum()


def test_box_mask_and_damage_are_means_weighted_by_score() -> None:
    damage = (0.5, 0.3, 0.1, 0.1), (0.1, 0.1, 0.2, 0.6)
    one = found([[10, 10, 30, 20]], [0.6], damage[0], mask=0.9)
    other = found([[10, 10, 30, 24]], [0.2], damage[1], mask=0.7)
    merged = merge_predictions([one, other])
    assert merged.boxes.tolist() == [[10, 10, 30, 21]]
    np.testing.assert_allclose(merged.scores, [0.4])
    np.testing.assert_allclose(merged.damage_probs, [geometric_mean(*damage, weights=(0.6, 0.2))], rtol=1e-6)
    np.testing.assert_allclose(merged.masks[0, 1:10, 1:-1] / 255, 0.85, atol=3e-3)
    np.testing.assert_allclose(merged.masks[0, -1, 1:-1] / 255, 0.175, atol=3e-3)  # below the first


def test_one_sure_model_does_not_rule_a_class_out() -> None:
    sure, others = (found([[10, 10, 30, 20]], [0.9], damage) for damage in ((1, 0, 0, 0), (0, 0, 1, 0)))
    assert merge_predictions([sure, others, others, others]).damage_probs.argmax() == 2


def test_masks_keep_their_place_in_the_tile() -> None:
    half = np.zeros((1, 20, 20), np.uint8)
    half[:, :, :10] = 255
    seen_whole = replace(found([[10, 10, 30, 30]], [0.9]), masks=half)  # building in x 10..20
    seen_close = found([[10, 10, 20, 30]], [0.9])
    merged = merge_predictions([seen_whole, seen_close])
    (((x0, y0), crop),) = mask_crops(merged.boxes, merged.masks, SHAPE)
    rows, columns = np.nonzero(crop)
    assert (x0 + columns.min(), x0 + columns.max()) == (10, 19)
    assert (y0 + rows.min(), y0 + rows.max()) == (10, 29)


def test_masks_of_two_models_sides_are_resampled_to_the_finer() -> None:
    ramp = np.linspace(0, 255, 28)
    shallow = ramp.reshape(14, 2).mean(1).astype(np.uint8)
    coarse = replace(found([[2, 2, 30, 30]], [0.5]), masks=np.tile(shallow, (1, 14, 1)))
    fine = replace(found([[2, 2, 30, 30]], [0.5]), masks=np.tile(ramp.astype(np.uint8), (1, 28, 1)))
    merged = merge_predictions([coarse, fine])
    assert merged.masks.shape == (1, 28, 28)
    np.testing.assert_allclose(merged.masks[0, 1:-1, 1:-1], fine.masks[0, 1:-1, 1:-1], atol=2)


def test_masks_without_a_sure_pixel_are_compared_by_their_boxes() -> None:
    faint = found([[2, 2, 14, 12]], [0.9], mask=0.4)
    assert len(merge_predictions([faint, faint]).scores) == 1
    assert len(merge_predictions([faint, found([[2, 20, 14, 32]], [0.9], mask=0.4)]).scores) == 2


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [-30, -30, -9, -9]], ids=["no width", "outside"])
def test_instances_that_fill_nothing_and_scores_of_zero_stay_finite(box: list) -> None:
    merged = merge_predictions([found([box], [0.0]), found([box, [2, 2, 14, 12]], [0.3, 0.0])])
    assert len(merged.scores) == 3
    for name in ("boxes", "masks", "scores", "damage_probs"):
        assert np.isfinite(getattr(merged, name)).all()


def test_nothing_found_in_any_view_is_nothing() -> None:
    merged = merge_predictions([found([], [])] * 3)
    assert merged.boxes.shape == (0, 4)
    assert merged.masks.shape == (0, 14, 14)
    assert merged.damage_probs.shape == (0, 4)
    assert merged.scores.shape == merged.is_component.shape == (0,)
    assert merged.building_map is None


@pytest.mark.parametrize("order", [1, -1])
def test_a_view_without_instances_counts_in_the_score(order: int) -> None:
    merged = merge_predictions([found([[2, 2, 14, 12]], [0.8]), found([], [])][::order])
    np.testing.assert_allclose(merged.scores, [0.4])


def test_instances_and_components_of_one_house_are_not_mixed() -> None:
    house = found([[2, 2, 14, 12]] * 2, [0.9, 0.6])
    both = replace(house, is_component=np.array([False, True]))
    merged = merge_predictions([both, both])
    np.testing.assert_allclose(merged.scores, [0.9, 0.6], rtol=1e-6)
    assert merged.is_component.tolist() == [False, True]


def test_views_of_one_model_have_a_mean_feature_vector_and_models_have_none() -> None:
    one = found([[2, 2, 14, 12]], [0.75])
    other = replace(found([[2, 2, 14, 12]], [0.25]), features=np.full((1, 3), 5, np.float16))
    assert merge_predictions([one, other], same_model=True).features.tolist() == [[2, 2, 2]]
    assert merge_predictions([one, other]).features.shape == (1, 0)


def test_maps_are_averaged_and_rounded_once_over_those_that_have_them() -> None:
    maps = [np.full(SHAPE, value, np.uint8) for value in (10, 11, 255, 255)]
    tiles = [found([], [], building_map=one) for one in maps]
    assert (merge_predictions(tiles[:2]).building_map == 11).all()
    assert (merge_predictions(tiles).building_map == 133).all()  # 132.75
    assert (merge_predictions([*tiles[:2], found([], [])]).building_map == 11).all()


def pixels(building: int, damage: tuple[int, ...]) -> PixelPrediction:
    planes = np.array(damage, np.uint8)[:, None, None]
    return PixelPrediction(
        building_map=np.full(SHAPE, building, np.uint8),
        damage_map=np.tile(planes, (1, *SHAPE)),
        shape=SHAPE,
    )


def test_maps_alone_stay_maps() -> None:
    merged = merge_predictions([pixels(200, (255, 0, 0, 0)), pixels(100, (0, 155, 100, 0))])
    assert isinstance(merged, PixelPrediction)
    assert (merged.building_map == 150).all()
    assert merged.damage_map[:, 3, 4].tolist() == [128, 78, 50, 0]
    assert merged.shape == SHAPE


def test_a_map_among_instances_has_the_say_of_one_model() -> None:
    peer = pixels(200, (0, 0, 0, 255))
    peer.damage_map[:, 20:] = np.array([0, 255, 0, 0], np.uint8)[:, None, None]
    boxes, building = [[2, 2, 14, 12], [2, 22, 14, 32]], np.full(SHAPE, 100, np.uint8)
    tile = found(boxes, [0.9, 0.6], (1, 0, 0, 0), building_map=building)
    merged = merge_predictions([tile, peer, tile])
    np.testing.assert_allclose(merged.scores, [0.9, 0.6], rtol=1e-6)
    own, *others = np.where(np.eye(4), 1, 1e-3)[[0, 3, 1]]  # what is ruled out counts as one in a thousand
    expected = [geometric_mean(own, other, weights=(2, 1)) for other in others]
    np.testing.assert_allclose(merged.damage_probs, expected, rtol=5e-3)
    assert (merged.building_map == 133).all()
    np.testing.assert_allclose(merge_predictions([tile, peer]).damage_probs[0, [0, 3]], 0.5, atol=0.02)
    assert merge_predictions([tile, peer, peer]).damage_probs.argmax(axis=1).tolist() == [3, 1]


def test_an_instance_without_pixels_keeps_its_own_damage_beside_a_map() -> None:
    faint = found([[2, 2, 14, 12]], [0.9], (0, 1, 0, 0), mask=0.3)
    merged = merge_predictions([faint, pixels(200, (255, 0, 0, 0))])
    np.testing.assert_allclose(merged.damage_probs, [[0, 1, 0, 0]], atol=4e-3)
    assert merge_predictions([found([], []), pixels(9, (255, 0, 0, 0))]).damage_probs.shape == (0, 4)


def by_whole_images(tiles: list[InstancePrediction]) -> np.ndarray:
    """Sorted scores of the clusters, worked out with an image for each mask and loops."""
    rows = []
    for view, tile in enumerate(tiles):
        painted = np.zeros((len(tile.scores), *tile.shape), bool)
        for image, crop in zip(painted, mask_crops(tile.boxes, tile.masks, tile.shape), strict=True):
            image[window_of(crop)] = crop[1]
        rows += [(float(score), view, mask) for score, mask in zip(tile.scores, painted, strict=True)]
    rows.sort(key=lambda row: -row[0])
    free, sums = list(range(len(rows))), []
    while free:
        score, view, mask = rows[free.pop(0)]
        for other in set(range(len(tiles))) - {view}:
            ious = {
                i: (mask & rows[i][2]).sum() / max((mask | rows[i][2]).sum(), 1)
                for i in free
                if rows[i][1] == other
            }
            best = max(ious, key=lambda i: ious[i], default=None)
            if best is not None and ious[best] >= 0.5:
                score += rows[best][0]
                free.remove(best)
        sums.append(score / len(tiles))
    return np.sort(sums)


def test_clusters_are_those_of_a_comparison_of_whole_images() -> None:
    tile = grid_tile(60, shape=(150, 200))  # crowded: most overlap others
    views = [jittered(tile, seed) for seed in range(4)]
    merged = merge_predictions(views)
    np.testing.assert_allclose(np.sort(merged.scores), by_whole_images(views), rtol=1e-5)
    assert (np.diff(merged.scores) <= 0).all()


def test_memory_is_that_of_two_views_at_a_time() -> None:
    tile = replace(grid_tile(150), building_map=None)
    views = [jittered(tile, seed) for seed in range(8)]
    tracemalloc.start()
    merge_predictions(views)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024**2  # 3.4; the IoUs of all 1,200 instances alone have 11.5
