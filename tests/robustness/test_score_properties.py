"""What must hold for every score."""

import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_strategies import DrawnScene, quick, scenes, write_scene

from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.targets import scene_targets
from skyeye_det.data.xbd import read_scene
from skyeye_det.evaluation.submission_score import score_submission
from skyeye_det.xview2.score import PixelCounts, count_pixels
from skyeye_det.xview2.submission import number_scenes, write_numbering, write_submission_pngs

# The official formula adds 1e-6 to every F1: a perfect damage F1 comes out as 1.000001.
CLOSE = 2e-6
Images = tuple[np.ndarray, np.ndarray]

images = st.builds(
    lambda seed, share: _noise(np.random.default_rng(seed), share), st.integers(0, 2**32), st.floats(0, 1)
)
few_scenes = st.lists(scenes(), min_size=1, max_size=3)


def _noise(rng: np.random.Generator, share: float) -> Images:
    damage = rng.integers(0, 5, (16, 16)).astype(np.uint8)
    return (rng.random((16, 16)) < share).astype(np.uint8), damage


def write_all(root: Path, drawn: list[DrawnScene], names: list[str]) -> dict[str, Images]:
    """Writes scenes and gives their true images by name."""
    for name, scene in zip(names, drawn, strict=True):
        write_scene(root, scene, name)
    read = [read_scene(files)[0] for files in find_scenes(root, "train")[0]]
    return {
        scene.name: scene_targets(scene.buildings, (scene.height, scene.width)) for scene in read if scene
    }


def same(one: object, other: object) -> bool:
    """Equal, NaN to NaN too."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@settings(quick, max_examples=10)
@given(few_scenes)
def test_truth_scores_one_against_itself(drawn: list[DrawnScene]) -> None:
    names = [f"flood_{number:08d}" for number in range(len(drawn))]
    with tempfile.TemporaryDirectory() as folder:
        root, predictions = Path(folder, "root"), Path(folder, "predictions")
        true = write_all(root, drawn, names)
        for name, (localization, damage) in true.items():
            # A post outline may leave its pre outline; damage counts inside localization alone.
            write_submission_pngs(predictions, name, localization | (damage > 0), damage)
        report = score_submission(predictions, xbd_root=root)
        wider = any((damage[localization == 0] > 0).any() for localization, damage in true.values())
    overall, official = report["overall"], report["official"]
    graded = {value for _, damage in true.values() for value in np.unique(damage).tolist()} - {0}
    for value, row in enumerate(overall["damage"].values(), start=1):
        assert row["f1"] == 1 if value in graded else math.isnan(row["f1"])
    if not wider and any(localization.any() for localization, _ in true.values()):
        assert overall["localization"]["f1"] == 1
        assert overall["score"] == pytest.approx(1, abs=CLOSE) if graded else math.isnan(overall["score"])
        if len(graded) == 4:
            assert official["score"] == pytest.approx(1, abs=CLOSE)


@quick
@given(st.lists(st.tuples(images, images), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_score_is_of_the_pooled_pixels_in_any_order(
    tiles: list[tuple[Images, Images]], random: object
) -> None:
    counts = [count_pixels(*found, *true) for found, true in tiles]
    shuffled = list(counts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    pooled = [
        np.concatenate(images) for images in zip(*((*found, *true) for found, true in tiles), strict=True)
    ]
    reports = [PixelCounts.total(counts), PixelCounts.total(shuffled), count_pixels(*pooled)]
    assert same(reports[0].score(), reports[1].score())
    assert same(reports[0].score(), reports[2].score())
    assert same(reports[0].report(), reports[2].report())


@quick
@given(images, images)
def test_every_score_lies_in_0_to_1(found: Images, true: Images) -> None:
    counts = count_pixels(*found, *true)
    assert all(0 <= value <= 1 + CLOSE for value in counts.score().values())
    assert (counts.tp + counts.fn)[0] == np.count_nonzero(true[0])
    assert (counts.tp + counts.fn)[1:].tolist() == [
        np.count_nonzero(true[1] == value) for value in range(1, 5)
    ]


@settings(quick, max_examples=6)
@given(few_scenes, st.integers(0, 2**32))
def test_score_does_not_depend_on_names_numbers_or_order(drawn: list[DrawnScene], seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"flood_{number:08d}" for number in range(len(drawn))]
    with tempfile.TemporaryDirectory() as folder:
        root, named, numbered = (Path(folder, name) for name in ("root", "named", "numbered"))
        true = write_all(root, drawn, names)
        order = rng.permutation(names).tolist()
        numbering = number_scenes(order)
        renamed = write_all(Path(folder, "renamed"), list(reversed(drawn)), names)
        other = dict(zip(reversed(names), renamed, strict=True))
        for name in order:
            shape = true[name][0].shape
            found = rng.integers(0, 2, shape, np.uint8), rng.integers(0, 5, shape, np.uint8)
            write_submission_pngs(named, name, *found)
            write_submission_pngs(numbered, numbering[name], *found)
            write_submission_pngs(Path(folder, "other"), other[name], *found)
        write_numbering(numbered, numbering)
        first = score_submission(named, xbd_root=root)
        assert same(score_submission(numbered, xbd_root=root), first)
        again = score_submission(Path(folder, "other"), xbd_root=Path(folder, "renamed"))
        assert same(again["official"], first["official"])
        assert same(again["overall"], first["overall"])
