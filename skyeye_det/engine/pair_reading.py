"""The image pairs of a folder: as tiles, and their pixels one after the other."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.data.footprint_file import FootprintFile
from skyeye_det.data.image_reading import image_size
from skyeye_det.data.loading import pair_loader
from skyeye_det.data.pairs import ImagePair, image_id
from skyeye_det.errors import InputError
from skyeye_det.files import files_sha256
from skyeye_det.prediction.store import KeptImage
from skyeye_det.xview2.submission import submission_names

_LONGEST_NAME = 255
"""Bytes of a file's name."""


def readable_pairs(
    pairs: Sequence[ImagePair], footprints: FootprintFile | None
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Pairs as ``tile_of`` gives them; scene -> why, of those without readable headers or footprints."""
    tiles, unreadable = [], {}
    for pair in pairs:
        try:
            tile = tile_of(pair)
            if footprints:
                footprints.annotations(pair.name, (tile["height"], tile["width"]))
            tiles.append(tile)
        except InputError as error:
            unreadable[pair.name] = str(error)
    return tiles, unreadable


def kept_image(tile: dict[str, Any]) -> KeptImage:
    """A tile as a prediction store knows it, with the hash of its files as they are now."""
    paths = Path(tile["file_name"]), Path(tile["post_file_name"])
    digest = files_sha256(paths, named=False)
    return KeptImage(tile["scene"], paths[0].name, tile["height"], tile["width"], digest)


def tile_of(pair: ImagePair) -> dict[str, Any]:
    """A pair as ``PairMapper`` takes it.

    Raises:
        InputError: an image cannot be read, they are of two sizes, or no file can bear the scene's name.
    """
    longest = max(len(os.fsencode(f".{name}.partial")) for name in submission_names(pair.name))
    if not pair.name.isprintable() or longest > _LONGEST_NAME:
        raise InputError(
            f"{pair.pre}: expected a name of printable text in UTF-8, of at most {_LONGEST_NAME} bytes with "
            "what the results add to it, found another; rename both images"
        )
    sizes = [image_size(path) for path in (pair.pre, pair.post)]
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
        "image_id": image_id(pair.name),
        "height": height,
        "width": width,
    }


def read_pairs(cfg: CfgNode, tiles: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Reads tiles as ``PairMapper`` gives them, in ``cfg.DATALOADER.NUM_WORKERS`` processes.

    Yields:
        Of a tile that cannot be read, ``scene`` and a sentence as ``fault``.
    """
    listed = list(tiles)
    if listed:
        workers = min(cfg.DATALOADER.NUM_WORKERS, len(listed) - 1)
        for (pair,) in pair_loader(listed, _FaultMapper(PairMapper(cfg, is_train=False)), workers):
            yield pair


class _FaultMapper:
    """Hands a fault on as text: raised in a worker, it would arrive as a page of traceback."""

    def __init__(self, mapper: PairMapper):
        self._mapper = mapper

    def __call__(self, tile: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._mapper(tile)
        except InputError as error:
            return {"scene": tile["scene"], "fault": str(error)}
