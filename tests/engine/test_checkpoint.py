import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import tiny_config
from torch import nn

from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.setup import build_pair_model
from skyeye_det.errors import InputError


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def small() -> nn.Module:
    return nn.Linear(2, 3)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    model, other = small(), small()
    SkyeyeCheckpointer(model, str(tmp_path)).save("model_0000001", iteration=1)
    rest = SkyeyeCheckpointer(other, str(tmp_path)).resume_or_load("")
    assert torch.equal(model.weight, other.weight)
    assert rest["iteration"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last_checkpoint", "model_0000001.pth"]


def test_checkpoint_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpointer = SkyeyeCheckpointer(small(), str(tmp_path))
    checkpointer.save("model_0000001")

    def killed(state: Any, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpointer.save("model_0000002")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last_checkpoint", "model_0000001.pth"]
    assert checkpointer.get_checkpoint_file().endswith("model_0000001.pth")


def test_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(state: Any, path: Path) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"model_1\.pth: cannot be written"):
        SkyeyeCheckpointer(small(), str(tmp_path)).save("model_1")


def test_best_checkpoint_is_not_the_one_to_resume_from(tmp_path: Path) -> None:
    checkpointer = SkyeyeCheckpointer(small(), str(tmp_path))
    checkpointer.save("model_0000001")
    checkpointer.save("model_best")
    assert (tmp_path / "model_best.pth").is_file()
    assert checkpointer.get_checkpoint_file().endswith("model_0000001.pth")


@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
def test_malicious_checkpoint_is_refused_and_not_run(tmp_path: Path, suffix: str) -> None:
    path, trace = tmp_path / f"model{suffix}", tmp_path / "it-ran"
    content = {"model": {"weight": Bomb(trace)}, "__author__": "stranger"}
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match="expected a checkpoint of tensors alone") as told:
        SkyeyeCheckpointer(small()).load(str(path))
    assert not trace.exists()
    assert "\n" not in str(told.value)


def test_plain_pickle_named_as_pytorch_is_refused_and_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "model.pth", tmp_path / "it-ran"
    path.write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(InputError, match="expected a checkpoint of tensors alone"):
        SkyeyeCheckpointer(small()).load(str(path))
    assert not trace.exists()


def test_file_that_is_no_archive_is_told_in_plain_words(tmp_path: Path) -> None:
    torch.save({"model": small().state_dict()}, whole := tmp_path / "whole.pth")
    for content in (b"", b"a page of text", pickle.dumps({"model": 1}), whole.read_bytes()[:-100]):
        (path := tmp_path / "model.pth").write_bytes(content)
        with pytest.raises(InputError, match=r"it is no archive of torch\.save, or one cut off"):
            SkyeyeCheckpointer(small()).load(str(path))


def test_file_that_cannot_be_read_is_not_called_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    (path := tmp_path / "model.pth").write_bytes(b"")
    monkeypatch.setattr(torch, "load", refused)
    with pytest.raises(InputError, match="Permission denied"):
        SkyeyeCheckpointer(small()).load(str(path))


def test_checkpoint_of_before_torch_wrote_archives_is_read(tmp_path: Path) -> None:
    kept = small()
    path = tmp_path / "old.pth"
    torch.save({"model": kept.state_dict()}, path, _use_new_zipfile_serialization=False)
    SkyeyeCheckpointer(found := small()).load(str(path))
    for name, value in kept.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)


@pytest.mark.parametrize("asked", [b"cbuiltins\neval\n", b"c_codecs\ndecode\n", b"cnumpy\nload\n"])
def test_pickle_may_ask_for_arrays_alone(tmp_path: Path, asked: bytes) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(asked + b"(S'1'\ntR.")
    with pytest.raises(InputError, match="it asks for"):
        SkyeyeCheckpointer(small()).load(str(path))


@pytest.mark.parametrize(
    "content", [b"", b"text", pickle.dumps([1, 2]), pickle.dumps({"model": 3, "__author__": ""})]
)
def test_other_pickles_are_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"weights .*model\.pkl.*expected a checkpoint"):
        SkyeyeCheckpointer(small()).load(str(path))


@pytest.mark.parametrize("protocol", [2, 5])
def test_detectron2s_pickle_of_arrays_is_read(tmp_path: Path, protocol: int) -> None:
    weights = {
        "weight": np.arange(6, dtype=np.float32).reshape(3, 2),
        "bias": np.array([1, 2, 3], np.float32),
    }
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": weights, "__author__": "detectron2"}, protocol=protocol))
    model = small()
    SkyeyeCheckpointer(model).load_whole_model(str(path))
    np.testing.assert_array_equal(model.weight.detach(), weights["weight"])
    np.testing.assert_array_equal(model.bias.detach(), weights["bias"])


def test_caffe2_pickle_reaches_the_siamese_resnet(tmp_path: Path) -> None:
    model = build_pair_model(
        tiny_config(
            MODEL__BACKBONE__NAME="build_siamese_resnet_fpn_backbone",
            MODEL__RESNETS__OUT_FEATURES="['res2','res3','res4','res5']",
        )
    )
    kernel = np.random.default_rng(0).normal(size=(64, 3, 7, 7)).astype(np.float32)
    path = tmp_path / "R-50.pkl"
    # MSRA's names, as in detectron2://ImageNetPretrained/MSRA/R-50.pkl
    blobs = {
        "conv1_w": kernel,
        "conv1_w_momentum": kernel,
        "res2_0_branch2a_w": np.ones((64, 64, 1, 1), np.float32),
    }
    path.write_bytes(pickle.dumps(blobs, protocol=2))
    SkyeyeCheckpointer(model).load(str(path))
    bottom_up = model.backbone.bottom_up
    np.testing.assert_array_equal(bottom_up.stem.conv1.weight.detach(), kernel)
    assert (bottom_up.res2[0].conv1.weight == 1).all()


def test_missing_file_is_reported_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pth: no such file") as told:
        SkyeyeCheckpointer(small()).load(str(tmp_path / "none.pth"))
    assert "\n" not in str(told.value)


def test_address_without_internet_is_told_with_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(
        InputError, match=r"cannot be fetched .*MODEL\.WEIGHTS /path/to/file.*xbd_mrcnn\.yaml"
    ) as told:
        SkyeyeCheckpointer(small()).load("detectron2://ImageNetPretrained/MSRA/R-50.pkl")
    assert "\n" not in str(told.value)


def test_weights_of_another_model_are_refused_for_inference(tmp_path: Path) -> None:
    SkyeyeCheckpointer(nn.Linear(2, 4), str(tmp_path)).save("model")
    checkpointer = SkyeyeCheckpointer(small())
    with pytest.raises(InputError, match="expected those of the whole model"):
        checkpointer.load_whole_model(str(tmp_path / "model.pth"))


def test_training_begins_from_parts_that_are_listed_and_not_from_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Parts(nn.Module):
        def __init__(self, **parts: nn.Module):
            super().__init__()
            for name, part in parts.items():
                self.add_module(name, part)

    def saved(**parts: nn.Module) -> str:
        SkyeyeCheckpointer(Parts(**parts), str(tmp_path)).save("model")
        return str(tmp_path / "model.pth")

    model = Parts(trunk=small(), damage=small(), mask=nn.Linear(9, 9))
    for strange in (
        saved(other=small()),
        saved(trunk=nn.Linear(7, 7)),
        saved(trunk=small(), a=small(), b=small()),
    ):
        with pytest.raises(InputError, match=r"found \d of \d tensors that fit") as told:
            SkyeyeCheckpointer(model).load(strange)
        assert strange in str(told.value)
    with caplog.at_level("INFO"):
        SkyeyeCheckpointer(model).load(saved(trunk=small(), other=small()))
    assert "begun with random numbers: damage.weight (1), damage.bias (1), mask.weight (1)" in caplog.text
    assert "not used: other.weight (1), other.bias (1)" in caplog.text


def test_training_of_another_model_is_not_resumed(tmp_path: Path) -> None:
    old = nn.Sequential(small(), nn.Linear(2, 2))
    SkyeyeCheckpointer(old, str(tmp_path), optimizer=torch.optim.AdamW(old.parameters())).save("model")
    new = nn.Sequential(small(), nn.Linear(2, 3))
    checkpointer = SkyeyeCheckpointer(new, str(tmp_path), optimizer=torch.optim.AdamW(new.parameters()))
    with pytest.raises(
        InputError, match=r"expected those of the whole model .* found 2 tensors .* 1\.weight"
    ):
        checkpointer.resume_or_load("", resume=True)


def test_backbone_weights_alone_are_refused_for_inference() -> None:
    model = build_pair_model(tiny_config(MODEL__TIMM__NAME="tf_efficientnet_lite0"))
    with pytest.raises(InputError, match="pass a .pth that training wrote"):
        SkyeyeCheckpointer(model).load_whole_model("packaged://efficientnet-lite0")
    with pytest.raises(InputError, match="found none"):
        SkyeyeCheckpointer(model).load_whole_model("")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    diverged = small()
    torch.nn.init.constant_(diverged.bias, value)
    SkyeyeCheckpointer(diverged, str(tmp_path)).save("model")
    with pytest.raises(InputError, match=r"model\.pth: expected finite numbers, .* 1 tensors, such as bias"):
        SkyeyeCheckpointer(small()).load_whole_model(str(tmp_path / "model.pth"))


def test_training_state_of_another_solver_is_refused(tmp_path: Path) -> None:
    model = small()
    adam = torch.optim.AdamW(model.parameters())
    SkyeyeCheckpointer(model, str(tmp_path), optimizer=adam).save("model")
    fewer = torch.optim.AdamW([model.weight])
    with pytest.raises(InputError, match="expected a checkpoint of this model and solver"):
        SkyeyeCheckpointer(model, optimizer=fewer).load(str(tmp_path / "model.pth"))
