"""Times inference and training of configs against detectron2's stock Mask R-CNN on one image; peak memory.

  python tools/benchmark/model.py --xbd-root DIR --configs FILE ... --device cpu|cuda --json FILE

Stock is GeneralizedRCNN with StandardROIHeads over the plain FPN of the same network, with our widths,
anchors and weights, on the pre image alone, its masks left in their boxes. Nothing is suppressed, so the best
100 proposals are the detections of both, whatever their weights (--opts MODEL.WEIGHTS FILE). Without
--xbd-root the pairs are made up. Needs torch and detectron2.
Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import FPN, GeneralizedRCNN, build_model
from detectron2.utils.events import EventStorage
from torch import nn

from material import SPLIT, convert, labels_with_images, repeated_root
from measure import Row, command_line, in_own_process, in_turns, report
from skyeye_det.arguments import named_path
from skyeye_det.data.catalog import register_xbd_split
from skyeye_det.data.loading import build_pair_test_loader, build_pair_train_loader
from skyeye_det.decision.decide import decide
from skyeye_det.decision.rule import read_rule
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.model_files import ModelFiles
from skyeye_det.engine.models import Models
from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.engine.trainer import PairTrainer
from skyeye_det.errors import InputError, run_command
from skyeye_det.xview2.submission import write_submission_pngs

CONFIGS = [Path(__file__).parents[2] / f"configs/xbd_mrcnn{kind}.yaml" for kind in ("", "_plain")]
DATA_SET = f"benchmark_{SPLIT}"
DETECTIONS, MANY_DETECTIONS = 100, 1000
STEPS = "predict", "decide and rasterize", "write the PNGs"


def our_model(
    config: Path, given: argparse.Namespace, detections: int | None = None
) -> tuple[CfgNode, nn.Module]:
    """A config on the pairs of the command line, forced to a number of detections a tile, and its model."""
    register_xbd_split(DATA_SET, given.annotations, given.root)
    cfg = load_config(config, overrides(given, detections)).clone()
    if not cfg.MODEL.META_ARCHITECTURE.endswith("RCNN"):
        raise InputError(f"{config}: expected a model with ROI heads, found {cfg.MODEL.META_ARCHITECTURE}")
    cfg.defrost()
    torch.manual_seed(3)
    model = build_pair_model(cfg)
    SkyeyeCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    return cfg, model


def overrides(given: argparse.Namespace, detections: int | None) -> list[str]:
    """Changes to a config: those of the command line, and what forces a number of detections."""
    fixed = ["MODEL.DEVICE", given.device, "DATALOADER.NUM_WORKERS", "0", "SEED", "0", *given.opts]
    if detections:
        fixed += ["MODEL.RPN.NMS_THRESH", "1.0", "MODEL.ROI_HEADS.NMS_THRESH_TEST", "1.0"]
        fixed += ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "TEST.DETECTIONS_PER_IMAGE", str(detections)]
    return fixed


def our_inference(
    config: Path, given: argparse.Namespace, detections: int, model: nn.Module
) -> tuple[Callable[[], None], np.ndarray]:
    """A run over all pairs as tools/infer.py makes it, and the seconds of each of STEPS, over all runs."""
    folder = given.root
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    files = [ModelFiles(str(config), str(folder / "model.pth"))]
    models = Models(files, overrides(given, detections)).load()
    rule, pairs, seconds = read_rule(models.cfg.TEST.DECISIONS), tiles(models.cfg), np.zeros(len(STEPS))

    def run() -> None:
        for pair in pairs:
            clock = [time.perf_counter()]
            prediction = models.predict(pair["image"].numpy())
            clock.append(time.perf_counter())
            images = decide(prediction, rule).rasterize()
            clock.append(time.perf_counter())
            write_submission_pngs(folder, pair["scene"], *images)
            seconds[:] += np.diff([*clock, time.perf_counter()])

    return run, seconds


def stock_model(cfg: CfgNode, ours: nn.Module) -> GeneralizedRCNN:
    """Detectron2's model with the config's sizes and our weights, in training mode."""
    plain = cfg.clone()
    plain.MODEL.META_ARCHITECTURE, plain.MODEL.ROI_HEADS.NAME = "GeneralizedRCNN", "StandardROIHeads"
    plain.MODEL.ROI_MASK_HEAD.NAME = "MaskRCNNConvUpsampleHead"
    plain.MODEL.PIXEL_MEAN, plain.MODEL.PIXEL_STD = cfg.MODEL.PIXEL_MEAN[:3], cfg.MODEL.PIXEL_STD[:3]
    model = build_model(plain)
    model.backbone.__class__ = FPN  # SiameseFPN adds no state: as its base class it takes one image
    if missing := model.load_state_dict(ours.state_dict(), strict=False).missing_keys:
        raise InputError(
            f"--configs: expected a model with all of the stock one's weights, found no {missing}"
        )
    return model.to(memory_format=torch.channels_last) if cfg.MODEL.DEVICE == "cpu" else model


def tiles(cfg: CfgNode) -> list[dict[str, Any]]:
    """Whole pairs."""
    return [pair for batch in build_pair_test_loader(cfg, DATA_SET) for pair in batch]


def pre_images(inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Inputs of a model of one image."""
    kept = ("height", "width", "instances")
    return [{"image": each["image"][:3]} | {key: each[key] for key in kept if key in each} for each in inputs]


def inference(config: Path, given: argparse.Namespace) -> Row:
    """Pairs to PNGs against the stock model on their pre images."""
    cfg, ours = our_model(config, given, DETECTIONS)
    run, steps = our_inference(config, given, DETECTIONS, ours)
    stock = stock_model(cfg, ours).eval()
    images = pre_images(tiles(cfg))

    @torch.inference_mode()
    def stock_run() -> None:
        for image in images:
            stock.inference([image], do_postprocess=False)[0].pred_masks.cpu()

    seconds, floor = in_turns(run, stock_run, given.repeats, given.warm_ups)
    notes = {f"share of {step}": share for step, share in zip(STEPS, steps / steps.sum(), strict=True)}
    what = f"{len(images)} pairs to PNGs; floor: the stock model on the pre images"
    return Row(f"{config.stem} inference", what, seconds, floor, notes=notes)


def training(config: Path, given: argparse.Namespace) -> Row:
    """Iterations on one batch against the stock model's on its pre images."""
    cfg, ours = our_model(config, given)
    cfg.SOLVER.BASE_LR = 1e-8  # a step costs the same at any rate, and so every iteration is the first
    batch = next(iter(build_pair_train_loader(cfg, [DATA_SET])))

    def iterations(model: nn.Module, inputs: list[dict[str, Any]]) -> Callable[[], None]:
        optimizer = PairTrainer.build_optimizer(cfg, model)

        def iteration() -> None:
            torch.manual_seed(5)  # the same proposals are sampled in each
            with EventStorage(), torch.autocast(given.device, torch.bfloat16, enabled=cfg.SOLVER.AMP.ENABLED):
                losses = sum(model(inputs).values())
            optimizer.zero_grad()
            losses.backward()
            optimizer.step()
            losses.item()  # waits for the GPU

        return iteration

    works = iterations(ours, batch), iterations(stock_model(cfg, ours), pre_images(batch))
    what = f"iterations on {len(batch)} crops of {cfg.INPUT.PAIR.CROP_SIZE} px; floor: the stock model's"
    return Row(f"{config.stem} training", what, *in_turns(*works, given.repeats, given.warm_ups))


def memory(config: Path, given: argparse.Namespace) -> Row:
    """Peak of one run with 1,000 detections a tile against one with 100."""
    peaks = []
    for count in (MANY_DETECTIONS, DETECTIONS):
        on_device, of_all = in_own_process(run_once, config, given, count)
        peaks.append(on_device or of_all)
    what = f"a process's or the GPU's peak, {MANY_DETECTIONS} detections a tile; floor: {DETECTIONS}"
    return Row(f"{config.stem} memory, MiB", what, peaks[:1], peaks[1:])


def run_once(config: Path, given: argparse.Namespace, detections: int) -> float:
    """Runs inference once; gives the peak of the GPU in MiB, 0 without one."""
    _, model = our_model(config, given, detections)
    our_inference(config, given, detections, model)[0]()
    return torch.cuda.max_memory_allocated() / 2**20 if given.device == "cuda" else 0.0


def main() -> None:
    """Measures, prints and writes the table."""
    parser = command_line(__doc__, tiles=1)
    add = parser.add_argument
    add("--configs", nargs="+", type=named_path, default=CONFIGS, metavar="FILE", help="YAML of each model")
    add("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    add("--opts", nargs="+", default=[], metavar="KEY VALUE", help="changes to every config")
    given, rows = parser.parse_args(), []
    given.warm_ups = 5 if given.device == "cuda" else 1
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        scenes = labels_with_images(given.xbd_root, Path(folder, "sample"), given.tiles)
        spread = scenes[:: max(1, len(scenes) // given.tiles)]  # so that not all are of one event
        given.root = repeated_root(Path(folder, "root"), spread, given.tiles)
        given.annotations = convert(given.root, 1)
        for config in given.configs:
            for measured in (inference, training, memory):
                print(f"measuring {measured.__name__} of {config.stem}", file=sys.stderr, flush=True)
                rows.append(measured(config, given))
    report(rows, vars(given), given.json)


if __name__ == "__main__":
    run_command(main)
