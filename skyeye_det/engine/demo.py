"""A model on made-up scenes: generate, perhaps train, predict, score, draw; and a larger scene as a map."""

import argparse
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skyeye_det.data.catalog import register_xbd_split
from skyeye_det.data.coco import convert_split, summary_table
from skyeye_det.data.pairs import find_pairs
from skyeye_det.engine.assessment import run_assessment
from skyeye_det.engine.inference import infer_folder
from skyeye_det.engine.model_files import ModelFiles
from skyeye_det.engine.models import Models, open_models
from skyeye_det.engine.trainer import train
from skyeye_det.evaluation.report_table import format_report
from skyeye_det.evaluation.submission_score import score_submission
from skyeye_det.files import write_bytes
from skyeye_det.released import DEFAULT
from skyeye_det.report.sources import scenes_of_xbd
from skyeye_det.report.visualize import SceneChoice, visualize
from skyeye_det.sample.dataset import DEFAULT_SPLITS, make_sample_xbd
from skyeye_det.scene.compare import compare
from skyeye_det.scene.compare_table import comparison_tables
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.graded_buildings import predicted_buildings, true_buildings
from skyeye_det.scene.made_up import POST, TRUTH, make_scene
from skyeye_det.scene.outputs import GEOPACKAGE, RUN
from skyeye_det.scene.request import AssessmentOptions, open_request
from skyeye_det.scene.vector_file import read_layer
from skyeye_det.text_table import aligned, figure
from skyeye_det.xview2.submission import read_class_png, submission_names, write_submission_pngs

_SIZE, _SEED = 512, 7
_TRAINED, _SHOWN = 60, 8
_SCENE = 1024  # px, one window


def run_demo(output: Path, config_file: Path | None = None) -> str:
    """Runs every step, each taking up what an earlier run of the demo has left.

    Args:
        output: folder for scenes, checkpoints, predictions and gallery.
        config_file: what to train first, on scenes that are not shown; None: the released model predicts.

    Returns:
        The table of figures, also in ``output/score.txt`` and on the gallery's page.
    """
    root = (output / "sample_xbd").resolve()
    with _step("making scenes"):
        if config_file is None:
            make_sample_xbd(root, _SHOWN, _SEED, _SIZE, {"val": 1.0})
        else:
            make_sample_xbd(root, _TRAINED, _SEED, _SIZE, DEFAULT_SPLITS)
    models = open_models(DEFAULT) if config_file is None else _trained(root, config_file, output / "training")
    predictions = output / "predictions"
    with _step("predicting scenes that it was not trained on"):
        infer_folder(models, root / "val", predictions, models.rule("score"))
    with _step("scoring"):
        table = _score(root, predictions, output / "baseline")
        write_bytes(output / "score.txt", table.encode())
    with _step("drawing the gallery"):
        scenes, score_file = scenes_of_xbd(root, "val"), output / "score.txt"
        visualize(scenes, output / "gallery", predictions, choice=SceneChoice(limit=12), scores=score_file)
    return table


def run_scene(output: Path) -> str:
    """Makes a scene in two projections, assesses it with the released model, and compares.

    Args:
        output: folder for ``scene/`` and ``assessment/``; one that is finished is compared only.

    Returns:
        Tables of found, missed and false buildings, and of their grades.
    """
    scene, found = output / "scene", output / "assessment"
    with _step("making a scene in two projections, with a shift, a cloud and missing data"):
        make_scene(scene, _SCENE, _SEED)
    with _step("assessing it"):
        if not (found / RUN).is_file():
            options = AssessmentOptions(pre=[str(scene / "pre")], post=[str(scene / POST)], output=found)
            run_assessment(options, open_request(options))
    with _step("comparing it with the truth"):
        predicted = predicted_buildings(read_layer(found / GEOPACKAGE, BUILDINGS))
        true = read_layer(scene / TRUTH, BUILDINGS).projected(predicted.layer.crs)
        return comparison_tables(compare(predicted, true_buildings(true, "damage"), None, ""))


def _trained(root: Path, config_file: Path, output: Path) -> Models:
    """The config's model, trained on ``sample_xbd_train``; it never sees ``sample_xbd_val``."""
    with _step("converting them to COCO"):
        print(summary_table([convert_split(root, split, root / "annotations") for split in DEFAULT_SPLITS]))
    for split in DEFAULT_SPLITS:
        register_xbd_split(f"sample_xbd_{split}", image_root=root)
    with _step("training"):
        options = {"opts": ["OUTPUT_DIR", str(output)], "resume": True, "eval_only": False}
        train(argparse.Namespace(config_file=str(config_file), **options))
    return Models([ModelFiles(str(output / "config.yaml"), str(output / "model_final.pth"))])


@contextmanager
def _step(name: str) -> Iterator[None]:
    print(f"== {name}", flush=True)
    start = time.monotonic()
    yield
    logging.getLogger("skyeye_det").info("%s: %.0f s", name, time.monotonic() - start)


def _score(root: Path, predictions: Path, baseline: Path) -> str:
    """The report, and the figures beside those of calling every found building undamaged."""
    for pair in find_pairs(root / "val")[0]:
        localization = read_class_png(predictions / submission_names(pair.name)[0])
        write_submission_pngs(baseline, pair.name, localization, localization)
    found, trivial = (
        score_submission(folder, xbd_root=root, splits=["val"]) for folder in (predictions, baseline)
    )
    masks = found["instances"]
    counted = {
        "official score": [report["official"]["score"] for report in (found, trivial)],
        "localization F1": [report["official"]["localization_f1"] for report in (found, trivial)],
        "damage F1, harmonic": [report["official"]["damage_f1"] for report in (found, trivial)],
        "damage F1, macro": [report["overall"]["damage_macro_f1"] for report in (found, trivial)],
    }
    rows = [
        ("on scenes never trained on", "SkyEye", "all no-damage"),
        *((name, *(figure(value, 3) for value in values)) for name, values in counted.items()),
        ("mask AP50, %", figure(masks["AP50"], 1), ""),
        ("recall at IoU 0.5, %", figure(masks["recall50"], 1), ""),
    ]
    return "\n".join([aligned(rows), "", format_report(found), ""])
