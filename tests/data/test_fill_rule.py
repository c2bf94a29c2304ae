import time

import cv2
import fill_outlines
import numpy as np
import pytest

from skyeye_det.data import fill_rule
from skyeye_det.data.fill_rule import fill_rings, whole_pixels
from skyeye_det.errors import MissingDependencyError


def filled(shape: tuple[int, int], *vertices: tuple[float, float]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    fill_rings(mask, [whole_pixels(np.array(vertices, np.float64))], 1)
    return mask


def test_fills_of_the_fixed_outlines_have_the_golden_hash() -> None:
    assert fill_outlines.hash_of_fills() == fill_outlines.GOLDEN


def test_golden_hash_sees_what_plain_opencv_of_today_does_at_the_border() -> None:
    assert fill_outlines.hash_of_fills(fill_outlines.fill_by_opencv) != fill_outlines.GOLDEN


@pytest.mark.parametrize(
    ("value", "pixel"), [(0.5, 1), (1.5, 2), (2.5, 3), (-0.5, 0), (-1.5, -1), (2.4999999, 2), (-0.2, 0)]
)
def test_halves_are_rounded_up(value: float, pixel: int) -> None:
    assert whole_pixels(np.array([[value, 7.0]])).tolist() == [[pixel, 7]]


def test_half_that_np_round_takes_down_moves_the_official_edge() -> None:
    # uid d8eeb923 of mexico-earthquake_00000005: the official image begins one pixel further right.
    mask = filled((12, 12), (2.5, 2), (6, 2), (6, 8), (2.5, 8))
    assert np.flatnonzero(mask.any(axis=0)).tolist() == [3, 4, 5, 6]


def test_outline_over_the_border_is_cut_as_the_official_images_have_it() -> None:
    # uid 7c2083a3 of socal-fire_00000031, moved to a tile of 32 px; 4.11 and later fill one pixel more.
    vertices = [(32, 60), (8, 43), (7, 39), (24, 10), (28, 9), (32, 13)]
    official, today = filled((70, 32), *vertices), np.zeros((70, 32), np.uint8)
    cv2.fillPoly(today, [np.array(vertices, np.int32)], 1)
    assert np.argwhere(official != today).tolist() == [[58, 29]]
    assert (official[58, 29], today[58, 29]) == (0, 1)


def test_outline_that_surrounds_the_image_fills_it_and_one_beside_it_nothing() -> None:
    assert filled((5, 7), (-9, -9), (40, -9), (40, 40), (-9, 40)).all()
    assert not filled((5, 7), (-9, 0), (-2, 0), (-2, 4)).any()
    assert not filled((5, 7), (0, 5), (6, 5), (3, 9)).any()
    assert not filled((0, 7), (0, 0), (6, 0), (3, 3)).size


def test_hole_that_reaches_over_the_border_stays_open() -> None:
    mask = np.zeros((9, 9), np.uint8)
    rings = [[(-3, -3), (12, -3), (12, 12), (-3, 12)], [(4, 4), (15, 4), (15, 15), (4, 15)]]
    fill_rings(mask, [np.array(ring, np.int32) for ring in rings], 3)
    assert not mask[5:, 5:].any()
    assert (mask[:5] == 3).all()
    assert (mask[:, :5] == 3).all()


def test_outline_of_many_vertices_beyond_the_border_is_worked_out_in_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vertices = np.random.default_rng(0).uniform(-40, 100, (400, 2))
    whole = filled((60, 60), *map(tuple, vertices))
    monkeypatch.setattr(fill_rule, "_CROSSINGS", 1)
    np.testing.assert_array_equal(filled((60, 60), *map(tuple, vertices)), whole)


def test_outline_of_many_vertices_inside_the_image_has_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fill_rule, "MANY_VERTICES", 0)
    assert fill_outlines.hash_of_fills() == fill_outlines.GOLDEN


def test_hostile_outline_takes_no_time_that_grows_with_its_square() -> None:
    x = np.random.default_rng(0).integers(0, 200, 40000)
    zigzag = np.stack([x, np.where(np.arange(x.size) % 2, 2, 197)], axis=1).astype(np.int32)
    mask, before = np.zeros((200, 200), np.uint8), time.process_time()
    fill_rings(mask, [zigzag], 1)
    assert time.process_time() - before < 3  # cv2.fillPoly: half a minute
    assert mask[2:198].mean() > 0.9


def test_opencv_of_another_fill_rule_is_refused_at_the_border_too(monkeypatch: pytest.MonkeyPatch) -> None:
    fill_rule.check_opencv.cache_clear()
    monkeypatch.setattr(cv2, "fillPoly", lambda *arguments: None)
    for vertices in [(0, 0), (2, 0), (2, 2)], [(-4, 0), (2, 0), (2, 2)]:
        with pytest.raises(MissingDependencyError, match="pip install"):
            filled((5, 5), *vertices)
    monkeypatch.undo()
    fill_rule.check_opencv.cache_clear()
    assert filled((5, 5), (0, 0), (2, 0), (2, 2)).any()
