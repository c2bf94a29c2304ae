"""From images to instances: one pair, or a folder of them that a killed run can take up again."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader

from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.data.image_size import sure_image_size
from skyeye_det.data.pairs import ImagePair, find_pairs
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.faults import told_in_a_sentence
from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.errors import InputError
from skyeye_det.files import read_json, whole_file, write_json
from skyeye_det.postprocessing.decision import read_rule
from skyeye_det.postprocessing.submission import (
    JOINED_FILE,
    PARTS_FOLDER,
    number_scenes,
    submission_names,
    write_numbering,
    write_submission_pngs,
    write_tile,
)
from skyeye_det.postprocessing.tile_prediction import TilePrediction
from skyeye_det.progress import progress

_SETTINGS_FILE = "inference.json"


class PairPredictor:
    """A model with weights, ready to look at pairs.

    Args:
        cfg: of ``load_config``.
        weights: checkpoint of training; see ``SkyeyeCheckpointer`` for what is accepted.

    Raises:
        InputError: the weights are missing, no checkpoint, or of another model.
    """

    def __init__(self, cfg: CfgNode, weights: str):
        self.model = build_pair_model(cfg).eval()
        SkyeyeCheckpointer(self.model).load_whole_model(weights)

    @torch.inference_mode()
    def __call__(self, pair: dict[str, Any]) -> TilePrediction:
        """Predicts one pair; ``pair`` as ``PairMapper`` gives it, with ``image`` uint8 (6, H, W)."""
        return TilePrediction.from_instances(self.model([pair])[0]["instances"])


@dataclass(frozen=True)
class InferenceOptions:
    """How the results of a folder are written.

    Attributes:
        numbered: name the PNGs in the official scorer's order, with a table of which is which.
        prefix: ``test`` or ``hold``, of numbered names.
    """

    numbered: bool = False
    prefix: str = "test"


def infer_pair(
    config_file: str,
    weights: str,
    images: tuple[Path, Path],
    outputs: tuple[Path, Path],
    overrides: Sequence[str] = (),
) -> None:
    """The competition's container entry: one pair in, its two PNGs out.

    Args:
        config_file: YAML of the model.
        weights: its checkpoint.
        images: (pre, post) images of one size.
        outputs: (localization, damage) PNGs to write, 0/1 and 0..4.
        overrides: ``KEY VALUE ...`` of the config.

    Raises:
        InputError: an image, the config or the weights are not what they should be.
    """
    cfg = load_config(config_file, overrides)
    pair = PairMapper(cfg, is_train=False)(_tile_dict(ImagePair("pair", *images)))
    prediction = PairPredictor(cfg, weights)(pair)
    write_tile(*outputs, *prediction.rasterize(read_rule(cfg.TEST.DECISIONS)))


def infer_folder(
    config_file: str,
    weights: str,
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
        config_file: YAML of the model.
        weights: its checkpoint.
        images: xBD root, one split of it, or a flat folder; see ``find_pairs``.
        output: folder of the results.
        options: names of the PNGs.
        overrides: ``KEY VALUE ...`` of the config.

    Returns:
        The number of pairs in the folder.

    Raises:
        InputError: images, config, weights or an earlier result are not what they should be.
    """
    cfg = load_config(config_file, overrides)
    pairs = find_pairs(images)
    names = number_scenes((pair.name for pair in pairs), options.prefix) if options.numbered else {}
    rule = read_rule(cfg.TEST.DECISIONS)
    tiles = [_tile_dict(pair) | {"image_id": number} for number, pair in enumerate(pairs, start=1)]
    predictor = PairPredictor(cfg, weights)
    _claim(output, cfg, weights, pairs, options)
    if names:
        write_numbering(output, names)
    todo = [tile for tile in tiles if not _is_done(output, tile["scene"], names)]
    print(f"{len(tiles)} pairs, {len(tiles) - len(todo)} of them done before, on {cfg.MODEL.DEVICE}")
    with told_in_a_sentence():
        for pair in progress(_read(cfg, todo), len(todo), "predict", "pair"):
            prediction, scene = predictor(pair), pair["scene"]
            painted = prediction.rasterize(rule)
            write_submission_pngs(output, names.get(scene, scene), *painted)
            results = prediction.coco_results(scene, pair["image_id"], Path(pair["file_name"]).name)
            write_json(_part(output, scene), results)
    _join(output, [_part(output, tile["scene"]) for tile in tiles])
    return len(tiles)


def _tile_dict(pair: ImagePair) -> dict[str, Any]:
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


def _read(cfg: CfgNode, tiles: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
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


def _part(output: Path, scene: str) -> Path:
    return output / PARTS_FOLDER / f"{scene}.json"


def _is_done(output: Path, scene: str, names: dict[str, str]) -> bool:
    pngs = (output / name for name in submission_names(names.get(scene, scene)))
    return _part(output, scene).is_file() and all(png.is_file() for png in pngs)


def _claim(
    output: Path, cfg: CfgNode, weights: str, pairs: list[ImagePair], options: InferenceOptions
) -> None:
    """Notes what the results come from; refuses to go on with those of something else."""
    model = cfg.clone()
    model.defrost()
    # Where and how fast the model runs does not change what it finds.
    model.MODEL.DEVICE, model.DATALOADER.NUM_WORKERS, model.OUTPUT_DIR = "", 0, ""
    images = [[path.name, path.stat().st_size] for pair in pairs for path in (pair.pre, pair.post)]
    settings = {
        "weights": weights,
        "weights_sha256": _sha256(Path(weights)) if Path(weights).is_file() else None,
        "config_sha256": hashlib.sha256(model.dump().encode()).hexdigest(),
        # Names and sizes: another pair would move the numbers of all that follow.
        "images_sha256": hashlib.sha256(json.dumps(images).encode()).hexdigest(),
        "numbered": options.prefix if options.numbered else None,
    }
    path = output / _SETTINGS_FILE
    if not path.is_file() or not any((output / PARTS_FOLDER).glob("*.json")):  # nothing that could differ
        write_json(path, settings, pretty=True)
        return
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected settings of inference, found something else; delete {output}")
    different = [key for key in settings if key != "weights" and found.get(key) != settings[key]]
    if different:
        raise InputError(
            f"{path}: expected results of this model for these images, found another {', '.join(different)} "
            f"(weights {found.get('weights')}); choose another --output, or delete {output} to begin anew"
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _join(output: Path, parts: list[Path]) -> None:
    with whole_file(output / JOINED_FILE) as partial, partial.open("w", encoding="utf-8") as joined:
        joined.write("[")
        separator = "\n"
        for part in parts:
            for result in read_json(part):
                joined.write(separator + json.dumps(result))
                separator = ",\n"
        joined.write("\n]\n")
