#!/usr/bin/env python
"""Holds the fill rule against every released OpenCV, each in a virtual environment that is thrown away.

Every version that setup.py allows must give the golden hash of tests/data/fill_outlines.py; 4.8 to 4.10,
which fill other pixels, must be refused with a sentence. Up to 4.7 OpenCV's own pixels are the official ones:
these must give the hash too, where this Python can install them. Needs uv and the package index; about 70 MB
a version.
Exit codes: 0 all as expected, 1 one that is not, 2 wrong input.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "data")]

from fill_outlines import GOLDEN  # noqa: E402 - found by the line above

from skyeye_det.errors import InputError, run_command  # noqa: E402
from skyeye_det.files import write_json  # noqa: E402

PACKAGE = "opencv-python-headless"
OLDEST = (4, 5, 5)
OTHER_PIXELS = (4, 8), (4, 11)
"""From the first on, up to before the second, ``cv2.fillPoly`` shifts the edges."""

Version = tuple[int, ...]


class Row(NamedTuple):
    """One version: what must come of it and what did: ``golden``, ``refused``, ``absent``, or what else."""

    opencv: str
    allowed: bool
    expected: str
    found: str

    @property
    def is_good(self) -> bool:
        """As expected, or too old for this Python."""
        return self.found == self.expected or (self.found == "absent" and not self.allowed)


def main() -> int:
    """Runs every version and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--versions", nargs="+", help="only these (default: all from 4.5.5 on)")
    parser.add_argument("--json", type=Path, help="write the table to this file too")
    arguments = parser.parse_args()
    versions = arguments.versions or released()
    print(f"Python {sys.version.split()[0]}; golden {GOLDEN[:12]}", flush=True)
    print(f"{'opencv':<12}  {'setup.py':<8}  {'expected':<8}  found", flush=True)
    rows = []
    for version in versions:
        rows.append(row := try_version(version))
        allowed = "allows" if row.allowed else "excludes"
        print(f"{row.opencv:<12}  {allowed:<8}  {row.expected:<8}  {row.found}", flush=True)
    if arguments.json:
        write_json(arguments.json, [row._asdict() for row in rows])
    return int(not all(row.is_good for row in rows))


def released() -> list[str]:
    """Versions of the index from ``OLDEST`` on, in order."""
    command = [sys.executable, "-m", "pip", "index", "versions", PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    listed = re.search(r"Available versions: (.+)", done.stdout)
    if listed is None:
        raise InputError(
            f"{PACKAGE}: expected its versions from the package index, found none; name --versions"
        )
    return sorted((v for v in listed[1].split(", ") if numbers(v) >= OLDEST), key=numbers)


def numbers(version: str) -> Version:
    """``4.11.0.86`` -> (4, 11, 0, 86)."""
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        raise InputError(f"--versions {version}: expected numbers such as 4.11.0.86")
    return tuple(map(int, version.split(".")))


def try_version(version: str) -> Row:
    """Installs one version beside numpy and fills the outlines with it."""
    bound = re.search(rf'"{PACKAGE}>=([\d.]+)"', (ROOT / "setup.py").read_text())
    assert bound is not None
    number = numbers(version)
    refused = OTHER_PIXELS[0] <= number < OTHER_PIXELS[1]
    allowed, expected = number >= numbers(bound[1]), "refused" if refused else "golden"
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        # Wheels before 4.10.0.84 were compiled for numpy 1.
        packages = [f"{PACKAGE}=={version}", "numpy" if number >= (4, 10, 0, 84) else "numpy<2"]
        uv = Path(sys.executable).with_name("uv")
        run([str(uv), "venv", "--quiet", "--python", sys.executable, folder])
        install = [str(uv), "pip", "install", "--quiet", "--only-binary", ":all:", "--python", str(python)]
        if (done := run([*install, *packages], check=allowed)).returncode:
            return Row(version, allowed, expected, "absent")
        done = run([str(python), str(ROOT / "tests" / "data" / "fill_outlines.py")], check=False)
    return Row(version, allowed, expected, outcome(done))


def run(command: list[str], check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Runs a command that sees this repository's package."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=600, check=False
        )
    except OSError as error:
        raise InputError(f"{command[0]}: cannot be run ({error.strerror}); run: make env") from error
    if check and done.returncode:
        raise InputError(f"{' '.join(command)}: {done.stderr.strip() or 'failed'}")
    return done


def outcome(done: "subprocess.CompletedProcess[str]") -> str:
    """``golden``, ``refused``, or what came instead."""
    if done.returncode == 2 and re.fullmatch(r"error: opencv .+ run: pip install .+\n", done.stderr):
        return "refused"
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr.strip()[-200:]}"
    return "golden" if done.stdout.strip() == GOLDEN else f"other pixels {done.stdout.strip()[:12]}"


if __name__ == "__main__":
    run_command(main)
