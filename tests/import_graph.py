"""Who imports what in this checkout, read from the sources without importing anything."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "skyeye_det"
HEAVY = frozenset({"torch", "torchvision", "detectron2", "fvcore", "timm", "wandb", "tensorboard"})
"""Packages that the torch-free part must do without."""


def module_name(path: Path) -> str:
    """Dotted name of a file in the checkout: ``skyeye_det.data.xbd``, ``tools.infer``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def package_modules() -> dict[str, Path]:
    """Dotted name -> file, for every module of the package."""
    return {module_name(path): path for path in sorted((ROOT / PACKAGE).rglob("*.py"))}


@cache
def known_modules() -> dict[str, Path]:
    """Those of the package, and those that tests share."""
    shared = (
        path for path in (ROOT / "tests").rglob("*.py") if not path.stem.startswith(("test_", "conftest"))
    )
    return package_modules() | {path.stem: path for path in shared}


def _is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _statements(body: list[ast.stmt], *, inside_functions: bool) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not inside_functions:
            continue
        yield node
        for field in ("body", "orelse", "finalbody"):
            if field == "body" and _is_type_checking(node):
                continue
            inner = getattr(node, field, None)
            if isinstance(inner, list):
                yield from _statements(inner, inside_functions=inside_functions)
        for handler in getattr(node, "handlers", []) + getattr(node, "cases", []):
            yield from _statements(handler.body, inside_functions=inside_functions)


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            raise AssertionError(f"line {node.lineno}: relative imports hide the direction of imports")
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if full in package_modules() else str(node.module)


@cache
def imports(path: Path, *, inside_functions: bool) -> frozenset[str]:
    """Dotted names that a file imports at run time (not under ``TYPE_CHECKING``).

    Args:
        path: a Python file.
        inside_functions: counts imports in function bodies too, which importing the file does not run.
    """
    body = ast.parse(path.read_text(encoding="utf-8"), filename=str(path)).body
    return frozenset(
        name for node in _statements(body, inside_functions=inside_functions) for name in _names(node)
    )


def package_imports(module: str) -> frozenset[str]:
    """Modules of the package that a module of the package imports, in functions too."""
    found = imports(package_modules()[module], inside_functions=True)
    return frozenset(name for name in found if name.split(".")[0] == PACKAGE)


def loaded_packages(path: Path, *, inside_functions: bool = False) -> frozenset[str]:
    """Top-level packages that are imported when a file is, by it or by the modules of ours that it imports.

    Args:
        path: a Python file.
        inside_functions: counts imports in this file's functions too, not in those of modules it imports.
    """
    todo, seen = set(imports(path, inside_functions=inside_functions)), set()
    while todo:
        name = todo.pop()
        seen.add(name)
        if name in known_modules():
            todo |= imports(known_modules()[name], inside_functions=False) - seen
    return frozenset(name.split(".")[0] for name in seen)


def heavy_imports(path: Path) -> frozenset[str]:
    """The ``HEAVY`` packages that a test file needs, at its top or in its functions."""
    return loaded_packages(path, inside_functions=True) & HEAVY
