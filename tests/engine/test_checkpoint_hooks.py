from argparse import Namespace
from pathlib import Path

import torch

from skyeye_det.engine.checkpoint_hooks import MeanCheckpointer


def test_the_mean_is_that_of_the_later_checkpoints_of_a_finished_training(tmp_path: Path) -> None:
    for iteration, value in ((1, 70.0), (4, 1.0), (7, 2.0), (9, 6.0)):
        state = {"model": {"weight": torch.full((2,), value), "count": torch.tensor(iteration)}}
        torch.save(state, tmp_path / f"model_{iteration:07}.pth")
    for other in ("model_final.pth", "model_best.pth"):
        torch.save({"model": {"weight": torch.zeros(2)}}, tmp_path / other)
    hook = MeanCheckpointer(str(tmp_path))
    for done in (9, 10):
        assert not (tmp_path / "model_mean.pth").exists()
        hook.trainer = Namespace(iter=done, max_iter=10)
        hook.after_train()
    found = torch.load(tmp_path / "model_mean.pth", weights_only=True)["model"]
    torch.testing.assert_close(found, {"weight": torch.full((2,), 3.0), "count": torch.tensor(9)})
