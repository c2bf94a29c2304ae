"""What is run on a mutant: the public functions behind the commands, and what they show."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sandbox import Sandbox

from skyeye_det.commands.make_targets import checked_table, made_table
from skyeye_det.data.coco import convert_split, summary_table
from skyeye_det.data.coco_file import read_xbd_json
from skyeye_det.data.conversion import ConversionOptions, convert_xbd
from skyeye_det.data.dataset_check import check_dataset, check_json, check_table
from skyeye_det.evaluation.report_table import format_report
from skyeye_det.evaluation.submission_score import score_submission
from skyeye_det.files import write_json
from skyeye_det.report.gallery import PanelLook
from skyeye_det.report.sources import SceneSource, scenes_of_coco, scenes_of_folder, scenes_of_xbd
from skyeye_det.report.visualize import SceneChoice, visualize
from skyeye_det.xview2.bootstrap import Resampling
from skyeye_det.xview2.submission_check import check_submission, expected_from_images, format_check
from skyeye_det.xview2.targets import check_targets, make_targets

Shown = tuple[str, int]
"""(text that the command prints, number of faults in it)"""


def convert(box: Sandbox) -> Shown:
    """Conversion; what it wrote must be readable as such a file."""
    summary = convert_split(box.root, "train", box.output, workers=1)
    read_xbd_json(summary.path)
    listed = json.loads(summary.faults_path.read_bytes())
    assert len(listed) == len(summary.faults)
    return summary_table([summary]), len(summary.faults)


def convert_strictly(box: Sandbox) -> Shown:
    """Conversion that takes no fault."""
    summary = convert_split(box.root, "train", box.output, strict=True, workers=1)
    return summary_table([summary]), len(summary.faults)


def convert_by_location(box: Sandbox) -> Shown:
    """Conversion of a new split by location."""
    return _split(box, folders=("train",), split_by="location", fractions="train=.5,val=.5")


def convert_by_event(box: Sandbox) -> Shown:
    """Conversion with one part an event."""
    return _split(box, folders=("train",), leave_one_event_out=True)


def convert_by_split_file(box: Sandbox) -> Shown:
    """Conversion of the parts of a split file."""
    return _split(box, split_file=box.root / "annotations" / "split_random.json")


def check_root(box: Sandbox) -> Shown:
    """Check of an xBD root."""
    check = check_dataset(box.root, workers=1)
    write_json(box.output / "check.json", check_json(check))
    return check_table(check), len(check.faults)


def make_all_targets(box: Sandbox) -> Shown:
    """Targets under the scorer's names."""
    made = make_targets(box.root, "train", workers=1, overwrite=True, scorer_folder=box.output)
    return made_table([made]), len(made.left_out) + sum(made.mended.values())


def make_missing_targets(box: Sandbox) -> Shown:
    """Targets of the pairs that have none, beside the others."""
    made = make_targets(box.root, "train", workers=1)
    return made_table([made]), len(made.left_out) + sum(made.mended.values())


def compare_targets(box: Sandbox) -> Shown:
    """Comparison of targets with labels."""
    checked = check_targets(box.root, "train", workers=1)
    return checked_table([checked]), len(checked.differences)


def score_against_targets(box: Sandbox) -> Shown:
    """Score against target PNGs."""
    return _scored(box, box.results, targets=box.root / "train")


def score_against_labels(box: Sandbox) -> Shown:
    """Score against labels, of buildings too."""
    return _scored(box, box.results, xbd_root=box.root, splits=["train"])


def score_numbered(box: Sandbox) -> Shown:
    """Score of numbered predictions."""
    return _scored(box, box.numbered, targets=box.root / "train")


def check_named(box: Sandbox) -> Shown:
    """Check of a submission against the images."""
    expected = expected_from_images(box.root / "train" / "images")
    check = check_submission(box.results, expected)
    return format_check(check), len(check.findings)


def check_numbered(box: Sandbox) -> Shown:
    """Check of a numbered submission against the images."""
    check = check_submission(box.numbered, expected_from_images(box.root))
    write_json(box.output / "check.json", asdict(check))
    return format_check(check), len(check.findings)


def read_annotations(box: Sandbox) -> Shown:
    """Reading a converted split."""
    images, buildings = read_xbd_json(box.root / "annotations" / "xbd_train.json")
    return f"{len(images)} {len(buildings)}", 0


def draw_labels(box: Sandbox) -> Shown:
    """Pictures of a split."""
    return _drawn(box, scenes_of_xbd(box.root, "train"))


def draw_annotations(box: Sandbox) -> Shown:
    """Pictures of a converted split."""
    return _drawn(box, scenes_of_coco(box.root / "annotations" / "xbd_train.json", box.root))


def draw_results(box: Sandbox) -> Shown:
    """Pictures of results."""
    return _drawn(box, scenes_of_folder(box.root / "train" / "images"), box.results)


def draw_numbered(box: Sandbox) -> Shown:
    """Pictures of numbered predictions."""
    return _drawn(box, scenes_of_folder(box.root / "train" / "images"), box.numbered)


def output_of(step: str, box: Sandbox) -> Path:
    """Folder that a step may write to."""
    return box.root / "train" / "targets" if step == "make_missing_targets" else box.output


def _split(box: Sandbox, **options: Any) -> Shown:
    report = convert_xbd(box.root, ConversionOptions(output=box.output, workers=1, **options))
    for summary in report.summaries:
        json.loads(summary.path.read_bytes())
    return str(report), sum(len(summary.faults) for summary in report.summaries)


def _scored(box: Sandbox, predictions: Path, **truth: Any) -> Shown:
    report = score_submission(predictions, workers=1, resampling=Resampling(20), **truth)
    write_json(box.output / "score.json", report)
    return format_report(report), 0


def _drawn(box: Sandbox, scenes: dict[str, SceneSource], predictions: Path | None = None) -> Shown:
    choice, look = SceneChoice(limit=PICTURES), PanelLook(zoom=1)
    return str(visualize(scenes, box.output, predictions, choice=choice, look=look)), 0


PICTURES = 4
STEPS: dict[str, Callable[[Sandbox], Shown]] = {
    step.__name__: step
    for step in (
        convert,
        convert_strictly,
        convert_by_location,
        convert_by_event,
        convert_by_split_file,
        check_root,
        make_all_targets,
        make_missing_targets,
        compare_targets,
        score_against_targets,
        score_against_labels,
        score_numbered,
        check_named,
        check_numbered,
        read_annotations,
        draw_labels,
        draw_annotations,
        draw_results,
        draw_numbered,
    )
}
_READ_LABELS = ("convert", "convert_strictly", "convert_by_location", "convert_by_event", "check_root")
_NEED_LABELS = ("make_all_targets", "score_against_labels", "draw_labels", "compare_targets")
STEPS_OF_ROLE = {
    "label": (*_READ_LABELS, *_NEED_LABELS, "convert", "check_root"),
    "image": (*_READ_LABELS, *_NEED_LABELS, "check_named"),
    "target": ("score_against_targets", "compare_targets", "make_missing_targets", "check_root"),
    "COCO file": ("read_annotations", "draw_annotations"),
    "split file": ("convert_by_split_file",),
    "prediction": ("score_against_targets", "score_against_labels", "check_named"),
    "instances": ("draw_results", "score_against_labels"),
    "numbered prediction": ("score_numbered", "check_numbered", "draw_numbered"),
    "numbering": ("score_numbered", "check_numbered", "draw_numbered"),
}
