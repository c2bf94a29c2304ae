"""Runs of ``skyeye assess`` with a tiny model, and the layers that they write."""

from pathlib import Path

import pyogrio
import shapely
from saved_models import CONFIG
from tiny_model import tiny_overrides

from skyeye_det.commands import assess

SMALL = ["--window", "192", "--overlap", "64"]


def run(pair: tuple[Path, Path], output: Path, weights: str, rule: Path, *more: str) -> None:
    words = ["--pre", str(pair[0]), "--post", str(pair[1]), "--output", str(output), "--config-file", CONFIG]
    words += ["--weights", weights, "--decisions", str(rule), *SMALL, *more]
    assess.main([*words, "--opts", *tiny_overrides()])


def layer(output: Path, name: str = "buildings") -> dict:
    meta, _, geometry, values = pyogrio.raw.read(output / "damage.gpkg", layer=name)
    return dict(zip(meta["fields"].tolist(), values, strict=True)) | {"geometry": shapely.from_wkb(geometry)}
