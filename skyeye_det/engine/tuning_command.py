"""Tuning a decision rule for a model: predicts the tiles once, keeps them, and searches."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skyeye_det.data.pairs import ImagePair
from skyeye_det.data.scene_files import SceneFiles, find_scenes
from skyeye_det.engine.faults import told_in_a_sentence
from skyeye_det.engine.inference_folder import origin
from skyeye_det.engine.pair_predictor import ModelFiles, PairPredictor
from skyeye_det.engine.predictor import read_pairs, tile_dict
from skyeye_det.engine.setup import load_config
from skyeye_det.engine.views import parse_views
from skyeye_det.errors import InputError
from skyeye_det.evaluation.truth import tiles_from_labels
from skyeye_det.evaluation.tuning import TuningOptions, rule_remarks, tune_rule
from skyeye_det.evaluation.tuning_files import KeptTile, claim_folder, save_tile, tile_path
from skyeye_det.files import require_writable, sole_writer
from skyeye_det.postprocessing.decision import write_rule
from skyeye_det.progress import progress


@dataclass(frozen=True)
class TunedModel:
    """What is tuned, and on which tiles.

    Attributes:
        models: one, or several whose predictions are merged.
        xbd_root: root with ``<split>/images`` and ``<split>/labels``.
        splits: folders below it.
        views: test-time augmentation, see ``views.parse_views``.
        overrides: ``KEY VALUE ...`` of the configs.
    """

    models: Sequence[ModelFiles]
    xbd_root: Path
    splits: Sequence[str]
    views: str = "none"
    overrides: Sequence[str] = ()


def tune_postprocess(
    tuned: TunedModel, output: Path, work: Path | None, options: TuningOptions
) -> dict[str, Any]:
    """Predicts, or takes up what an earlier run predicted, tunes the rule and writes it.

    Args:
        tuned: model and tiles.
        output: YAML to write, for ``TEST.DECISIONS``.
        work: folder of the kept predictions; None: ``<output without suffix>.tiles``.
        options: folds, seed, workers and draws.

    Returns:
        The report of ``evaluation.tuning.tune_rule`` with ``model``: ``config_files``, ``weights``,
        ``splits`` and ``views``.

    Raises:
        InputError: config, weights, labels, images or folds are not what they should be, or ``work`` holds
            tiles of something else.
    """
    if not output.name:
        raise InputError(f"--output {output}: expected a file, found a folder")
    require_writable(output)
    options.check(len(tiles_from_labels(tuned.xbd_root, tuned.splits)))
    paths = keep_tiles(tuned, work or output.with_name(f"{output.stem}.tiles"))
    rule, report = tune_rule(paths, options)
    report["model"] = {
        "config_files": [each.config_file for each in tuned.models],
        "weights": [each.weights for each in tuned.models],
        "splits": list(tuned.splits),
        "views": tuned.views,
    }
    names = ", ".join(Path(each.weights).name for each in tuned.models)
    source = f"{', '.join(tuned.splits)} for {names} ({_config_names(tuned)}, views {tuned.views})"
    write_rule(output, rule, rule_remarks(report, source))
    return report


def keep_tiles(tuned: TunedModel, folder: Path) -> list[Path]:
    """Predictions and truth of every tile as files, those that are not there yet being made.

    Args:
        tuned: model and tiles.
        folder: of the files; see ``tuning_files.claim_folder``.

    Returns:
        Files sorted by scene.

    Raises:
        InputError: as ``tune_postprocess``.
    """
    loaded = [(load_config(each.config_file, tuned.overrides), each.weights) for each in tuned.models]
    views = parse_views(tuned.views)
    truths = {tile.scene: tile for tile in tiles_from_labels(tuned.xbd_root, tuned.splits)}
    files = {
        scene.name: scene
        for split in dict.fromkeys(tuned.splits)
        for scene in find_scenes(tuned.xbd_root, split)[0]
    }
    scenes = sorted(truths)
    tiles = [
        tile_dict(ImagePair(name, files[name].pre_image, files[name].post_image)) | {"image_id": number}
        for number, name in enumerate(scenes, start=1)
    ]
    with sole_writer(folder):
        todo = [tile for tile in tiles if not tile_path(folder, tile["scene"]).is_file()]
        predictor = PairPredictor(loaded, views) if todo else None
        claim_folder(
            folder,
            {
                **origin(loaded),
                "tiles_sha256": _tiles_sha256([files[name] for name in scenes]),
                "views": tuned.views,
            },
        )
        print(f"{len(tiles)} tiles, {len(tiles) - len(todo)} of them predicted before")
        if predictor is not None:
            with told_in_a_sentence():
                for pair in progress(read_pairs(loaded[0][0], todo), len(todo), "predict", "pair"):
                    scene = pair["scene"]
                    save_tile(tile_path(folder, scene), KeptTile(predictor(pair), truths[scene].read()))
    return [tile_path(folder, name) for name in scenes]


def _config_names(tuned: TunedModel) -> str:
    return ", ".join(dict.fromkeys(Path(each.config_file).name for each in tuned.models))


def _tiles_sha256(scenes: Sequence[SceneFiles]) -> str:
    """Of names and sizes of the images, and of the labels themselves."""
    digest = hashlib.sha256()
    for scene in scenes:
        for image in (scene.pre_image, scene.post_image):
            digest.update(f"{image.name} {image.stat().st_size}\n".encode())
        for label in (scene.pre_label, scene.post_label):
            digest.update(label.read_bytes())
    return digest.hexdigest()
