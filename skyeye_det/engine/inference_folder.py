"""The folder of an inference run: what it comes from, what of it is done, and its joined results."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from skyeye_det.data.pairs import ImagePair
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.errors import InputError, shown
from skyeye_det.files import claim_results, read_json, whole_file
from skyeye_det.xview2.submission import (
    JOINED_FILE,
    LEAST_SCORE,
    PARTS_FOLDER,
    SETTINGS_FILE,
    submission_names,
)

PREDICTIONS_VERSION = 6
"""Raised when the code finds something else by the same config and weights: what was kept is then refused."""


def part_file(output: Path, scene: str) -> Path:
    """The COCO results of one scene; its presence means that the scene is done."""
    return output / PARTS_FOLDER / f"{scene}.json"


def is_done(output: Path, scene: str, names: dict[str, str]) -> bool:
    """Whether an earlier run has left all files of a scene."""
    pngs = (output / name for name in submission_names(names.get(scene, scene)))
    return all(path.is_file() and path.stat().st_size for path in (part_file(output, scene), *pngs))


def claim(
    output: Path,
    models: Sequence[tuple[CfgNode, str]],
    rule: DecisionRule,
    pairs: Sequence[ImagePair],
    choices: Mapping[str, Any],
    *,
    has_scores: bool,
) -> None:
    """Notes what the results come from; refuses to go on with those of something else.

    Args:
        output: folder of the results.
        models: config and weights of each.
        rule: what the buildings are decided by.
        pairs: all pairs of the run.
        choices: further settings that change the results.
        has_scores: whether a score decides what is painted; a semantic model's regions all are.

    Raises:
        InputError: the folder holds results of another model, rule or choice, for other images, or of nobody
            knows what.
    """
    settings = {
        **origin(models),
        # Names too: another pair would move the numbers of all that follow.
        "images_sha256": files_sha256(path for pair in pairs for path in (pair.pre, pair.post)),
        "decisions": asdict(rule) | {"damage_weights": list(rule.damage_weights)},
        LEAST_SCORE: rule.score_threshold if has_scores else 0.0,
        **choices,
    }
    claim_results(output / SETTINGS_FILE, settings, f"{PARTS_FOLDER}/*.json", "--output")


def join(output: Path, parts: Sequence[Path]) -> None:
    """Writes the results of all scenes as one COCO results file, a scene at a time.

    Raises:
        InputError: a part holds something else.
    """
    with whole_file(output / JOINED_FILE) as partial, partial.open("w", encoding="utf-8") as joined:
        joined.write("[")
        separator = "\n"
        for part in parts:
            results = read_json(part)
            if not isinstance(results, list):
                raise InputError(
                    f"{part}: expected the results of a tile, found {shown(results)}; delete it and run again"
                )
            for result in results:
                joined.write(separator + json.dumps(result))
                separator = ",\n"
        joined.write("\n]\n")


def origin(models: Sequence[tuple[CfgNode, str]]) -> dict[str, Any]:
    """What predictions of these models (config and weights of each) come from, as JSON values.

    ``weights`` is for people: the same file may lie elsewhere.
    """
    weights = [path for _, path in models]
    return {
        "version": PREDICTIONS_VERSION,
        "weights": weights,
        "weights_sha256": [
            files_sha256([Path(path)], named=False) if Path(path).is_file() else None for path in weights
        ],
        "config_sha256": [_config_sha256(cfg) for cfg, _ in models],
    }


def _config_sha256(cfg: CfgNode) -> str:
    """Hash of a config but for what surely changes nothing in what the model finds."""
    model = cfg.clone()
    model.defrost()
    # Where and how fast the model runs does not change what it finds; the rule is noted by its content.
    model.MODEL.DEVICE, model.DATALOADER.NUM_WORKERS, model.OUTPUT_DIR = "", 0, ""
    model.TEST.DECISIONS = ""
    return hashlib.sha256(model.dump().encode()).hexdigest()


def files_sha256(paths: Iterable[Path], *, named: bool = True) -> str:
    """Hash of files, one after the other, read a part at a time.

    Args:
        paths: of the files.
        named: whether their names count beside sizes and contents.

    Raises:
        InputError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                name = f"{path.name} " if named else ""
                digest.update(f"{name}{path.stat().st_size}\n".encode(errors="surrogateescape"))
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    return digest.hexdigest()
