"""The documentation: its tables are those of the measurements, it is short, and builds without internet."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from skyeye_det.data.validation import FaultKind

ROOT = Path(__file__).resolve().parents[1]
MOST_WORDS = 6000
MOST_LINES_OF_README = 80
_LOADED_FROM_ELSEWHERE = re.compile(
    r"""<(?:script|img|iframe)[^>]*\bsrc=["']?(?:https?:)?//|<link(?![^>]*canonical)[^>]*href=["']?(?:https?:)?//"""
)


@pytest.fixture(scope="module")
def made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("documentation_pages", ROOT / "docs" / "pages.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_those_of_the_measurements(made: ModuleType) -> None:
    for path in made.pages():
        text = path.read_text(encoding="utf-8")
        assert made.with_tables(text) == text, f"{path}: run python docs/pages.py"


def test_documents_are_short(made: ModuleType) -> None:
    assert sum(len(path.read_text(encoding="utf-8").split()) for path in made.pages()) <= MOST_WORDS
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES_OF_README


def test_commands_named_in_the_documents_exist(made: ModuleType) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in made.pages())
    named = set(re.findall(r"tools/[\w/]+\.py", text)) - {"tools/NAME.py"}
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_every_kind_of_fault_is_on_its_page(made: ModuleType) -> None:
    page = made.faults_page()
    for kind in FaultKind:
        assert f"| `{kind.value}` | {kind.expected} | {kind.rule} | {kind.severity.value} |" in page


@pytest.mark.slow
def test_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="MkDocs is not installed: pip install -e '.[dev]'")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    # A proxy that nothing answers at: whoever wants the internet fails.
    nowhere = "http://127.0.0.1:9"
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1", "https_proxy": nowhere, "http_proxy": nowhere}
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=False, env=quiet, timeout=300
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    pages = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.html")}
    assert {"index.html", "guide.html", "commands.html", "api.html", "faults.html"} <= pages.keys()
    assert [name for name, text in pages.items() if _LOADED_FROM_ELSEWHERE.search(text)] == []
    assert "--decide-only" in pages["commands.html"]
    assert "uint8 (H, W, 3), RGB" in pages["api.html"]
