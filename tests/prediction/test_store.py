import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from made_up import map_of, square_prediction

from skyeye_det.errors import InputError
from skyeye_det.prediction.prediction import PixelPrediction, Prediction
from skyeye_det.prediction.store import (
    KeptImage,
    PredictionStore,
    load_prediction,
    save_prediction,
)
from skyeye_det.prediction.visibility import keep_window

IMAGES = (KeptImage("a_00000001", "a.png", 96, 128, "1"), KeptImage("b_00000002", "b.png", 96, 128, "2"))
HYBRID = square_prediction(
    [(3, 4, 30, 40)] * 2, [0.9, 0.5], components=[False, True], building_map=map_of([(3, 4, 30, 40)], 0.7)
)
SEEN = np.ones((2, 96, 128), np.bool_)
PIXELS = PixelPrediction(map_of([(1, 1, 9, 9)], 0.5), np.full((4, 96, 128), 63, np.uint8), (96, 128))


@pytest.mark.parametrize(
    "seen", [HYBRID, replace(HYBRID, building_map=None), PIXELS, square_prediction([], [])]
)
def test_what_is_kept_comes_back_bit_by_bit(tmp_path: Path, seen: Prediction) -> None:
    save_prediction(tmp_path / "x.npz", seen)
    back = load_prediction(tmp_path / "x.npz")
    assert type(back) is type(seen)
    for field in fields(seen):
        one, other = getattr(seen, field.name), getattr(back, field.name)
        np.testing.assert_array_equal(one, other)
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None)


def test_a_store_knows_what_is_missing_and_what_it_is_of(tmp_path: Path) -> None:
    origin = {"weights": ["w.pth"], "weights_sha256": ["1"]}
    store = PredictionStore.create(tmp_path, IMAGES, 1024, 256, origin)
    keep_window(store, IMAGES[0], store.windows(IMAGES[0])[0], HYBRID, SEEN)
    again = PredictionStore.read(tmp_path)
    assert again == store
    assert [bool(again.missing(image)) for image in again.images] == [False, True]
    PredictionStore.create(tmp_path, IMAGES, 1024, 256, origin | {"weights": ["moved.pth"]})
    others = (
        (IMAGES, 512, origin),
        (IMAGES[:1], 1024, origin),
        (IMAGES, 1024, origin | {"weights_sha256": ["2"]}),
    )
    for images, window, other in others:
        with pytest.raises(InputError, match="choose another --output"):
            PredictionStore.create(tmp_path, images, window, 256, other)


def test_what_is_kept_of_a_changed_image_goes_and_the_rest_stays(tmp_path: Path) -> None:
    store = PredictionStore.create(tmp_path, IMAGES, 1024, 256, {"weights": []})
    for image in IMAGES:
        keep_window(store, image, store.windows(image)[0], HYBRID, SEEN)
    changed = (IMAGES[0], replace(IMAGES[1], sha256="3"))
    store = PredictionStore.create(tmp_path, changed, 1024, 256, {"weights": []})
    assert [bool(store.missing(image)) for image in store.images] == [False, True]
    store = PredictionStore.create(tmp_path, changed[:1], 1024, 256, {"weights": []}, {"b_00000002"})
    assert PredictionStore.read(tmp_path).images == changed[:1]


@pytest.mark.parametrize(
    "strange", ["../../victim", "/etc/x", "a/b", "", 7, ["x"], {"scene": 1}, None], ids=str
)
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, strange: object) -> None:
    PredictionStore.create(tmp_path / "in" / "predictions", IMAGES, 1024, 256, {"weights": []})
    path = tmp_path / "in" / "predictions" / "store.json"
    content = json.loads(path.read_text())
    content["images"][0]["scene"] = strange
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="expected the settings of a prediction store"):
        PredictionStore.read(path.parent)


def damaged(**changes: np.ndarray) -> dict[str, np.ndarray]:
    content = {"kind": np.asarray("instances")} | {
        field.name: np.asarray(value)
        for field in fields(HYBRID)
        if (value := getattr(HYBRID, field.name)) is not None
    }
    return content | changes


@pytest.mark.parametrize(
    "content",
    [
        damaged(boxes=np.zeros((1, 4), np.float32)),
        damaged(scores=np.array([np.nan, 1], np.float32)),
        damaged(building_map=np.zeros((5, 5), np.uint8)),
        damaged(kind=np.asarray("code")),
        damaged(masks=np.array([{"a": 1}], object)),
        damaged(extra=np.zeros(3)),
        {},
    ],
)
def test_a_file_of_something_else_is_refused_in_a_sentence(tmp_path: Path, content: dict) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **content)
    with pytest.raises(InputError, match="delete it and predict again"):
        load_prediction(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="delete it and predict again"):
        load_prediction(path)
