#!/usr/bin/env python
"""Times all of an assessment but the network, and takes its memory: a scene of made-up predictions.

    python tools/benchmark/scene.py --size 10000 --json scene.json
    python tools/benchmark/scene.py --size 20000 --spacing 1008 --json sparse.json

A pair of --size x --size px, one tile repeated, is read window by window and compared for a shift; its
predictions, a house every --spacing px, are kept, decided and written. Seconds are the processor's, whatever
else runs on it. Peak memory is that of this program, without a network; with few houses, that of pixels.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.prediction import InstancePrediction
from skyeye_det.scene.geotiff import write_geotiff
from skyeye_det.scene.rasters import bounded_cache
from skyeye_det.scene.request import AssessmentOptions, open_request

SIDE = 24  # px of a house
TILE = 4032  # px, which 63 and 1008 divide
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

    def batch_size(self, _: int) -> int:
        """Of windows that are predicted at once."""
        return 1

    def predict_batch(self, images: Sequence[np.ndarray]) -> list[InstancePrediction]:
        """Of each image."""
        return [self._predicted(each) for each in images]

    def _predicted(self, image: np.ndarray) -> InstancePrediction:
        """Houses where the pixels of the pre image are bright."""
        start = time.process_time()
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
        MadeUpModels.seconds += time.process_time() - start
        return found


def write_pair(folder: Path, size: int, spacing: int) -> tuple[Path, Path]:
    """Two scenes of ``size`` px, one tile repeated, with a mark where each house begins."""
    tiles = np.random.default_rng(0).integers(30, 200, (2, 3, TILE, TILE), np.uint8)
    tiles[:, 0, ::spacing, ::spacing] = 255
    tiles[:, 1, ::spacing, ::spacing] = 0
    profile = {"width": TILE, "height": TILE, "count": 3, "dtype": "uint8", "crs": UTM, "transform": PLACE}

    def read(tile: np.ndarray, part: Window) -> np.ndarray:
        rows, columns = part.toslices()
        return tile[:, rows, columns]

    paths = folder / "pre.vrt", folder / "post.vrt"
    for path, tile in zip(paths, tiles, strict=True):
        write_geotiff(path.with_suffix(".tif"), profile, partial(read, tile))
        path.write_text(_repeated(path.with_suffix(".tif").name, size))
    return paths


def _repeated(name: str, size: int) -> str:
    """GDAL's virtual raster of a tile that is laid out until ``size`` px are covered."""
    starts = range(0, size, TILE)
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><ColorInterp>{color}</ColorInterp>'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename>'
            f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" xSize="{TILE}" ySize="{TILE}"/>'
            f'<DstRect xOff="{x}" yOff="{y}" xSize="{TILE}" ySize="{TILE}"/></SimpleSource>'
            for y in starts
            for x in starts
        )
        + "</VRTRasterBand>"
        for band, color in enumerate(("Red", "Green", "Blue"), start=1)
    )
    place = ", ".join(map(str, PLACE.to_gdal()))
    head = f'<VRTDataset rasterXSize="{size}" rasterYSize="{size}"><SRS>EPSG:{UTM.to_epsg()}</SRS>'
    return f"{head}<GeoTransform>{place}</GeoTransform>{bands}</VRTDataset>"


def main() -> None:
    """Prints and writes the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=5000, help="px of a side")
    parser.add_argument("--spacing", type=int, default=63, help="px from house to house, 63 or 1008")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    from skyeye_det.engine.assessment import open_scene
    from skyeye_det.engine.assessment_results import Assessor, finish_results, write_results
    from skyeye_det.engine.scene_prediction import keep_scene

    with tempfile.TemporaryDirectory() as folder, bounded_cache():
        pre, post = write_pair(Path(folder), args.size, args.spacing)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        output = Path(folder, "out")
        options = AssessmentOptions(pre=[str(pre)], post=[str(post)], output=output)
        request, models = open_request(options), cast(Any, MadeUpModels())
        times = [time.process_time()]
        scene = open_scene(request)
        stores = keep_scene(models, scene, options, None)
        times.append(time.process_time())
        assessor = Assessor(models, DecisionRule(outline="mask"), "made up")
        results = write_results(options, request, assessor, scene, stores, {})
        times.append(time.process_time())
        finish_results(output, scene, results.run)
        times.append(time.process_time())
        windows, buildings = len(stores.found.windows(stores.found.images[0])), len(results.found.records)
    kept, written, page = np.diff(times).tolist()
    figures = {
        "size": args.size,
        "windows": windows,
        "buildings": buildings,
        "read and keep, s a window": (kept - MadeUpModels.seconds) / windows,
        "decide and write, s": written,
        "decide and write, ms a building": 1000 * written / max(buildings, 1),
        "page, s": page,
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "MiB before": before / 1024,
    }
    print(json.dumps(figures, indent=1))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
