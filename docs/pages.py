"""What the documentation takes from the code and from measurements, so that each fact stands in one place.

    python docs/pages.py     # writes the tables of docs/*.csv into the pages

MkDocs (``mkdocs.yml``) calls the hooks at the end, for the pages that are made: of files outside ``docs/``,
commands from their parsers, faults from their kinds, the Python interface from docstrings.
"""

import csv
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
OUTSIDE = {
    "index.md": "README.md",
    "configs.md": "configs/README.md",
    "data.md": "datasets/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
"""Page of the site -> file that it is made of."""

API = {
    "Use a model": ["skyeye_det"],
    "Decide": ["skyeye_det.decision.rule", "skyeye_det.decision.decide", "skyeye_det.decision.stitch"],
    "Predict and keep": [
        "skyeye_det.prediction.prediction",
        "skyeye_det.prediction.views",
        "skyeye_det.prediction.windows",
        "skyeye_det.prediction.store",
    ],
    "The competition": ["skyeye_det.xview2.submission", "skyeye_det.xview2.score"],
    "Data": ["skyeye_det.data.targets", "skyeye_det.data.catalog", "skyeye_det.data.dataset_mapper"],
    "The network": [
        "skyeye_det.modeling.hybrid_rcnn",
        "skyeye_det.modeling.roi_heads",
        "skyeye_det.modeling.damage_head",
        "skyeye_det.modeling.fusion",
        "skyeye_det.modeling.alignment",
    ],
}
"""Heading of the page on the Python interface -> modules."""

METHODS = {"prior", "features", "adapt", "probe", "neighbours"}
"""Of ``adaptation.csv``, beside the model itself."""

_MARKED = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#]+)(#[^)]*)?\)")


def _rows(name: str) -> list[dict[str, str]]:
    with (DOCS / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def results_table() -> str:
    """The listed runs of ``results.csv``."""
    head = ["model", "trained", "judged on", "rule", "score", "localization F1", "mask AP50", "s", "MiB"]
    lines = []
    for row in _rows("results.csv"):
        if row["listed"]:
            interval = f" [{row['score_low']}, {row['score_high']}]" if row["score_low"] else ""
            second = ", second step" * ("second step" in row["training"])
            trained = row["training"].partition(":")[0] + second
            rule = row["rule"].partition(",")[0]
            cells = [row["model"], trained, row["judged_on"], rule, row["score"] + interval]
            lines.append(
                [*cells, *(row[key] for key in ("localization", "mask_ap50", "seconds", "memory_mib"))]
            )
    return _table(head, lines)


def figures_table(name: str) -> str:
    """A table of ``figures.csv``: what was measured, and beside what."""
    lines = []
    for row in _rows("figures.csv"):
        if row["table"] == name:
            beside = f"{row['baseline']} ({row['baseline_is']})" if row["baseline"] else ""
            lines.append([row["figure"], row["value"], beside, row["bar"]])
    if not lines:
        raise KeyError(f"figures.csv has no table {name}")
    return _table(["what", "figure", "beside it", "bar"], lines)


def adaptation_table(row_is: str, methods: set[str], labels: set[str], has_grades: bool) -> str:
    """Changes with labels at random, by event and place of judgement, of ``adaptation.csv``.

    Args:
        row_is: column whose values are the rows.
        methods: that are shown.
        labels: numbers that are shown.
        has_grades: whether the macro F1 stands beside the log loss, which is in percent.
    """
    random = [row for row in _rows("adaptation.csv") if row["drawn"] == "random"]
    rows = [row for row in random if row["method"] in methods and row["labels"] in labels]
    places = dict.fromkeys((row["event"], row["judged_on"]) for row in rows)
    cells: dict[str, dict[tuple[str, str], str]] = {}
    for row in rows:
        change = float(row["log_loss_change"])
        told = f"{100 * change / (float(row['log_loss']) - change):+.0f}%"
        told += f", {float(row['macro_f1_change']):+.3f}" if has_grades else ""
        cells.setdefault(row[row_is], {})[row["event"], row["judged_on"]] = told
    head = [row_is, *(f"{event}: {judged}" for event, judged in places)]
    return _table(
        head, [[name, *(found.get(place, "") for place in places)] for name, found in cells.items()]
    )


def with_tables(text: str) -> str:
    """A page with its tables made anew, between ``<!-- table NAME -->`` and ``<!-- end -->``."""
    made_otherwise = {
        "results": results_table,
        "adapt": partial(adaptation_table, "labels", {"adapt"}, {"30", "100"}, has_grades=True),
        "methods": partial(adaptation_table, "method", METHODS, {"30"}, has_grades=False),
    }

    def made(found: re.Match[str]) -> str:
        name = found[2]
        return found[1] + made_otherwise.get(name, partial(figures_table, name))() + found[3]

    return _MARKED.sub(made, text)


def pages() -> list[Path]:
    """All Markdown pages of the repository that the site shows."""
    return [*sorted(DOCS.glob("*.md")), *(ROOT / name for name in OUTSIDE.values())]


def commands_page() -> str:
    """Help of every command, as its parser prints it."""
    from skyeye_det.commands.launch import COMMANDS

    parts = ["# Commands\n", "Each is `python tools/NAME.py`, or `skyeye NAME` once installed.\n"]
    for name in COMMANDS:
        words = [sys.executable, str(ROOT / "tools" / f"{name}.py"), "--help"]
        environment = os.environ | {"COLUMNS": "84"}
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
        parts.append(f"## {name}\n\n```text\n{done.stdout.strip()}\n```\n")
    return "\n".join(parts)


def models_page() -> str:
    """The cards of the released models."""
    from skyeye_det.released import released_model, released_names
    from skyeye_det.report.cards import cards_page

    return cards_page({name: released_model(name).card for name in released_names()})


def faults_page() -> str:
    """Every kind of fault of a data set and its rule."""
    from skyeye_det.data.validation import FaultKind

    rows = [
        [
            f"`{kind.value}`",
            kind.expected,
            kind.rule,
            kind.severity.value,
            "check" if kind.only_in_check else "both",
        ]
        for kind in FaultKind
    ]
    return "# Faults of a data set\n\n" + _table(["kind", "expected", "rule", "severity", "seen by"], rows)


def api_page() -> str:
    """The Python interface, from docstrings."""
    parts = ["# Python interface\n"]
    for heading, modules in API.items():
        parts += [f"## {heading}\n", *(f"::: {module}\n" for module in modules)]
    return "\n".join(parts)


def on_files(files: Any, config: Any) -> Any:
    """MkDocs' hook: adds the pages that are made."""
    from mkdocs.structure.files import File

    made = {page: (ROOT / source).read_text(encoding="utf-8") for page, source in OUTSIDE.items()}
    made |= {"commands.md": commands_page(), "faults.md": faults_page(), "api.md": api_page()}
    made["models.md"] = models_page()
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001 - called by name
    """MkDocs' hook: leads links between files of the repository to the pages of the site."""
    own = page.file.src_uri
    source = ROOT / OUTSIDE[own] if own in OUTSIDE else DOCS / own
    places = {(ROOT / file).resolve(): name for name, file in OUTSIDE.items()}
    places[ROOT / "skyeye_det" / "models" / "README.md"] = "models.md"

    def led(found: re.Match[str]) -> str:
        place = (source.parent / found[1]).resolve()
        return f"]({places.get(place) or os.path.relpath(place, DOCS)}{found[2] or ''})"

    return _LINK.sub(led, markdown)


if __name__ == "__main__":
    for path in pages():
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
