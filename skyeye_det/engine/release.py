"""Releases a trained model: weights in half precision, a config without paths, rules and a card."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from detectron2.config import CfgNode, get_cfg
from safetensors.torch import save_file
from torch import Tensor, nn

from skyeye_det.config import add_skyeye_config
from skyeye_det.data.coco_file import read_xbd_json
from skyeye_det.decision.rule import read_rule
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.model_files import ModelFiles
from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.errors import InputError
from skyeye_det.files import read_bytes, read_json, write_bytes, write_json
from skyeye_det.released import CARD, CONFIG, PURPOSES, WEIGHTS, Card, released_model, released_names
from skyeye_det.report.cards import cards_page
from skyeye_det.yaml_text import parse_yaml

_PLAIN = "MODEL.WEIGHTS", "", "MODEL.DAMAGE_HEAD.EVIDENCE_WEIGHTS", "", "MODEL.DEVICE", "cpu"
_LEFT_OUT = "tiles", "fold_rules", "rule", "model"
"""Of a report: what is long, stands in the rule's file, or is a path of the machine that made it."""


@dataclass(frozen=True)
class Release:
    """What a release is made from.

    Attributes:
        name: of the model.
        summary: one sentence.
        models: folder of all released models.
        files: the trained network with its views; None of an ensemble.
        members: names of released models with the views of each; none of a single model.
        rules: purpose -> YAML, of ``released.PURPOSES``.
        learned_from: COCO files of the pairs that the network has learnt; of an ensemble the members' count.
        reports: name -> JSON of ``tools/tune_postprocess.py``, or of ``tools/score_submission.py`` with
            labels as the truth; of the latter the name says on what.
        facts: YAML of what no other file tells: command, commit, seed, hardware, hours, licence, limits.
    """

    name: str
    summary: str
    models: Path
    files: ModelFiles | None
    members: Mapping[str, str]
    rules: Mapping[str, Path]
    learned_from: Sequence[Path]
    reports: Mapping[str, Path]
    facts: Path


def write_release(release: Release) -> Path:
    """Writes the folder of a released model, whole or not at all.

    Returns:
        The folder.

    Raises:
        InputError: there is one of that name, or a file is missing or not what it should be.
    """
    place = release.models / release.name
    if release.name != Path(release.name).name or place.exists():
        raise InputError(
            f"{place}: expected a new name for a folder, found {release.name}; choose another name"
        )
    for purpose in PURPOSES:
        if (found := read_rule(release.rules[purpose]).purpose) != purpose:
            raise InputError(
                f"{release.rules[purpose]}: expected a rule of purpose {purpose}, found one of {found}; tune"
                f" one with tools/tune_postprocess.py --purpose {purpose}"
            )
    partial = release.models / f".{release.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for purpose in PURPOSES:
        write_bytes(partial / f"{purpose}.yaml", read_bytes(release.rules[purpose]))
    if release.files is not None:
        _write_network(release.files, partial)
    card = _card(release)
    card.sha256 = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(partial.iterdir())
    }
    write_json(partial / CARD, msgspec.to_builtins(card), pretty=True)
    partial.rename(place)
    cards = {name: released_model(name, release.models).card for name in released_names(release.models)}
    write_bytes(release.models / "README.md", cards_page(cards).encode())
    return place


def _write_network(files: ModelFiles, folder: Path) -> None:
    cfg = load_config(files.config_file, list(_PLAIN))
    network = build_pair_model(cfg)
    SkyeyeCheckpointer(network).load_whole_model(files.weights)
    save_file(_half(network, files.weights), folder / WEIGHTS)
    write_bytes(folder / CONFIG, _without_paths(cfg).dump().encode())


def _half(network: nn.Module, source: str) -> dict[str, Tensor]:
    """State of a network in half precision, whole numbers as they are."""
    state = {}
    for name, value in network.state_dict().items():
        half = value.to(torch.float16) if value.is_floating_point() else value
        if not half.isfinite().all():
            raise InputError(
                f"weights {source}: {name}: expected numbers of half precision, found larger ones"
            )
        state[name] = half.contiguous().clone()  # safetensors takes no tensors that share memory
    return state


def _without_paths(cfg: CfgNode) -> CfgNode:
    """The config of a network for those who do not train it: data, solver and folders as by default."""
    plain = get_cfg()
    add_skyeye_config(plain)
    plain.MODEL, plain.INPUT = cfg.MODEL.clone(), cfg.INPUT.clone()
    plain.TEST.DETECTIONS_PER_IMAGE = cfg.TEST.DETECTIONS_PER_IMAGE
    return plain


def _card(release: Release) -> Card:
    """Raises InputError where a file that it is made from is not what it should be."""
    facts = parse_yaml(read_bytes(release.facts))
    if not isinstance(facts, dict):
        raise InputError(f"{release.facts}: expected a YAML mapping of facts, found {type(facts).__name__}")
    members = [released_model(name, release.models) for name in release.members]
    scenes = {image["scene"] for path in release.learned_from for image in read_xbd_json(path)[0]}
    return Card(
        summary=release.summary,
        sha256={},
        members=[*release.members],
        views=[*release.members.values()] if members else [release.files.views if release.files else "none"],
        scenes=sorted(scenes.union(*(model.card.scenes for model in members))),
        figures={name: _figures(path) for name, path in release.reports.items()},
        facts=facts,
    )


def _figures(path: Path) -> dict[str, Any]:
    report = read_json(path)
    with suppress(AttributeError, LookupError, TypeError):  # of another file
        return _scored(report)
    tiles = report.get("tiles") if isinstance(report, dict) else None
    if not isinstance(tiles, dict) or "scenes" not in tiles:
        raise InputError(
            f"{path}: expected a report of tools/tune_postprocess.py, or of tools/score_submission.py with"
            " --xbd-root, found another file"
        )
    kept = {key: value for key, value in report.items() if key not in _LEFT_OUT}
    return {"tiles": len(tiles["scenes"])} | kept


def _scored(report: dict[str, Any]) -> dict[str, Any]:
    """Of a report of ``tools/score_submission.py`` what a card tells."""
    sizes = report["buildings"]["by_size"].items()
    return {
        **{key: report[key] for key in ("tiles", "official", "intervals", "instances")},
        "recall": {size: row["recall"] for size, row in sizes},
        "events": {
            event: {
                **{key: row[key] for key in ("tiles", "score", "damage_f1")},
                "localization_f1": row["localization"]["f1"],
                **{key: row["buildings"][key] for key in ("buildings", "recall")},
            }
            for event, row in report["events"].items()
        },
    }
