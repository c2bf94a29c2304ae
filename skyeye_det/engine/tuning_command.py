"""Tuning a decision rule for a model: predicts the tiles once, keeps them, and searches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skyeye_det.data.pairs import ImagePair
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.decision.rule import write_rule
from skyeye_det.decision.tuning.tune import TuningOptions, rule_remarks, tune_rule
from skyeye_det.engine.faults import faults_reported
from skyeye_det.engine.inference_folder import files_sha256, origin
from skyeye_det.engine.pair_predictor import ModelFiles, PairPredictor
from skyeye_det.engine.predictor import read_pairs, tile_dict
from skyeye_det.engine.setup import load_config
from skyeye_det.errors import InputError
from skyeye_det.evaluation.truth import labelled_scenes, tile_of
from skyeye_det.files import require_writable, sole_writer, write_json
from skyeye_det.prediction.store import KeptTile, claim_folder, save_tile, tile_path
from skyeye_det.progress import progress


@dataclass(frozen=True)
class TunedModel:
    """What is tuned, and on which tiles.

    Attributes:
        models: one, or several whose predictions are merged.
        xbd_root: root with ``<split>/images`` and ``<split>/labels``.
        splits: folders below it, or parts of ``split_file``.
        overrides: ``KEY VALUE ...`` of the configs.
        split_file: a split of the root's tiles; None: its folders.
        out_of_fold: each model predicts the one split that stands at its place. Of twice as many models as
            splits the second half does so again: an ensemble of two out of fold; and so on.
    """

    models: Sequence[ModelFiles]
    xbd_root: Path
    splits: Sequence[str]
    overrides: Sequence[str] = ()
    split_file: Path | None = None
    out_of_fold: bool = False

    def scenes(self) -> list[SceneFiles]:
        """The tiles, sorted by scene; raises InputError, see ``truth.labelled_scenes``."""
        return labelled_scenes(self.xbd_root, self.splits, self.split_file)

    def by_fold(self) -> "list[TunedModel]":
        """One for each split and its models; raises InputError where their numbers do not fit."""
        folds = len(self.splits)
        if len(self.models) % folds or len(set(self.splits)) != folds:
            raise InputError(
                "--out-of-fold: expected a checkpoint for each split (of an ensemble several times as many, "
                f"model by model), found {len(self.models)} and {', '.join(self.splits)}"
            )
        kinds = [(each.config_file, each.views) for each in self.models]
        if any(len(set(kinds[start : start + folds])) > 1 for start in range(0, len(kinds), folds)):
            raise InputError(
                f"--out-of-fold: expected {folds} checkpoints of one config and one --tta, a split each, then"
                f" those of the next model, found them mixed: {', '.join(name for name, _ in kinds)}"
            )
        served = {(Path(each.weights).resolve(), number % folds) for number, each in enumerate(self.models)}
        if len({path for path, _ in served}) != len(served):
            raise InputError(
                "--out-of-fold: expected a checkpoint of its own for each split, which it has not seen, found"
                " one for two of them in --weights"
            )
        return [
            replace(self, models=self.models[number::folds], splits=[split], out_of_fold=False)
            for number, split in enumerate(self.splits)
        ]


def tune_postprocess(
    tuned: TunedModel,
    output: Path | None,
    work: Path | None,
    options: TuningOptions,
    report_file: Path | None = None,
) -> dict[str, Any]:
    """Predicts, or takes up what an earlier run predicted, tunes a rule and writes it, or judges one.

    Args:
        tuned: model and tiles.
        output: YAML to write, for ``TEST.DECISIONS``; None with ``options.rule``, which is written by no one.
        work: folder of the kept predictions; None: ``<output without suffix>.tiles``.
        options: folds, seed, workers and draws.
        report_file: JSON to write the report to.

    Returns:
        The report of ``evaluation.tuning.tune_rule`` with ``model``: ``config_files``, ``weights``,
        ``splits``, ``views`` and ``out_of_fold``.

    Raises:
        InputError: config, weights, labels, images or folds are not what they should be, or ``work`` holds
            tiles of something else.
    """
    if output is not None and not output.name:
        raise InputError(f"--output {output}: expected a file, found a folder")
    for written in (output, report_file):
        if written is not None:
            require_writable(written)
    options.check(len(tuned.scenes()))
    folder = work or (output and output.with_name(f"{output.stem}.tiles"))
    if output is not None and folder == output:
        raise InputError(
            f"--output {output}: expected another name than that of the kept tiles; call it .yaml"
        )
    if folder is None or (output is None) != (options.rule is not None):
        raise InputError("expected --output to tune a rule, or --rule and --work to judge one; name these")
    if tuned.out_of_fold:
        folds = [(fold, folder / str(number)) for number, fold in enumerate(tuned.by_fold(), start=1)]
        kept = (path for fold, own in folds for path in keep_tiles(fold, own))
        paths = sorted(kept, key=lambda path: path.name)
    else:
        paths = keep_tiles(tuned, folder)
    rule, report = tune_rule(paths, options)
    views = [each.views for each in tuned.models]
    report["model"] = {
        "config_files": [each.config_file for each in tuned.models],
        "weights": [each.weights for each in tuned.models],
        "splits": list(tuned.splits),
        "views": views,
        "out_of_fold": tuned.out_of_fold,
    }
    if report_file is not None:
        write_json(report_file, report, pretty=True)
    if output is None:
        return report
    names = ", ".join(Path(each.weights).name for each in tuned.models)
    configs = [Path(each.config_file).name for each in tuned.models]
    described = (", ".join(dict.fromkeys(each)) for each in (configs, views))
    source = f"{', '.join(tuned.splits)} for {names} ({', views '.join(described)})"
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
    views = [each.views for each in tuned.models]
    scenes = {files.name: files for files in tuned.scenes()}
    tiles = [
        tile_dict(ImagePair(name, files.pre_image, files.post_image)) | {"image_id": number}
        for number, (name, files) in enumerate(scenes.items(), start=1)
    ]
    with sole_writer(folder):
        todo = [tile for tile in tiles if not tile_path(folder, tile["scene"]).is_file()]
        predictor = PairPredictor(loaded, views) if todo else None
        claim_folder(
            folder,
            {
                **origin(loaded),
                "tiles_sha256": files_sha256(path for files in scenes.values() for path in files.paths),
                "views": views,
            },
        )
        print(f"{len(tiles)} tiles, {len(tiles) - len(todo)} of them predicted before")
        if predictor is not None:
            with faults_reported():
                for pair in progress(read_pairs(loaded[0][0], todo), len(todo), "predict", "pair"):
                    scene = pair["scene"]
                    save_tile(
                        tile_path(folder, scene), KeptTile(predictor(pair), tile_of(scenes[scene]).read())
                    )
    return [tile_path(folder, name) for name in scenes]
