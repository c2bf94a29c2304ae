import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tuning_tiles import KINDS, SHAPE, random_instances, random_tile

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.errors import InputError
from skyeye_det.prediction.store import KeptTile, claim_folder, load_tile, save_tile, tile_path

SETTINGS = {"weights": ["a.pth"], "weights_sha256": ["1"], "config_sha256": ["2"], "tiles_sha256": "3"}


@pytest.mark.parametrize("kind", KINDS)
def test_tile_comes_back_as_it_was(kind: str, tmp_path: Path) -> None:
    tile = random_tile(kind, 0)
    save_tile(tile_path(tmp_path, "storm_00000001"), tile)
    back = load_tile(tmp_path / "storm_00000001.npz")
    assert type(back.prediction) is type(tile.prediction)
    for field in dataclasses.fields(tile.prediction):
        expected, found = (getattr(one.prediction, field.name) for one in (tile, back))
        np.testing.assert_array_equal(found, expected, err_msg=field.name, strict=expected is not None)
    for expected, found in zip(tile.truth, back.truth, strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)
    assert back.prediction.shape == SHAPE
    assert [path.name for path in tmp_path.iterdir()] == ["storm_00000001.npz"]


def test_tile_without_instances_comes_back(tmp_path: Path) -> None:
    prediction = random_instances(np.random.default_rng(0), 0, with_map=False)
    truth = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    save_tile(tmp_path / "x.npz", KeptTile(prediction, truth))
    back = load_tile(tmp_path / "x.npz").prediction
    assert back.boxes.shape == (0, 4)
    assert not back.rasterize(DecisionRule())[0].any()


def test_labels_of_another_size_are_refused(tmp_path: Path) -> None:
    tile = random_tile("hybrid", 0)
    other = np.zeros((SHAPE[0], SHAPE[1] + 1), np.uint8)
    with pytest.raises(InputError, match="^x: expected labels for a tile of 90 x 72 px .* found 91 x 72 px"):
        save_tile(tmp_path / "x.npz", KeptTile(tile.prediction, (other, other)))
    assert not list(tmp_path.iterdir())


def test_prediction_that_was_decided_is_not_kept(tmp_path: Path) -> None:
    tile = random_tile("instances", 0)
    with pytest.raises(ValueError, match="before any decision"):
        save_tile(tmp_path / "x.npz", KeptTile(tile.prediction.decided(DecisionRule()), tile.truth))


@pytest.mark.parametrize("damage", ["cut", "text", "other", "missing", "pickle"])
def test_file_that_is_no_tile_is_told_in_a_sentence(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    save_tile(path, random_tile("pixels", 0))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "text":
        path.write_text("no tile")
    elif damage == "other":
        np.savez(path, kind=np.asarray("os.system"), truth=np.zeros(SHAPE, np.uint8))
    elif damage == "pickle":
        np.savez(path, kind=np.array([{}], dtype=object), truth=np.zeros(SHAPE, np.uint8))
    else:
        path.unlink()
    with pytest.raises(InputError, match=r"x\.npz: expected a tile .* delete it and run again"):
        load_tile(path)


def test_folder_is_taken_up_by_the_same_model_alone(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    claim_folder(folder, SETTINGS)
    save_tile(folder / "x.npz", random_tile("pixels", 0))
    claim_folder(folder, SETTINGS)
    claim_folder(folder, SETTINGS | {"weights": ["moved/a.pth"]})
    with pytest.raises(InputError, match=r"another weights_sha256 \(weights \['a.pth'\]\); choose another"):
        claim_folder(folder, SETTINGS | {"weights_sha256": ["9"]})
    with pytest.raises(InputError, match="another config_sha256, tiles_sha256"):
        claim_folder(folder, SETTINGS | {"config_sha256": [], "tiles_sha256": ""})


def test_folder_without_tiles_can_be_claimed_anew(tmp_path: Path) -> None:
    claim_folder(tmp_path, SETTINGS)
    claim_folder(tmp_path, SETTINGS | {"config_sha256": ["9"]})


def test_files_of_unknown_origin_are_not_taken_for_tiles(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", np.zeros(3))
    with pytest.raises(InputError, match=r"tiles\.json: expected it to tell .* choose another --work"):
        claim_folder(tmp_path, SETTINGS)
    (tmp_path / "tiles.json").write_text("[]")
    with pytest.raises(InputError, match="another weights_sha256, config_sha256, tiles_sha256"):
        claim_folder(tmp_path, SETTINGS)
