#!/usr/bin/env python
"""Times all of an assessment but the network, and takes its memory: a scene of made-up predictions.

    python tools/benchmark/scene.py --size 20000 --json scene.json

A pair of --size x --size px is written, read window by window, compared for a shift, its predictions (a house
every 63 px) are kept, decided and written. Peak memory is that of this program, without a network.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.prediction import InstancePrediction
from skyeye_det.scene.geotiff import write_geotiff
from skyeye_det.scene.request import AssessmentOptions, open_request

SPACING, SIDE = 63, 24  # px between houses, and of a house
UTM = CRS.from_epsg(32615)
PLACE = Affine(0.5, 0, 366600, 0, -0.5, 4100000)


class MadeUpModels:
    """Sees houses on a lattice that overlapping windows share."""

    seconds = 0.0

    def origin(self) -> dict:
        """What the store is of."""
        return {"weights": ["made up"]}

    def load(self) -> "MadeUpModels":
        """Nothing."""
        return self

    def predict(self, image: np.ndarray) -> InstancePrediction:
        """Houses where the pixels of the pre image are bright."""
        start = time.monotonic()
        shape = image.shape[1], image.shape[2]
        places = np.argwhere((image[0] == 255) & (image[1] == 0))[:, ::-1].astype(np.float32)
        count = len(places)
        boxes = np.concatenate([places, places + SIDE], axis=1)
        probs = np.random.default_rng(count).dirichlet([4, 1, 1, 2], count).astype(np.float32)
        mask = np.full((28, 28), 255, np.uint8)
        mask[:3, :9] = 0
        found = InstancePrediction(
            boxes=np.minimum(boxes, [shape[1], shape[0], shape[1], shape[0]]).astype(np.float32),
            masks=np.repeat(mask[None], count, axis=0),
            scores=np.linspace(0.99, 0.6, count, dtype=np.float32),
            damage_probs=probs,
            is_component=np.zeros(count, np.bool_),
            features=np.zeros((count, 256), np.float16),
            shape=shape,
            building_map=np.zeros(shape, np.uint8),
        )
        MadeUpModels.seconds += time.monotonic() - start
        return found


def write_pair(folder: Path, size: int) -> tuple[Path, Path]:
    """Two scenes of ``size`` px with a mark where each house begins."""
    noise = np.random.default_rng(0).integers(30, 200, (3, 512 + SPACING, 512 + SPACING), np.uint8)
    profile = {"width": size, "height": size, "count": 3, "dtype": "uint8", "crs": UTM, "transform": PLACE}

    def read(part: Window) -> np.ndarray:
        y, x = part.row_off % SPACING, part.col_off % SPACING
        image = noise[:, y : y + part.height, x : x + part.width].copy()
        image[0, -y % SPACING :: SPACING, -x % SPACING :: SPACING] = 255
        image[1, -y % SPACING :: SPACING, -x % SPACING :: SPACING] = 0
        return image

    paths = folder / "pre.tif", folder / "post.tif"
    for path in paths:
        write_geotiff(path, profile, read)
    return paths


def main() -> None:
    """Prints and writes the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=5000, help="px of a side")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    from skyeye_det.engine import assessment

    with tempfile.TemporaryDirectory() as folder:
        pre, post = write_pair(Path(folder), args.size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        output = Path(folder, "out")
        options = AssessmentOptions(pre=[str(pre)], post=[str(post)], output=output)
        made_up = MadeUpModels()
        seen: Any = assessment
        seen._model = lambda _: (made_up, DecisionRule(outline="mask"), "made up")
        start = time.monotonic()
        records = assessment.run_assessment(options, open_request(options))
        total = time.monotonic() - start
        run = json.loads(Path(output, "run.json").read_text())
        windows = len(list(Path(output, "parts").glob("*.npz")))
    figures = {
        "size": args.size,
        "windows": windows,
        "buildings": len(records or ()),
        "seconds": total,
        "read and keep, s a window": (run["seconds"]["predict"] - MadeUpModels.seconds) / windows,
        "decide and write, s": total - run["seconds"]["predict"],
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "MiB before": before / 1024,
    }
    print(json.dumps(figures, indent=1))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
