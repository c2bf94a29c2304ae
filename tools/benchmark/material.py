"""The pairs that are measured on: real or made-up ones, repeated under new names by hard links."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from skyeye_det.data.conversion import ConversionOptions, convert_xbd
from skyeye_det.errors import InputError
from skyeye_det.sample.dataset import make_sample_xbd

SPLIT = "train"


def convert(root: Path, workers: int) -> Path:
    """Converts a root's split; gives the COCO file."""
    output = root / f"by{workers}"
    convert_xbd(root, ConversionOptions((SPLIT,), output, workers=workers))
    return output / f"xbd_{SPLIT}.json"


def find_labels(*folders: Path, with_images: bool) -> list[tuple[Path, Path]]:
    """Labels (pre, post) of each scene in folders; ``with_images``: of those that have PNGs too."""
    found = []
    for pre in (path for folder in folders for path in sorted(folder.glob("[!.]*_*_pre_disaster.json"))):
        pair = pre, pre.with_name(pre.name.replace("_pre_disaster.", "_post_disaster."))
        if all(path.is_file() for path in (*pair, *(map(_image_of, pair) if with_images else ()))):
            found.append(pair)
    if not found:
        kind = "labels with PNGs in ../images" if with_images else "labels"
        places = ", ".join(map(str, folders)) or "*/labels"
        raise InputError(f"{places}: expected {kind}, pre and post, found none; check --labels, --xbd-root")
    return found


def labels_with_images(xbd_root: Path | None, folder: Path, count: int) -> list[tuple[Path, Path]]:
    """Scenes of all splits of an xBD root, or up to 24 made-up ones, drawn to ``folder``."""
    if xbd_root is None:
        make_sample_xbd(folder, min(count, 24), seed=0)
    return find_labels(*sorted((xbd_root or folder).glob("*/labels")), with_images=True)


def repeated_root(root: Path, scenes: Sequence[tuple[Path, Path]], count: int) -> Path:
    """Makes an xBD root of ``count`` pairs, split ``SPLIT``, that repeats ``scenes`` under new names.

    Images that are missing are black, 1024 x 1024 px. Gives ``root``.
    """
    black = cv2.imencode(".png", np.zeros((1024, 1024, 3), np.uint8))[1].tobytes()
    copies: dict[Path, Path] = {}
    for kind in ("labels", "images"):
        (root / SPLIT / kind).mkdir(parents=True)
    for number in range(count):
        for label in scenes[number % len(scenes)]:
            event, _, time, _ = label.stem.rsplit("_", 3)
            place = root / SPLIT / "labels" / f"{event}_{number:08d}_{time}_disaster.json"
            for source, target in ((label, place), (_image_of(label), _image_of(place))):
                if source in copies:
                    os.link(copies[source], target)
                else:
                    target.write_bytes(source.read_bytes() if source.is_file() else black)
                    copies[source] = target
    return root


def _image_of(label: Path) -> Path:
    return label.parent.parent / "images" / f"{label.stem}.png"
