import numpy as np
import pytest
from scenes import ground, moved

from skyeye_det.scene.shift import REACH, WindowShift, agreed_shift, window_shift

SEEN = np.ones((400, 400), np.bool_)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, -2), (-1.4, 0.6), (20.5, -31)])
def test_a_known_shift_is_found_to_a_third_of_a_pixel(dx: float, dy: float) -> None:
    pre = ground(400, 400)
    found = window_shift(pre, moved(pre, dx, dy), SEEN, (0, 0))
    assert found is not None
    assert (found.dx, found.dy) == (pytest.approx(-dx, abs=0.34), pytest.approx(-dy, abs=0.34))


def test_it_is_found_where_half_of_the_buildings_are_gone_and_tones_differ() -> None:
    pre = ground(400, 400)
    post = moved(pre, 4, 3)
    post[:, :200] = np.random.default_rng(1).integers(60, 160, post[:, :200].shape)
    found = window_shift(pre, (post * 0.6 + 20).astype(np.uint8), SEEN, (0, 0))
    assert found is not None
    assert (found.dx, found.dy) == (pytest.approx(-4, abs=0.5), pytest.approx(-3, abs=0.5))


@pytest.mark.parametrize("kind", ["flat", "unseen", "small", "noise"])
def test_a_window_that_says_nothing_is_none(kind: str) -> None:
    pre, seen = ground(400, 400), SEEN.copy()
    post = pre.copy()
    if kind == "flat":
        post[:] = 90
    elif kind == "unseen":
        seen[:80] = False
    elif kind == "small":
        pre, post, seen = (each[..., : 3 * REACH] for each in (pre, post, seen))
    else:
        post = np.random.default_rng(2).integers(0, 255, post.shape, np.uint8)
    found = window_shift(pre, post, seen, (0, 0))
    assert found is None or kind == "noise"


def test_windows_that_agree_outvote_the_others() -> None:
    good = [WindowShift(0, 0, 2 + 0.1 * k, -1, 0.5) for k in range(-3, 4)]
    bad = [WindowShift(0, 0, 40, 30, 0.1), WindowShift(0, 0, -20, 3, 0.1)]
    found = agreed_shift([*bad, *good])
    assert found.is_applied
    assert found.agreeing == 7
    assert (found.dx, found.dy) == (pytest.approx(2.0), pytest.approx(-1.0))


def test_no_agreement_moves_nothing() -> None:
    found = agreed_shift([WindowShift(0, 0, 12.0 * k, -9.0 * k, 0.2) for k in range(6)])
    assert not found.is_applied
    assert (found.dx, found.dy) == (0, 0)
    none = agreed_shift([])
    assert not none.is_applied
    assert (none.dx, none.dy, none.agreeing) == (0, 0, 0)


def grown(side: int, growth: float = 0.003, noise: float = 0.2) -> list[WindowShift]:
    """Of a square scene whose post image is larger than it should be, with two windows that are wrong."""
    middle, draw = side / 2, np.random.default_rng(3).normal(0, noise, (100, 2))
    places = [(x, y) for y in range(256, side, 512) for x in range(256, side, 512)]
    found = [
        WindowShift(x, y, 4 - growth * (x - middle) + dx, 1 - growth * (y - middle) + dy, 0.5)
        for (x, y), (dx, dy) in zip(places, draw.tolist(), strict=False)
    ]
    return [
        WindowShift(places[0][0], places[0][1], 40, 30, 0.2),
        *found[1:-1],
        WindowShift(700, 300, -33, 9, 0.2),
    ]


def test_a_field_is_found_where_the_post_image_is_scaled() -> None:
    found = agreed_shift(grown(4096))
    assert found.is_applied
    assert found.agreeing == 62
    for x, y in ((0, 0), (2048, 2048), (4096, 0)):
        expected = x - 4 + 0.003 * (x - 2048), y - 1 + 0.003 * (y - 2048)
        assert found.source @ (x, y) == pytest.approx(expected, abs=0.3)
    assert np.median(found.residuals) < 0.5
    assert (found.dx, found.dy) == (pytest.approx(4, abs=0.5), pytest.approx(1, abs=0.5))


@pytest.mark.parametrize("kind", ["still", "few", "one row", "noise"])
def test_a_field_that_windows_do_not_bear_out_is_left(kind: str) -> None:
    windows = grown(4096, 0 if kind == "still" else 0.003)
    if kind == "few":
        windows = windows[9:16]
    elif kind == "one row":
        windows = [each for each in windows if each.y == 256]
    elif kind == "noise":
        windows = grown(4096, 0, noise=30)
    found = agreed_shift(windows)
    assert found.field is None
    assert found.source.is_conformal
