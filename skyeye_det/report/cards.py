"""The cards of released models as a page to read."""

from collections.abc import Mapping
from typing import Any

from skyeye_det.released import Card
from skyeye_det.xview2.score import CLASS_F1_KEYS, CLASS_NAMES

_SCORED = ("model", "score", "localization F1", "damage F1", *CLASS_NAMES)
_COUNTED = (
    "model",
    "predicted to true",
    *CLASS_NAMES,
    "precision",
    "recall",
    "steps wrong a building",
    "ECE",
)
_SIZES = {"below_16": "below 16 px", "16_32": "16 to 32 px", "above_32": "above 32 px"}
_FOUND = ("model", "judged on", "tiles", "score", "localization F1", "damage F1", "mask AP50")
_EVENTS = ("model", "event", "tiles", "score", "localization F1", "damage F1", "buildings", "recall")

_HARMONIC = (
    "Damage F1 is the harmonic mean over the grades that an event has: one grade never hit makes it 0,"
    " however few buildings have it."
)


def cards_page(cards: Mapping[str, Card]) -> str:
    """Markdown of all cards: figures side by side, then what each says of itself."""
    rules = {
        "By the rule `score`, for submissions": _table(_SCORED, [_scored(*each) for each in cards.items()]),
        "By the rule `assessment`, for `skyeye assess`": _table(
            _COUNTED, [_counted(*each) for each in cards.items()]
        ),
    }
    parts = [
        "# Released models\n",
        "Figures by rule are cross-fitted: each tile was judged by a rule tuned on others. Brackets hold 90 %"
        ' intervals. The judged networks had learnt less than the released ones: see "figures are of".\n',
    ]
    parts += [f"## {title}\n\n{table}" for title, table in rules.items()]
    if judged := [
        (name, words, report)
        for name, card in cards.items()
        for words, report in card.figures.items()
        if "events" in report
    ]:
        heads = (*_FOUND, *(f"recall {size}" for size in _SIZES.values()))
        parts.append(f"## Tiles and buildings\n\n{_table(heads, [_found(*each) for each in judged])}")
        several = [(name, report) for name, _, report in judged if len(report["events"]) > 1]
        events = [row for name, report in several for row in _by_event(name, report)]
        if events:
            parts.append(f"## By event\n\n{_HARMONIC}\n\n{_table(_EVENTS, events)}")
    first, *others = cards.values()
    shared = {
        key: value
        for key, value in first.facts.items()
        if all(each.facts.get(key) == value for each in others)
    }
    parts.append(f"## All models\n\n{_listed(shared)}")
    for name, card in cards.items():
        own = {key: value for key, value in card.facts.items() if key not in shared}
        learnt = f"* pairs learnt from: {len(card.scenes)}, listed in `{name}/card.json`"
        summary = f"{card.summary[:1].upper()}{card.summary[1:]}."
        parts.append(f"## {name}\n\n{summary}\n\n{learnt}\n{_listed(own)}")
    return "\n".join(parts)


def _listed(facts: Mapping[str, Any]) -> str:
    return "".join(f"* {key.replace('_', ' ')}: {_text(value)}\n" for key, value in facts.items())


def _scored(name: str, card: Card) -> list[str]:
    row = card.figures.get("score", {}).get("rows", {}).get("tuned", {})
    ends = row.get("intervals", {}).get("score")
    values = [_number(row.get(key)) for key in ("score", "localization_f1", "damage_f1", *CLASS_F1_KEYS)]
    return [name, values[0] + _between(ends), *values[1:]]


def _counted(name: str, card: Card) -> list[str]:
    row = card.figures.get("assessment", {}).get("rows", {}).get("tuned", {})
    ends = row.get("intervals", {}).get("ratio")
    grades = row.get("grades", {})
    by_grade = [_number(grades.get(grade, {}).get("ratio")) for grade in CLASS_NAMES]
    also = [_number(row.get(key)) for key in ("precision", "recall", "ordinal_error", "ece")]
    return [name, _number(row.get("ratio")) + _between(ends, 2), *by_grade, *also]


def _found(name: str, words: str, report: dict[str, Any]) -> list[str]:
    official, masks = report["official"], report["instances"] or {}
    score = _number(official["score"]) + _between(report["intervals"]["score"])
    recalls = [_number(report["recall"][size]) for size in _SIZES]
    found = masks.get("AP50")
    also = [_number(official["localization_f1"]), _number(official["damage_f1"])]
    return [name, words, str(report["tiles"]), score, *also, _number(found and found / 100), *recalls]


def _by_event(name: str, report: dict[str, Any]) -> list[list[str]]:
    """Over the classes that an event has."""
    return [
        [
            name,
            event,
            str(row["tiles"]),
            *map(_number, (row["score"], row["localization_f1"], row["damage_f1"])),
            str(row["buildings"]),
            _number(row["recall"]),
        ]
        for event, row in report["events"].items()
    ]


def _table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _between(ends: list[float | None] | None, digits: int = 3) -> str:
    """An interval behind its figure; nothing where there is none, as of a single tile."""
    low, high = ends or (None, None)
    return "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else ""


def _text(value: Any) -> str:
    """A fact, lists and mappings in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
    if isinstance(value, list):
        return "; ".join(map(_text, value))
    return str(value)
