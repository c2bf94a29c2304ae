"""The files that are measured on: real or made-up pairs, repeated under new names by hard links."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import cv2
import numpy as np

from skyeye_det.data.pairs import scene_event
from skyeye_det.errors import InputError
from skyeye_det.files import read_json, write_bytes
from skyeye_det.sample.dataset import make_sample_xbd

SPLIT = "train"
_TIMES = ("pre", "post")
_PRE_LABEL = "_pre_disaster.json"
_LARGEST_SIDE = 1 << 14


@dataclass(frozen=True)
class SourcePair:
    """Labels of a pair, (pre, post), and its images where there are any."""

    event: str
    labels: tuple[Path, Path]
    images: tuple[Path, Path] | None = None


def label_pairs(folder: Path) -> list[SourcePair]:
    """Pairs of a folder of label files alone.

    Raises:
        InputError: no such folder, or no pair in it.
    """
    pairs = list(_pairs(folder, None))
    if not pairs:
        raise InputError(
            f"{folder}: expected label pairs <scene>_pre_disaster.json and"
            " <scene>_post_disaster.json, found none"
        )
    return pairs


def root_pairs(root: Path) -> list[SourcePair]:
    """Pairs with PNG images of all splits of an xBD root.

    Raises:
        InputError: no pair with both labels and PNG images.
    """
    pairs = [
        pair
        for labels in sorted(root.glob("*/labels"))
        for pair in _pairs(labels, labels.parent / "images")
        if pair.images is not None
    ]
    if not pairs:
        raise InputError(
            f"{root}: expected pairs with labels and PNG images in */labels and */images, found none;"
            " check --xbd-root"
        )
    return pairs


def sample_pairs(folder: Path, count: int, size: int, workers: int) -> list[SourcePair]:
    """Pairs of the sample generator, written to ``folder``."""
    make_sample_xbd(folder, count, seed=0, size=size, splits={SPLIT: 1.0}, workers=workers)
    return root_pairs(folder)


def linked_root(folder: Path, sources: Sequence[SourcePair], count: int) -> list[SourcePair]:
    """Makes an xBD root of ``count`` pairs, split ``SPLIT``, that repeats ``sources`` under new names.

    Each source file is copied once and linked from then on. A pair without images gets a black PNG of the
    size that its label says, one file for all of a size.

    Returns:
        The pairs of the root, in order of its names.

    Raises:
        InputError: a file cannot be written or linked, or a label says no size.
    """
    images, labels, store = folder / SPLIT / "images", folder / SPLIT / "labels", _Store(folder / "source")
    try:
        for place in (images, labels, store.folder):
            place.mkdir(parents=True, exist_ok=True)
        pairs = []
        for number in range(count):
            source = sources[number % len(sources)]
            scene = f"{source.event}_{number:08d}"
            shown = source.images or (store.black_image(source.labels[0]),) * 2
            pairs.append(
                SourcePair(
                    source.event,
                    store.link_pair(source.labels, labels, scene),
                    store.link_pair(shown, images, scene),
                )
            )
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be filled with linked files ({error.strerror or error});"
            " choose another --output"
        ) from error
    return sorted(pairs, key=lambda pair: pair.labels[0].name)


class _Store:
    """Copies of the sources, on the file system that they are linked on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._copies: dict[Path, Path] = {}
        self._sizes: dict[Path, tuple[int, int]] = {}

    def link_pair(self, sources: tuple[Path, Path], place: Path, scene: str) -> tuple[Path, Path]:
        """Links the pre and the post file of a pair to ``place`` under a scene's name."""
        targets = []
        for source, time in zip(sources, _TIMES, strict=True):
            if source not in self._copies:
                copy = self.folder / f"{len(self._copies):06d}{source.suffix}"
                shutil.copyfile(source, copy)
                self._copies[source] = copy
            target = place / f"{scene}_{time}_disaster{source.suffix}"
            os.link(self._copies[source], target)
            targets.append(target)
        return targets[0], targets[1]

    def black_image(self, label: Path) -> Path:
        """A PNG of the size that a label says."""
        if label not in self._sizes:
            self._sizes[label] = _label_size(label)
        width, height = self._sizes[label]
        path = self.folder / f"black_{width}x{height}.png"
        if not path.exists():
            write_bytes(path, cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes())
        return path


def _label_size(label: Path) -> tuple[int, int]:
    content = read_json(label)
    metadata = content.get("metadata") if isinstance(content, dict) else None
    width, height = (
        metadata.get(side) if isinstance(metadata, dict) else None for side in ("width", "height")
    )
    if not (_is_side(width) and _is_side(height)):
        raise InputError(
            f"{label}: expected metadata.width and metadata.height in px, found {width} and {height}"
        )
    return width, height


def _is_side(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_SIDE


def _pairs(labels: Path, images: Path | None) -> Iterator[SourcePair]:
    for pre in sorted(labels.glob(f"[!.]*{_PRE_LABEL}")):
        scene = pre.name.removesuffix(_PRE_LABEL)
        post = labels / f"{scene}_post_disaster.json"
        if not post.is_file():
            continue
        found = None
        if images is not None:
            both = images / f"{scene}_pre_disaster.png", images / f"{scene}_post_disaster.png"
            found = both if all(path.is_file() for path in both) else None
        yield SourcePair(scene_event(scene), (pre, post), found)
