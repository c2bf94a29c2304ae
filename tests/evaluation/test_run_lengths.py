import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from skyeye_det.evaluation.run_lengths import mask_area

SHAPE = (37, 23)


def encoded(mask: np.ndarray) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def random_mask(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random(SHAPE) < rng.choice([0, 0.01, 0.3, 0.99, 1])


@pytest.mark.parametrize("seed", range(40))
def test_area_is_that_of_pycocotools(seed: int) -> None:
    mask = random_mask(seed)
    assert mask_area(encoded(mask), SHAPE) == mask.sum()


def test_runs_of_a_large_image_are_read() -> None:
    mask = np.zeros((3000, 3000), np.uint8)
    mask[2999, 2990:] = 1
    assert mask_area(encoded(mask), (3000, 3000)) == 10


GOOD = encoded(random_mask(2))


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (None, "no compressed run lengths"),
        ({}, "no compressed run lengths"),
        ({"size": list(SHAPE), "counts": [3, 4]}, "no compressed run lengths"),
        ({"size": [23, 37], "counts": GOOD["counts"]}, r"size \[23, 37\] instead of \[37, 23\]"),
        ({"counts": GOOD["counts"]}, "size None"),
        ({"size": list(SHAPE), "counts": ""}, "break off"),
        ({"size": list(SHAPE), "counts": "é"}, "characters"),
        ({"size": list(SHAPE), "counts": "0 1"}, "characters"),
        ({"size": list(SHAPE), "counts": "0p1"}, "characters"),
        ({"size": list(SHAPE), "counts": "1o"}, "break off"),
        ({"size": list(SHAPE), "counts": "ooooooo0"}, "characters"),
        ({"size": list(SHAPE), "counts": "o"}, "break off"),
        ({"size": list(SHAPE), "counts": "11"}, "do not add up"),
        ({"size": list(SHAPE), "counts": "1O"}, "fewer than 0"),
        ({"size": list(SHAPE), "counts": "10cj0"}, "a run of no pixels"),
    ],
)
def test_what_is_no_mask_of_the_image_is_refused(mask: object, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        mask_area(mask, SHAPE)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 50), st.integers(0, 200), st.text(min_size=0, max_size=3))
def test_damaged_text_is_refused_or_still_a_mask_of_the_image(seed: int, place: int, text: str) -> None:
    whole = encoded(random_mask(seed))["counts"]
    place %= len(whole) + 1
    mask = {"size": list(SHAPE), "counts": whole[:place] + text + whole[place + 1 :]}
    try:
        area = mask_area(mask, SHAPE)
    except ValueError:
        return
    assert area == int(coco_mask.decode(mask).sum()) == int(coco_mask.area(mask))
