"""What the tests of faults and kills run on: a sample root, scenes repeated under new names, commands."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.targets import scene_targets
from skyeye_det.data.xbd import read_scene
from skyeye_det.sample.dataset import make_sample_xbd
from skyeye_det.xview2.submission import write_submission_pngs

REPOSITORY = Path(__file__).resolve().parents[2]
DRAWN, SIZE = 8, 128


@dataclass(frozen=True)
class Command:
    """A command and the files that it writes into an output folder.

    Attributes:
        name: to report it by.
        script: below ``tools``.
        arguments: before those that name the output.
        files: names of what is written.
    """

    name: str
    script: str
    arguments: tuple[str, ...]
    files: tuple[str, ...]

    def line(self, output: Path) -> list[str]:
        """Command line that writes into ``output``."""
        place = (
            ["--output", str(output)] if self.name == "convert" else ["--json", str(output / self.files[0])]
        )
        return [sys.executable, str(REPOSITORY / "tools" / self.script), *self.arguments, *place]


def make_root(folder: Path, pairs: int) -> tuple[Path, Path]:
    """Writes an xBD root of ``pairs`` pairs, of which ``DRAWN`` differ, and perfect predictions.

    Returns:
        The root and the folder of predictions.
    """
    drawn, root, predictions = folder / "drawn", folder / "root", folder / "predictions"
    make_sample_xbd(drawn, DRAWN, seed=3, size=SIZE, splits={"train": 1.0}, workers=1)
    scenes = find_scenes(drawn, "train")[0]
    for kind in ("images", "labels", "targets"):
        (root / "train" / kind).mkdir(parents=True)
    for number in range(pairs):
        files = scenes[number % DRAWN]
        for path in sorted((drawn / "train").glob(f"*/{files.name}_*")):
            os.link(
                path, root / "train" / path.parent.name / path.name.replace(files.name, f"event_{number:08d}")
            )
    for number in range(pairs):
        scene, name = scenes[number % DRAWN], f"event_{number:08d}"
        read = read_scene(scene)[0] if number < DRAWN else None
        if read is not None:
            write_submission_pngs(predictions, name, *scene_targets(read.buildings, (SIZE, SIZE)))
            continue
        for kind in ("localization", "damage"):
            first = predictions / f"event_{number % DRAWN:08d}_{kind}_prediction.png"
            os.link(first, predictions / f"{name}_{kind}_prediction.png")
    return root, predictions


def commands(root: Path, predictions: Path, workers: int = 2) -> tuple[Command, Command]:
    """Conversion and scoring of what ``make_root`` wrote."""
    split = ("--splits", "train", "--workers", str(workers))
    return (
        Command(
            "convert",
            "convert_xbd_to_coco.py",
            ("--xbd-root", str(root), *split),
            ("xbd_train.json", "xbd_train.faults.json"),
        ),
        Command(
            "score",
            "score_submission.py",
            ("--predictions", str(predictions), "--xbd-root", str(root), *split),
            ("score.json",),
        ),
    )


def run(command: Command, output: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    given: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120} | options
    return subprocess.run(command.line(output), cwd=REPOSITORY, check=False, **given)


def one_sentence(done: subprocess.CompletedProcess[str]) -> bool:
    """Exit code 2, and nothing but one line beside what tells the progress."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return done.returncode == 2 and len(lines) == 1 and "Traceback" not in done.stderr
