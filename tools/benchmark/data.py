"""Times conversion, scoring, targets, rasterizing and training samples against what cannot be left out.

  python tools/benchmark/data.py --labels DIR --xbd-root DIR --json FILE

Without --labels the labels are those of --xbd-root, without that all is made up. Files are made in a folder
of TMPDIR that is removed. Needs the dev extra; two rows are left out without torch and detectron2.
Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse
import filecmp
import sys
import tempfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import orjson

from material import SPLIT, convert, find_labels, labels_with_images, repeated_root
from measure import Row, command_line, in_own_process, in_turns, report
from skyeye_det.arguments import named_path, positive
from skyeye_det.decision.decide import decide
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.errors import run_command
from skyeye_det.evaluation.submission_score import score_submission
from skyeye_det.prediction.prediction import InstancePrediction, compact_probability
from skyeye_det.workers import ordered_map
from skyeye_det.xview2.submission import encode_class_png, read_class_png, write_submission_pngs
from skyeye_det.xview2.targets import make_targets

INSTANCES, SHAPE, MASK_THRESHOLD = 1000, (1024, 1024), 0.5
TIMED_SAMPLES = 60
SHIFT = 3  # px by which the predictions that are scored are moved against the targets


def conversion(root: Path, given: argparse.Namespace) -> Row:
    """Label pairs to COCO against reading and parsing the same bytes."""
    labels = sorted((root / SPLIT / "labels").iterdir())
    (alone, memory), (together, more) = (in_own_process(convert, root, n) for n in (1, given.workers))
    ours, floor = in_turns(
        partial(convert, root, given.workers),
        lambda: sum(ordered_map(parse_label, labels, given.workers, chunk=16)),
        given.repeats,
    )
    notes = {"the same output for 1 worker and for all": filecmp.cmp(alone, together, shallow=False)}
    what = f"{given.pairs} label pairs; floor: reading the same bytes and parsing them by orjson"
    return Row("conversion", what, ours, floor, max(memory, more), notes)


def targets(root: Path, given: argparse.Namespace) -> Row:
    """Labels to target PNGs against encoding the same images."""
    make = partial(make_targets, root, SPLIT, given.workers, overwrite=True)
    made, memory = in_own_process(make)
    for path in (root / SPLIT / "targets").iterdir():
        np.save(root / path.stem, read_class_png(path))
    images = sorted(root.glob("*.npy"))
    ours, floor = in_turns(make, lambda: sum(ordered_map(encode_image, images, given.workers)), given.repeats)
    return Row("targets", f"{made.painted} PNGs; floor: encoding the same images", ours, floor, memory)


def scoring(root: Path, given: argparse.Namespace) -> Row:
    """Targets, moved by some px, against themselves; the floor decodes the same PNGs."""
    make_targets(root, SPLIT, given.workers)
    true, predictions = root / SPLIT / "targets", root / "predictions"
    for pre in true.glob("*_pre_disaster_target.png"):
        paths = pre, true / pre.name.replace("_pre_disaster_", "_post_disaster_")
        localization, damage = (np.roll(read_class_png(path), SHIFT, (0, 1)) for path in paths)
        write_submission_pngs(predictions, pre.name.partition("_pre_disaster_")[0], localization, damage)
    files = [*true.iterdir(), *predictions.iterdir()]
    score = partial(score_submission, predictions, true, workers=given.workers)
    _, memory = in_own_process(score)

    def decode() -> int:
        with ThreadPoolExecutor(given.workers) as pool:
            return sum(pool.map(decode_image, files))

    ours, floor = in_turns(score, decode, given.repeats)
    return Row("scoring", f"{len(files)} PNGs; floor: decoding them", ours, floor, memory)


def rasterize(_: Path, given: argparse.Namespace) -> Row:
    """Instances to both images of a dense tile against detectron2's pasting of each into its own."""
    import torch
    from detectron2.layers.mask_ops import paste_masks_in_image

    torch.set_num_threads(given.workers)
    rng = np.random.default_rng(3)
    centre, half = rng.uniform(0, 1024, (INSTANCES, 2)), np.exp(rng.normal(np.log(17), 0.5, (INSTANCES, 2)))
    boxes = np.hstack([centre - half, centre + half]).astype(np.float32).clip(0, 1024)
    masks = rng.random((INSTANCES, 28, 28), np.float32)
    scores, damage = rng.permutation(INSTANCES) / INSTANCES, rng.integers(0, 4, INSTANCES)
    seen = InstancePrediction(
        boxes=boxes,
        masks=compact_probability(masks),
        scores=scores.astype(np.float32),
        damage_probs=np.eye(4, dtype=np.float32)[damage],
        is_component=np.zeros(INSTANCES, np.bool_),
        features=np.zeros((INSTANCES, 0), np.float16),
        shape=SHAPE,
    )
    rule = DecisionRule(score_threshold=0.0, outline="mask")

    def rasterized() -> tuple[np.ndarray, np.ndarray]:
        return decide(seen, rule).rasterize()

    def pasted() -> tuple[np.ndarray, np.ndarray]:
        tensors = torch.from_numpy(masks), torch.from_numpy(boxes)
        inside = paste_masks_in_image(*tensors, SHAPE, MASK_THRESHOLD).numpy()
        painted = np.zeros(SHAPE, np.uint8)
        for index in np.argsort(scores):
            painted[inside[index]] = damage[index] + 1
        return (painted > 0).astype(np.uint8), painted

    tracemalloc.start()
    rasterized()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    ours, floor = in_turns(rasterized, pasted, given.repeats)
    what = f"{INSTANCES} instances, decided too; floor: paste_masks_in_image; memory: of Python and numpy"
    return Row("rasterize", what, ours, floor, peak)


def samples(root: Path, given: argparse.Namespace) -> Row:
    """Training samples against decoding the two PNGs of each, in one process and thread."""
    import torch
    from detectron2.config import get_cfg

    from skyeye_det.config import add_skyeye_config
    from skyeye_det.data.catalog import load_xbd_json
    from skyeye_det.data.dataset_mapper import PairMapper
    from skyeye_det.data.loading import PairDataset

    cfg = get_cfg()
    add_skyeye_config(cfg)
    tiles = load_xbd_json(convert(root, given.workers), root)[:: -(-given.tiles // TIMED_SAMPLES)]
    dataset = PairDataset(tiles, PairMapper(cfg, True), seed=0)
    files = [Path(tile[key]) for tile in tiles for key in ("file_name", "post_file_name")]
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    ours, floor = in_turns(
        lambda: [dataset[number] for number in range(len(tiles))],
        lambda: sum(map(decode_image, files)),
        given.repeats,
    )
    what = f"{len(tiles)} of {cfg.INPUT.PAIR.CROP_SIZE} px; floor: decoding the two PNGs of each"
    return Row("samples", what, ours, floor)


def parse_label(path: Path) -> int:
    """Reads a label and parses it; gives its number of bytes."""
    content = path.read_bytes()
    orjson.loads(content)
    return len(content)


def decode_image(path: Path) -> int:
    """Reads an image and decodes it; gives its number of values."""
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image.size


def encode_image(path: Path) -> int:
    """Encodes the class image of a ``.npy`` file as PNG; gives its number of bytes."""
    return len(encode_class_png(np.load(path)))


def main() -> None:
    """Measures, prints and writes the table."""
    parser = command_line(__doc__, tiles=400)
    add = parser.add_argument
    add("--labels", type=named_path, metavar="DIR", help="folder of xBD label pairs")
    add("--pairs", type=positive, default=11034, help="label pairs to convert (default: 11034)")
    add("--workers", type=positive, default=2, help="processes or threads of a row (default: 2)")
    given, rows = parser.parse_args(), []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        with_images = labels_with_images(
            given.xbd_root, Path(folder, "sample"), max(given.pairs, given.tiles)
        )
        labelled = find_labels(given.labels, with_images=False) if given.labels else with_images
        for measured in (conversion, targets, scoring, rasterize, samples):
            scenes = with_images if measured is samples else labelled
            count = given.pairs if measured is conversion else given.tiles
            root = repeated_root(Path(folder, measured.__name__), scenes, count)
            print(f"measuring {measured.__name__}", file=sys.stderr, flush=True)
            try:
                rows.append(measured(root, given))
            except ModuleNotFoundError as error:
                print(f"left out: {error}", file=sys.stderr)
    report(rows, vars(given), given.json)


if __name__ == "__main__":
    run_command(main)
