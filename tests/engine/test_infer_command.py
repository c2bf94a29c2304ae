"""``tools/infer.py``: which of its options go together."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, str(Path(__file__).resolve().parents[2] / "tools" / "infer.py")]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--images", "a"], "expected either --images and --output"),
        (["a", "b", "c"], "found --images None, --output None and 3 paths"),
        (["a", "b", "c", "a"], "found one of them named twice"),
        (["a", "b", "c", "d", "--numbered"], "--numbered: expected with --images"),
        (["--images", "a", "--output", "b", "--prefix", "hold"], "--prefix hold: expected with --numbered"),
        (["--images", "a", "--output", ""], "--output: expected a path, found an empty text"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, told):
    model = ["--config-file", "c.yaml", "--weights", "w.pth"]
    run = subprocess.run([*COMMAND, *model, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert told in run.stderr
