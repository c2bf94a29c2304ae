"""Holds the layers: who may import whom, what does without torch, and how large a file may grow."""

import ast
import fnmatch
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from import_graph import HEAVY, PACKAGE, ROOT, imports, loaded_packages, package_imports, package_modules

from skyeye_det.commands.launch import COMMANDS

LEAVES = (
    "arguments",
    "damage",
    "dependencies",
    "errors",
    "files",
    "progress",
    "released",
    "text_table",
    "workers",
    "yaml_text",
)
ROOMS = (
    "config",
    "data",
    "sample",
    "prediction",
    "modeling",
    "xview2",
    "decision",
    "evaluation",
    "scene",
    "report",
    "engine",
    "commands",
)
"""Parts of the package from the lowest to the highest: each may import those before it."""

MAY_IMPORT = {
    "dependencies": ("errors",),
    "files": ("errors",),
    "released": ("errors", "files"),
    "text_table": ("errors",),
    "workers": ("errors",),
    "modeling": (*LEAVES, "config", "prediction", "modeling"),
}
"""Exceptions to the order of ``ROOMS``; a leaf that is not named imports nothing of ours."""

KNOW_TORCH = (
    "data.augmentation",
    "data.catalog",
    "data.dataset_mapper",
    "data.instances",
    "data.loading",
    "data.photometric",
    "engine",
    "engine.*",
    "modeling",
    "modeling.*",
)
REQUIRED = frozenset(
    {
        "affine",
        "numpy",
        "cv2",
        "faster_coco_eval",
        "msgspec",
        "pyarrow",
        "pyogrio",
        "pycocotools",
        "rasterio",
        "shapely",
        "starlette",
        "tqdm",
        "uvicorn",
    }
    | {"yaml"}
)
"""What setup.py's install_requires brings, by import name."""

FORBIDDEN_WORDS = ("util", "helper", "manager", "process")
MAX_LINES = 300

MODULES = sorted(package_modules())
TOOLS = sorted((ROOT / "tools").glob("*.py"))
TRAIN = ROOT / "tools" / "train_net.py"
"""Alone needs torch to say what its options are, which are detectron2's."""

SOURCES = sorted(path for folder in (PACKAGE, "tools", "tests") for path in (ROOT / folder).rglob("*.py"))

PAGE_FILES = sorted((ROOT / PACKAGE / "report" / "page").glob("*.[jc]s*"))
"""Scripts and styles of the page."""


def part_of(module: str) -> str:
    """``skyeye_det.data.xbd`` -> ``data``; the package itself -> an empty string."""
    return ".".join(module.split(".")[1:2])


def allowed_parts(part: str) -> tuple[str, ...]:
    if part in MAY_IMPORT or part in LEAVES:
        return MAY_IMPORT.get(part, ())
    return (*LEAVES, *ROOMS[: ROOMS.index(part) + 1])


def is_torch_free(module: str) -> bool:
    inner = ".".join(module.split(".")[1:])
    return not any(fnmatch.fnmatch(inner, pattern) for pattern in KNOW_TORCH)


def without_torch(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs a script, ``arguments[0]``, with the heavy packages made impossible to import."""
    block = f"import sys; sys.modules.update(dict.fromkeys({sorted(HEAVY)!r})); del sys.argv[0]; "
    code = block + "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


def test_every_part_of_the_package_has_a_place_in_the_layers() -> None:
    assert {part_of(module) for module in MODULES} - {""} == {*LEAVES, *ROOMS}


def test_modules_import_only_parts_below_them() -> None:
    for module in MODULES:
        allowed = allowed_parts(part_of(module)) if part_of(module) else (*LEAVES, *ROOMS)
        wrong = {name for name in package_imports(module) if part_of(name) and part_of(name) not in allowed}
        assert not wrong, f"{module} may import {allowed} of {PACKAGE}"


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {module: package_imports(module) - {module, PACKAGE} for module in MODULES}
    assert list(TopologicalSorter(graph).static_order())


def test_nothing_imports_tools_or_the_model_zoo() -> None:
    for path in SOURCES:
        found = imports(path, inside_functions=True)
        # detectron2.model_zoo needs pkg_resources, which new setuptools no longer has
        assert not {name for name in found if name.startswith("detectron2.model_zoo")}, path
        assert not {name for name in found if name.split(".")[0] == "tools"}, path


def test_torch_free_modules_load_with_what_setup_requires() -> None:
    for module in filter(is_torch_free, MODULES):
        loaded = loaded_packages(package_modules()[module])
        assert loaded - sys.stdlib_module_names - {PACKAGE} <= REQUIRED, module


def test_torch_free_modules_load_where_torch_and_detectron2_are_missing(tmp_path: Path) -> None:
    script = tmp_path / "load.py"
    names = [module for module in MODULES if is_torch_free(module)]
    script.write_text(f"import importlib\nfor name in {names!r}:\n    importlib.import_module(name)\n")
    done = without_torch(str(script))
    assert done.returncode == 0, done.stderr


def test_packages_reexport_nothing_but_the_public_face() -> None:
    for module, path in package_modules().items():
        if path.name == "__init__.py" and module != PACKAGE:
            assert not imports(path, inside_functions=True), module
    assert imports(package_modules()[PACKAGE], inside_functions=False) <= {"typing"}


def test_sources_are_short_and_named_after_the_field() -> None:
    for path in [*SOURCES, *PAGE_FILES]:
        assert len(path.read_text(encoding="utf-8").splitlines()) < MAX_LINES, path
        stem = path.stem.replace("postprocess", "")  # the name of a command that the users know
        assert not [word for word in FORBIDDEN_WORDS if word in stem], path


def test_each_tool_is_a_command_by_another_name() -> None:
    # detectron2's wheel ships a top-level package called tools
    assert not (ROOT / "tools" / "__init__.py").exists()
    assert [path.stem for path in TOOLS] == list(COMMANDS)
    for path in TOOLS:
        tree = ast.parse(path.read_text())
        assert path.read_text().startswith("#!/usr/bin/env python\n"), path.name
        assert ast.get_docstring(tree), path.name
        assert ast.unparse(tree.body[-1]) == f"if __name__ == '__main__':\n    run('{path.stem}')"


@pytest.mark.parametrize("path", [path for path in TOOLS if path != TRAIN], ids=lambda path: path.stem)
def test_tool_answers_help_where_torch_is_missing(path: Path) -> None:
    done = without_torch(str(path), "--help")
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_training_says_what_to_install_where_torch_is_missing() -> None:
    done = without_torch(str(TRAIN), "--help")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert "`make env`" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.torch
def test_training_answers_help() -> None:
    command = [sys.executable, str(TRAIN), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
