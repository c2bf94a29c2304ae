"""From images to instances: one pair, or a folder of them that a killed run can take up again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader

from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.data.image_reading import sure_image_size
from skyeye_det.data.pairs import ImagePair, find_pairs
from skyeye_det.decision.rule import DecisionRule, read_rule
from skyeye_det.engine.faults import told_in_a_sentence
from skyeye_det.engine.inference_folder import claim, is_done, join, part_file
from skyeye_det.engine.pair_predictor import ModelFiles, PairPredictor
from skyeye_det.engine.setup import load_config
from skyeye_det.errors import InputError
from skyeye_det.files import require_writable, sole_writer, write_json
from skyeye_det.prediction.model_output import graded
from skyeye_det.progress import progress
from skyeye_det.xview2.submission import (
    number_scenes,
    write_numbering,
    write_submission_pngs,
    write_tile,
)


@dataclass(frozen=True)
class InferenceOptions:
    """In what precision tiles are looked at, and how the results of a folder are written.

    Attributes:
        numbered: name the PNGs in the official scorer's order, with a table of which is which.
        prefix: ``test`` or ``hold``, of numbered names.
        precision: of ``pair_predictor.PRECISIONS``.
    """

    numbered: bool = False
    prefix: str = "test"
    precision: str = "fp32"


def load_models(
    models: Sequence[ModelFiles], overrides: Sequence[str] = ()
) -> tuple[list[tuple[CfgNode, str]], DecisionRule]:
    """Reads the configs of an ensemble, and the rule that they name.

    Raises:
        InputError: a config or the rule is not what it should be, or they name different rules.
    """
    loaded = [(load_config(each.config_file, overrides), each.weights) for each in models]
    rules = {cfg.TEST.DECISIONS: read_rule(cfg.TEST.DECISIONS) for cfg, _ in loaded}
    if len(set(rules.values())) > 1:
        raise InputError(
            f"--decisions: expected a rule for these models together, found one for each: {', '.join(rules)};"
            " name one of configs/decisions, or tune one with tools/tune_postprocess.py"
        )
    return loaded, next(iter(rules.values()))


def infer_pair(
    models: Sequence[ModelFiles],
    images: tuple[Path, Path],
    outputs: tuple[Path, Path],
    options: InferenceOptions = InferenceOptions(),
    overrides: Sequence[str] = (),
) -> None:
    """The competition's container entry: one pair in, its two PNGs out.

    Args:
        models: one, or several whose predictions are merged.
        images: (pre, post) images of one size.
        outputs: (localization, damage) PNGs to write, 0/1 and 0..4.
        options: precision.
        overrides: ``KEY VALUE ...`` of the config.

    Raises:
        InputError: an image, the config or the weights are not what they should be.
    """
    loaded, rule = load_models(models, overrides)
    pair = PairMapper(loaded[0][0], is_train=False)(tile_dict(ImagePair("pair", *images)))
    for path in outputs:
        require_writable(path)
    predictor = PairPredictor(loaded, [each.views for each in models], options.precision)
    with told_in_a_sentence():
        prediction = predictor(pair)
    write_tile(*outputs, *prediction.rasterize(rule))


def infer_folder(
    models: Sequence[ModelFiles],
    images: Path,
    output: Path,
    options: InferenceOptions = InferenceOptions(),
    overrides: Sequence[str] = (),
) -> int:
    """Predicts every pair of a folder, or those that an earlier, killed run has left.

    Writes to ``output``: both PNGs of each pair, ``instances/<scene>.json`` with its COCO results (last, so
    that it means "done"), and at the end ``instances.json`` with all of them. ``image_id`` counts the scenes
    by name from 1, as ``tools/convert_xbd_to_coco.py`` does for a split without faults.

    Args:
        models: one, or several whose predictions are merged.
        images: xBD root, one split of it, or a flat folder; see ``find_pairs``.
        output: folder of the results.
        options: precision, and names of the PNGs.
        overrides: ``KEY VALUE ...`` of the config.

    Returns:
        The number of pairs in the folder.

    Raises:
        InputError: images, config, weights or an earlier result are not what they should be.
    """
    views = [each.views for each in models]
    loaded, rule = load_models(models, overrides)
    pairs, cfg = find_pairs(images), loaded[0][0]
    names = number_scenes((pair.name for pair in pairs), options.prefix) if options.numbered else {}
    tiles = [tile_dict(pair) | {"image_id": number} for number, pair in enumerate(pairs, start=1)]
    predictor = PairPredictor(loaded, views, options.precision)
    with sole_writer(output):
        claim(
            output,
            loaded,
            rule,
            pairs,
            {
                "numbered": options.prefix if options.numbered else None,
                "views": views,
                "precision": options.precision,
            },
            has_scores=predictor.has_scores,
        )
        if names:
            write_numbering(output, names)
        todo = [tile for tile in tiles if not is_done(output, tile["scene"], names)]
        print(f"{len(tiles)} pairs, {len(tiles) - len(todo)} of them done before, on {cfg.MODEL.DEVICE}")
        with told_in_a_sentence():
            for pair in progress(read_pairs(cfg, todo), len(todo), "predict", "pair"):
                prediction, scene = predictor(pair), pair["scene"]
                write_submission_pngs(output, names.get(scene, scene), *prediction.rasterize(rule))
                results = graded(prediction, rule).coco_results(
                    scene, pair["image_id"], Path(pair["file_name"]).name
                )
                write_json(part_file(output, scene), results)
        join(output, [part_file(output, tile["scene"]) for tile in tiles])
    return len(tiles)


def tile_dict(pair: ImagePair) -> dict[str, Any]:
    """A pair as ``PairMapper`` takes it.

    Raises:
        InputError: an image cannot be read, or they are of two sizes.
    """
    sizes = [sure_image_size(path) for path in (pair.pre, pair.post)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"{pair.post}: expected {sizes[0][0]} x {sizes[0][1]} px as {pair.pre.name} has, found "
            f"{sizes[1][0]} x {sizes[1][1]}; cut both images to the same ground"
        )
    width, height = sizes[0]
    return {
        "file_name": str(pair.pre),
        "post_file_name": str(pair.post),
        "scene": pair.name,
        "height": height,
        "width": width,
    }


def read_pairs(cfg: CfgNode, tiles: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Reads tiles as ``PairMapper`` gives them, in ``cfg.DATALOADER.NUM_WORKERS`` processes.

    Raises:
        InputError: an image cannot be read.
    """
    if not tiles:
        return
    loader = build_detection_test_loader(
        tiles,
        mapper=_SentenceMapper(PairMapper(cfg, is_train=False)),
        num_workers=min(cfg.DATALOADER.NUM_WORKERS, len(tiles) - 1),
    )
    fault = None
    for (pair,) in loader:
        fault = pair.get("fault")
        if fault:
            break
        yield pair
    if fault:  # raised here, when the loading processes have ended in order
        raise InputError(fault)


class _SentenceMapper:
    """Hands a fault on as text: raised in a worker, it would arrive as a page of traceback."""

    def __init__(self, mapper: PairMapper):
        self._mapper = mapper

    def __call__(self, tile: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._mapper(tile)
        except InputError as error:
            return {"fault": str(error)}
