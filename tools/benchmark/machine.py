"""What a measurement was made with: versions, machine, commit."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "shapely",
    "msgspec",
    "orjson",
    "pycocotools",
    "torch",
)


def versions() -> dict[str, str]:
    """Installed version by package, ``python`` among them; packages that are not there are left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | int | float]:
    """CPU model, CPUs that this run may use, their load when it began, and the system."""
    return {
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
    }


def commit() -> str | None:
    """Commit of the checkout, with ``+`` where files of it were changed; None without git."""
    root = Path(__file__).resolve().parent
    if shutil.which("git") is None:
        return None
    head = _git(root, "rev-parse", "--short=12", "HEAD")
    if not head:
        return None
    return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
