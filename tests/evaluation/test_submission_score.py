import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from command_runs import run
from small_xbd import square, write_pair

from skyeye_det.errors import InputError
from skyeye_det.evaluation.buildings import BuildingCounts
from skyeye_det.evaluation.instance_metrics import precision_and_recall
from skyeye_det.evaluation.report_table import format_report
from skyeye_det.evaluation.submission_score import NO_BUILDINGS, score_intervals, score_submission
from skyeye_det.xview2.bootstrap import Resampling
from skyeye_det.xview2.score import PixelCounts, count_pixels
from skyeye_det.xview2.submission import (
    encode_class_png,
    number_scenes,
    write_numbering,
    write_submission_pngs,
)

SCENES = ("palu-tsunami_00000003", "palu-tsunami_00000004", "socal-fire_00000001")
ANONYMOUS = ("test_00000", "test_00001", "test_00002")

Planes = tuple[np.ndarray, np.ndarray]


def tile(seed: int, grades: tuple[int, ...] = (1, 2, 3, 4)) -> Planes:
    rng = np.random.default_rng(seed)
    localization = np.zeros((40, 50), np.uint8)
    for x, y in rng.integers(0, 40, (6, 2)):
        localization[y : y + 8, x : x + 8] = 1
    damage = np.repeat(rng.choice([0, *grades], (40, 10)), 5, axis=1).astype(np.uint8)
    return localization, localization * damage


TRUTH = [tile(1), tile(2, (1, 2)), tile(3)]
GUESS = [tile(4), tile(5), (np.zeros((40, 50), np.uint8),) * 2]


def expected() -> dict[str, float]:
    return PixelCounts.total(count_pixels(*g, *t) for g, t in zip(GUESS, TRUTH, strict=True)).score()


def write_targets(folder: Path, scenes: tuple[str, ...] = SCENES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for scene, planes in zip(scenes, TRUTH, strict=True):
        if scene.startswith("test_"):
            names = [f"test_{kind}_{scene[5:]}_target.png" for kind in ("localization", "damage")]
        else:
            names = [f"{scene}_{phase}_disaster_target.png" for phase in ("pre", "post")]
        for name, plane in zip(names, planes, strict=True):
            (folder / name).write_bytes(encode_class_png(plane))
    return folder


def write_predictions(folder: Path, scenes: tuple[str, ...] = SCENES) -> Path:
    for scene, planes in zip(scenes, GUESS, strict=True):
        write_submission_pngs(folder, scene, *planes)
    return folder


def test_download_names_and_scorer_names_give_the_same_score(tmp_path: Path) -> None:
    write_submission_pngs(tmp_path / "a", "other_00000001", *GUESS[0])
    named = score_submission(write_predictions(tmp_path / "a"), write_targets(tmp_path / "b"))
    scorer = score_submission(
        write_predictions(tmp_path / "c", ANONYMOUS), write_targets(tmp_path / "d", ANONYMOUS)
    )
    assert named["official"] == scorer["official"] == expected()
    assert (named["tiles"], named["tiles_without_target"]) == (3, 1)
    assert named["buildings"] is named["instances"] is named["events"]["socal-fire"]["buildings"] is None
    assert named["notes"] == [NO_BUILDINGS]
    assert list(scorer["events"]) == ["anonymous"]


def test_numbered_predictions_find_their_scenes_by_the_table(tmp_path: Path) -> None:
    numbering = number_scenes(SCENES)
    write_numbering(tmp_path / "p", numbering)
    write_predictions(tmp_path / "p", tuple(numbering[scene] for scene in SCENES))
    report = score_submission(tmp_path / "p", write_targets(tmp_path / "t"))
    assert report["official"] == expected()
    assert set(report["events"]) == {"palu-tsunami", "socal-fire"}


def test_numbered_predictions_without_their_table_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"6 files are missing.*need their numbering.csv"):
        score_submission(write_predictions(tmp_path / "p", ANONYMOUS), write_targets(tmp_path / "t"))


def test_a_scene_under_both_of_its_names_is_refused(tmp_path: Path) -> None:
    write_numbering(tmp_path / "p", number_scenes(SCENES))
    write_predictions(write_predictions(tmp_path / "p"), ANONYMOUS)
    with pytest.raises(InputError, match="is there twice"):
        score_submission(tmp_path / "p", write_targets(tmp_path / "t"))


def test_targets_are_found_in_an_xbd_root_and_chosen_by_split(tmp_path: Path) -> None:
    write_targets(tmp_path / "xbd" / "test" / "targets")
    write_targets(tmp_path / "xbd" / "hold" / "targets")
    predictions = write_predictions(tmp_path / "p")
    with pytest.raises(InputError, match=r"the same target is in .*name one .*--splits"):
        score_submission(predictions, tmp_path / "xbd")
    assert score_submission(predictions, tmp_path / "xbd", splits=["hold"])["official"] == expected()
    assert score_submission(predictions, tmp_path / "xbd" / "test")["official"] == expected()
    with pytest.raises(InputError, match="found none of nope"):
        score_submission(predictions, tmp_path / "xbd", splits=["hold", "nope"])


def test_events_are_scored_apart_and_an_absent_class_is_not_defined(tmp_path: Path) -> None:
    two_grades = tile(2, (1, 2))
    (tmp_path / "t").mkdir()
    for phase, plane in zip(("pre", "post"), two_grades, strict=True):
        path = tmp_path / "t" / f"nepal-flooding_00000001_{phase}_disaster_target.png"
        path.write_bytes(encode_class_png(plane))
    write_targets(tmp_path / "t")
    write_submission_pngs(tmp_path / "p", "nepal-flooding_00000001", *two_grades)
    report = score_submission(write_predictions(tmp_path / "p"), tmp_path / "t")
    nepal = report["events"]["nepal-flooding"]
    assert nepal["tiles"] == 1
    assert math.isnan(nepal["damage"]["destroyed"]["f1"])
    assert nepal["absent_classes"] == ["major-damage", "destroyed"]
    assert nepal["score"] == pytest.approx(1, abs=1e-5)
    assert report["events"]["palu-tsunami"]["tiles"] == 2
    counts = count_pixels(*GUESS[2], *TRUTH[2])
    assert report["events"]["socal-fire"]["score"] == counts.report()["score"]


def test_missing_predictions_are_counted_and_named(tmp_path: Path) -> None:
    predictions = write_predictions(tmp_path / "p")
    for path in predictions.glob("palu*"):
        path.unlink()
    with pytest.raises(
        InputError,
        match=r"3 tiles, 4 files are missing: palu-tsunami_00000003_local.* and 1 more; .*--splits",
    ):
        score_submission(predictions, write_targets(tmp_path / "t"))


def test_faulty_prediction_is_named(tmp_path: Path) -> None:
    predictions, targets = write_predictions(tmp_path / "p"), write_targets(tmp_path / "t")
    for path in (
        predictions / f"{SCENES[1]}_damage_prediction.png",
        targets / f"{SCENES[0]}_post_disaster_target.png",
    ):
        path.write_bytes(encode_class_png(np.zeros((50, 40), np.uint8)))
        with pytest.raises(InputError, match=f"{path.name}: expected 50 x 40 px, found 40 x 50"):
            score_submission(predictions, targets)


def test_lone_target_is_named(tmp_path: Path) -> None:
    targets = write_targets(tmp_path / "t")
    (targets / f"{SCENES[0]}_pre_disaster_target.png").unlink()
    with pytest.raises(
        InputError, match=r"00000003_post_disaster_target.png: expected the localization target"
    ):
        score_submission(write_predictions(tmp_path / "p"), targets)


def test_exactly_one_source_of_truth_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of --targets and --xbd-root"):
        score_submission(tmp_path)
    with pytest.raises(InputError, match="one of --targets and --xbd-root"):
        score_submission(tmp_path, tmp_path, tmp_path)
    predictions, targets, none = (tmp_path / name for name in ("p", "t", "none"))
    write_predictions(predictions), write_targets(targets)
    for folders in ((none, targets), (predictions, none)):
        with pytest.raises(InputError, match="none: expected a folder"):
            score_submission(*folders)


def write_labels(root: Path, split: str, scene: str, subtype: str) -> None:
    write_pair(root, split, scene, [(square(10, 10, 9), subtype)], (40, 50))


def test_labels_are_the_truth_by_the_official_fill_rule(tmp_path: Path) -> None:
    write_labels(tmp_path / "xbd", "train", "a-flood_00000001", "minor-damage")
    write_labels(tmp_path / "xbd", "val", "b-fire_00000002", "un-classified")
    plane = np.zeros((40, 50), np.uint8)
    plane[10:20, 10:20] = 1  # the pixels under the outline are filled too
    write_submission_pngs(tmp_path / "p", "a-flood_00000001", plane, plane * 2)
    write_submission_pngs(tmp_path / "p", "b-fire_00000002", plane, plane * 4)
    report = score_submission(tmp_path / "p", xbd_root=tmp_path / "xbd")
    assert report["tiles"] == 2
    assert report["official"]["localization_f1"] == 1
    assert report["official"]["damage_f1_minor_damage"] == 1
    assert report["overall"]["absent_classes"] == ["no-damage", "major-damage", "destroyed"]
    assert report["events"]["b-fire"]["damage"]["destroyed"]["fp"] == 0
    assert score_submission(tmp_path / "p", xbd_root=tmp_path / "xbd", splits=["val"])["tiles"] == 1


def test_labels_with_a_hole_in_the_split_are_refused(tmp_path: Path) -> None:
    write_labels(tmp_path / "xbd", "train", "a-flood_00000001", "minor-damage")
    write_labels(tmp_path / "xbd", "train", "a-flood_00000002", "minor-damage")
    (tmp_path / "xbd/train/labels/a-flood_00000002_post_disaster.json").unlink()
    with pytest.raises(InputError, match=r"a-flood_00000002.* a score needs every tile"):
        score_submission(tmp_path, xbd_root=tmp_path / "xbd")
    with pytest.raises(InputError, match="expected an xBD root with <split>/images and <split>/labels"):
        score_submission(tmp_path, xbd_root=tmp_path / "elsewhere")


def report_of(counts: PixelCounts, extra: int = 0, tiles: int = 1, buildings: bool = False) -> dict:
    pixels = np.array([(counts.tp, counts.fp, counts.fn)] * tiles)
    settings = {"source": "instances", "least_iou": 0.5}
    finding = settings | BuildingCounts.total([]).report() if buildings else None
    found = np.zeros((tiles, 3), np.int64) if buildings else None
    return {
        "official": counts.score(),
        "overall": counts.report(),
        "buildings": finding,
        "instances": precision_and_recall([]) if buildings else None,
        "intervals": score_intervals(pixels, found, Resampling()),
        "resampling": asdict(Resampling()),
        "events": {"palu-tsunami": {"tiles": 1, **counts.report(), "buildings": finding}},
        "tiles": tiles,
        "tiles_without_target": extra,
        "notes": [] if buildings else [NO_BUILDINGS],
    }


def test_table_reads_na_where_a_class_is_absent_and_says_what_the_official_score_does() -> None:
    target = np.array([[1, 1, 2, 2]], np.uint8)
    text = format_report(report_of(count_pixels(target, target, target, target), extra=2))
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines() if line}
    assert rows["minor-damage"][1:] == ["1.0000", "1.0000", "1.0000", "n/a"]
    assert rows["destroyed"][1:] == ["n/a", "n/a", "n/a", "n/a"]
    assert rows["palu-tsunami"] == [
        *("palu-tsunami", "1", "1.0000", "1.0000", "1.0000", "1.0000", "1.0000", "1.0000", "n/a", "n/a")
    ]
    assert rows["official score"][2] == "0.3000"
    assert "the targets have no major-damage, destroyed: the official score counts 0 for it" in text
    assert "2 predicted tiles have no target" in text
    assert NO_BUILDINGS in text
    assert "building recall" not in text


def test_table_of_nothing_is_all_na() -> None:
    text = format_report(report_of(PixelCounts.zero(), buildings=True))
    assert "nan" not in text
    assert text.count("n/a") > 60


def test_interval_stands_beside_its_figure_from_two_tiles_on() -> None:
    target = np.array([[1, 2, 3, 4]], np.uint8)
    counts = count_pixels(target, target, target, target)
    one, two = (format_report(report_of(counts, tiles=tiles)) for tiles in (1, 2))
    assert "official score   1.0000   90 % interval n/a   (1 tiles)" in one
    assert "official score   1.0000   90 % interval 1.0000 to 1.0000   (2 tiles)" in two
    assert "1,000 draws of as many tiles, seed 0" in two


def test_command_prints_the_table_and_writes_the_report(tmp_path: Path) -> None:
    localization, damage = np.eye(8, dtype=np.uint8), np.eye(8, dtype=np.uint8) * 3
    write_submission_pngs(tmp_path / "p", "test_00000", localization, damage)
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "test_localization_00000_target.png").write_bytes(encode_class_png(localization))
    (tmp_path / "t" / "test_damage_00000_target.png").write_bytes(encode_class_png(damage))
    done = run(
        "score_submission",
        "--predictions",
        tmp_path / "p",
        "--targets",
        tmp_path / "t",
        "--json",
        tmp_path / "score.json",
    )
    assert done.returncode == 0, done.stderr
    assert "official score   0.3000   90 % interval n/a   (1 tiles)" in done.stdout
    written = json.loads((tmp_path / "score.json").read_text())
    assert written["official"]["damage_f1_major_damage"] == 1
    assert written["events"]["anonymous"]["damage"]["major-damage"]["tp"] == 8


@pytest.mark.parametrize("options", [{"draws": -1}, {"draws": 10**9}, {"seed": -1}])
def test_option_without_meaning_is_refused(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="--draws and --seed"):
        score_submission(tmp_path, tmp_path, resampling=Resampling(**options))


def test_wrong_input_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = run("score_submission", "--predictions", tmp_path / "none", "--targets", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
