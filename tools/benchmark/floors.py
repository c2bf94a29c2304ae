"""The least that a step has to do, as functions that worker processes can import quickly."""

from pathlib import Path

import cv2
import numpy as np

from skyeye_det.xview2.submission import encode_class_png


def parse_labels(paths: tuple[Path, Path]) -> int:
    """Reads both labels of a pair and parses them; gives the number of bytes."""
    import orjson  # of the dev extra; the other rows do without

    size = 0
    for path in paths:
        content = path.read_bytes()
        orjson.loads(content)
        size += len(content)
    return size


def decode_images(paths: tuple[Path, ...]) -> int:
    """Reads images and decodes them; gives the number of values."""
    return sum(_decoded(path).size for path in paths)


def encode_images(path: Path) -> int:
    """Encodes the class images (n, h, w) of a ``.npy`` file as PNG; gives the number of bytes."""
    return sum(len(encode_class_png(image)) for image in np.load(path, mmap_mode="r"))


def _decoded(path: Path) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image
