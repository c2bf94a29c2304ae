"""The decision rule between a model's probabilities and buildings, as one small YAML file.

``tools/tune_postprocess.py`` writes it, ``tools/infer.py --decisions`` and ``TEST.DECISIONS`` read it.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.errors import InputError, printable, shown
from skyeye_det.files import read_bytes, write_bytes
from skyeye_det.released import PURPOSES
from skyeye_det.yaml_text import parse_yaml

_LARGEST_FILE = 1 << 16
_LARGEST_NUMBER = 1e9
_TEMPERATURES = 0.01, 100.0
_WEIGHTS = 1e-6, 1e6


OUTLINES = ("painted", "mask", "simplified", "right-angled")
FILLS = ("own", "majority", "proportional")


@dataclass(frozen=True)
class DecisionRule:
    """From probabilities to buildings, pixels and classes.

    The defaults of the first two were chosen on training tiles, for localization F1.

    Attributes:
        score_threshold: least score, 0..1, of an instance that counts as a building.
        pixel_threshold: least probability, 0..1, of a pixel that counts as building.
        map_weight: share, 0..1, of the semantic building map in a pixel's probability; the rest is the
            instance's score times its mask. Without a map it has no effect.
        min_area: px; smaller buildings are left out.
        presence_threshold: a window where no building's score reaches it is taken as empty, 0..1.
        damage_weights: factors of the four damage probabilities before the largest is taken; the harmonic
            mean of the official score rewards rare classes, which plain argmax does not.
        temperature: damage probabilities p become p ** (1 / temperature), normalised; above 1 is less sure
            (Guo et al. 2017, arXiv:1706.04599).
        outline: what is rasterized of a building, of ``OUTLINES``. ``painted``: the pixels that
            ``pixel_threshold`` lets through, best for the score; ``mask``: where its own mask is at least
            one half; ``simplified`` and ``right-angled``: polygons of that mask, filled by the official rule.
        fill: what value its pixels get, of ``FILLS``. ``own``: the building's damage, of a semantic model
            each pixel's own; ``majority``: the damage that most of those pixels have; ``proportional``: the
            four grades in proportion to the building's probabilities.
        purpose: what the rule was tuned for, of ``PURPOSES``; it decides nothing. ``score``: the
            competition's; ``assessment``: few wrong buildings, and unbiased totals by grade.
    """

    score_threshold: float = 0.6
    pixel_threshold: float = 0.35
    map_weight: float = 0.5
    min_area: float = 0.0
    presence_threshold: float = 0.0
    damage_weights: tuple[float, ...] = (1.0,) * NUM_DAMAGE_CLASSES
    temperature: float = 1.0
    outline: str = "painted"
    fill: str = "own"
    purpose: str = "score"

    def __post_init__(self) -> None:
        """Raises ValueError where a value means nothing."""
        named = [(name, getattr(self, name)) for name in _NUMBERS]
        for name, value in [*named, *(("damage_weights", weight) for weight in self.damage_weights)]:
            if not _is_number(value):
                raise ValueError(
                    f"{name}: expected a number of at most {_LARGEST_NUMBER:g}, found {shown(value)}"
                )
        for name in ("score_threshold", "pixel_threshold", "map_weight", "presence_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0..1, found {getattr(self, name)}")
        for name, choices in (("outline", OUTLINES), ("fill", FILLS), ("purpose", PURPOSES)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}: expected one of {', '.join(choices)}, found {shown(getattr(self, name))}"
                )
        if self.min_area < 0:
            raise ValueError(f"min_area: expected 0 px or more, found {self.min_area}")
        if not _TEMPERATURES[0] <= self.temperature <= _TEMPERATURES[1]:
            raise ValueError(f"temperature: expected {_TEMPERATURES}, found {self.temperature}")
        weights, (least, most) = self.damage_weights, _WEIGHTS
        if len(weights) != NUM_DAMAGE_CLASSES or min(weights) < least or max(weights) > most:
            raise ValueError(
                f"damage_weights: expected 4 numbers of {least} to {most}, found {list(weights)}"
            )

    def calibrated(self, damage_probs: np.ndarray) -> np.ndarray:
        """Damage probabilities (..., 4) float32 at ``temperature``; rows still sum to 1."""
        if self.temperature == 1:
            return damage_probs
        powers = np.power(damage_probs, np.float32(1 / self.temperature))
        return powers / np.maximum(powers.sum(axis=-1, keepdims=True), np.finfo(np.float32).tiny)

    def damage(self, damage_probs: np.ndarray) -> np.ndarray:
        """Classes (...,) int64 0..3 of damage probabilities (..., 4)."""
        return self.graded(self.calibrated(damage_probs))

    def graded(self, calibrated: np.ndarray) -> np.ndarray:
        """Classes (...,) int64 0..3 of what ``calibrated`` gives."""
        return (calibrated * np.asarray(self.damage_weights, np.float32)).argmax(axis=-1)


_NUMBERS = tuple(field.name for field in fields(DecisionRule) if isinstance(field.default, float))


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER


def read_rule(path: str | os.PathLike[str]) -> DecisionRule:
    """Reads a rule; keys that the file lacks keep their defaults, an empty path gives the default rule.

    Raises:
        InputError: the file is not there or is no rule.
    """
    if not str(path):
        return DecisionRule()
    if not os.path.exists(path):  # noqa: PTH110 - False where a name is too long
        raise InputError(
            f"decisions {path}: no such file; {_MEND}, or set TEST.DECISIONS '' for the default rule"
        )
    known = {field.name for field in fields(DecisionRule)}
    try:
        text = read_bytes(Path(path))
        if len(text) > _LARGEST_FILE:
            raise ValueError(f"{len(text)} bytes")
        content = parse_yaml(text)
        unknown = sorted(map(str, set(content) - known)) if isinstance(content, dict) else []
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(
            f"decisions {path}: expected a plain YAML of at most {_LARGEST_FILE} bytes, found other"
            f" ({_reason(error)}); {_MEND}"
        ) from error
    if not isinstance(content, dict) or unknown:
        found = unknown or type(content).__name__
        raise InputError(f"decisions {path}: expected the keys {sorted(known)}, found {found}; {_MEND}")
    weights = content.get("damage_weights", [1.0] * NUM_DAMAGE_CLASSES)
    try:
        if not isinstance(weights, Sequence) or isinstance(weights, str):
            raise ValueError("damage_weights: expected a list of 4 numbers, found something else")
        return DecisionRule(**content | {"damage_weights": tuple(weights)})
    except ValueError as error:
        raise InputError(f"decisions {path}: {error}; {_MEND}") from error


def _reason(error: Exception) -> str:
    """What is wrong with a text, in a few words, and in which line where that is known."""
    mark = getattr(error, "problem_mark", None)
    words = getattr(error, "problem", None) or str(error)
    return words if mark is None else f"line {mark.line + 1}: {words}"


_MEND = "write it anew with tools/tune_postprocess.py"


def write_rule(path: Path, rule: DecisionRule, remarks: Sequence[str] = ()) -> None:
    """Writes a rule, whole, with ``remarks`` (where it comes from) as comments above it."""
    values = asdict(rule) | {"damage_weights": list(rule.damage_weights)}
    lines = [f"# {printable(remark)}" for remark in remarks]
    text = "\n".join([*lines, yaml.safe_dump(values, sort_keys=False, default_flow_style=None)])
    write_bytes(path, text.encode())
