import itertools

import numpy as np
import pytest

from skyeye_det.errors import InputError
from skyeye_det.prediction.windows import cut_windows


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (100, 300), (256, 1000), (1000, 257)])
def test_windows_cover_an_image_with_overlap(shape: tuple[int, int]) -> None:
    windows = cut_windows(shape, 128, 32)
    seen = np.zeros(shape, int)
    for window in windows:
        window.of(seen)[...] += 1
        assert (window.height, window.width) == (min(shape[0], 128), min(shape[1], 128))
    assert seen.min() >= 1
    columns = sorted({window.x for window in windows})
    assert all(right - left <= 96 for left, right in itertools.pairwise(columns))


def test_an_image_of_one_window_is_not_cut() -> None:
    (window,) = cut_windows((100, 128), 128, 32)
    assert window.edge_distance(np.array([[0, 0, 128, 100]])).tolist() == [np.inf]


def test_only_inner_edges_cut() -> None:
    window = cut_windows((128, 300), 128, 32)[1]
    near = window.edge_distance(np.array([[0, 50, 20, 60], [5, 0, 20, 128], [40, 50, 127, 60]]))
    assert near.tolist() == [0, 5, 1]


@pytest.mark.parametrize(("size", "overlap"), [(32, 0), (128, 65), (128, -1)])
def test_windows_that_make_no_sense_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(InputError, match="--window and --overlap"):
        cut_windows((500, 500), size, overlap)
