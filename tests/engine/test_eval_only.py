"""``tools/train_net.py --eval-only``: which figures it reports of which model."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from saved_models import CONFIG, SEMANTIC
from tiny_model import CONFIGS, tiny_overrides

from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.engine.trainer import train
from skyeye_det.errors import InputError

SIZES = ("below_16", "16_32", "above_32")
PROPOSALS = {"proposal_recall50", *(f"proposal_recall50_{size}" for size in SIZES)}
MASKS = {"AP", "AP50", "AP75", "AR", "recall50", *(f"recall50_{size}" for size in SIZES)}
SMALL = {"MODEL__BACKBONE__NAME": "tu-test_efficientnet"}


@pytest.mark.parametrize(
    ("config", "changes", "has_proposals"),
    [
        (CONFIG, {}, True),
        (str(CONFIGS / "xbd_mrcnn_plain.yaml"), {}, True),
        (SEMANTIC, SMALL, False),
    ],
    ids=["hybrid", "plain", "semantic"],
)
def test_masks_are_measured_always_and_proposals_where_there_are_some(
    tiny_datasets: Path, tmp_path: Path, capfd, config: str, changes: dict, has_proposals: bool
) -> None:
    output = {"DATASETS__TRAIN": "()", "DATASETS__TEST": "('tiny_val',)", "OUTPUT_DIR": tmp_path}
    opts = tiny_overrides(**changes, **output)
    torch.manual_seed(0)
    SkyeyeCheckpointer(build_pair_model(load_config(config, opts)), str(tmp_path)).save("model_final")
    opts += ["MODEL.WEIGHTS", str(tmp_path / "model_final.pth")]
    found = train(argparse.Namespace(config_file=config, opts=opts, resume=False, eval_only=True))
    figures = found["segm"]
    assert set(figures) >= MASKS
    assert bool(set(figures) & PROPOSALS) == has_proposals
    if has_proposals:
        assert set(figures) >= PROPOSALS
        assert 0 <= figures["proposal_recall50"] <= 100
    assert f"{found['xview2']['score']:.4f}" in "".join(capfd.readouterr())


def test_settings_of_a_training_outlive_an_evaluation_and_a_refused_resuming(
    tiny_datasets: Path, tmp_path: Path
) -> None:
    given = {"DATASETS__TRAIN": "('tiny_train',)", "DATASETS__TEST": "('tiny_val',)", "OUTPUT_DIR": tmp_path}
    weights = {"MODEL__WEIGHTS": tmp_path / "model_final.pth"}

    def run(resume: bool, **changes: Any) -> None:
        opts = tiny_overrides(**given, **changes)
        train(argparse.Namespace(config_file=CONFIG, opts=opts, resume=resume, eval_only=not resume))

    SkyeyeCheckpointer(build_pair_model(load_config(CONFIG, tiny_overrides())), str(tmp_path)).save(
        "model_final"
    )
    settings = tmp_path / "config.yaml"
    settings.write_text("of the training")
    run(resume=False, **weights)
    assert settings.read_text() == "of the training"
    with pytest.raises(InputError, match="expected those of the whole model"):
        run(resume=True, MODEL__ROI_BOX_HEAD__FC_DIM=8)
    assert settings.read_text() == "of the training"
    (tmp_path / "last_checkpoint").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="last_checkpoint: expected the name of a checkpoint"):
        run(resume=True)
