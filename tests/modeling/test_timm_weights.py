"""timm's own weights: from a file, from a made cache of its hub, and refused in a sentence."""

from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from tiny_model import tiny_overrides

from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.errors import InputError

NAME = "test_efficientnet.r160_in1k"
INSTANCES = ("xbd_mrcnn.yaml", "MODEL.TIMM.NAME", "test_efficientnet", "backbone.bottom_up.network.")
SEMANTIC = ("semantic/fpn_lite0.yaml", "MODEL.BACKBONE.NAME", "tu-test_efficientnet", "encoder.model.")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as timm publishes it: a whole classifier."""
    torch.manual_seed(3)
    network = timm.create_model(NAME, pretrained=False)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("weights") / f"{NAME}.safetensors"
    save_file(network.state_dict(), path)
    return path


def model_of(kind: tuple[str, str, str, str], weights: str):
    config, key, network, _ = kind
    cfg = load_config(config, [*tiny_overrides(), key, network, "MODEL.WEIGHTS", weights])
    return cfg, build_pair_model(cfg)


def expected(published: Path) -> dict[str, torch.Tensor]:
    overlay = {"file": str(published)}
    return timm.create_model(
        NAME, features_only=True, pretrained=True, pretrained_cfg_overlay=overlay
    ).state_dict()


@pytest.mark.parametrize("kind", [INSTANCES, SEMANTIC], ids=["instances", "semantic"])
def test_file_of_timm_reaches_the_encoder_with_its_normalization(kind, published: Path) -> None:
    cfg, model = model_of(kind, str(published))
    known = timm.get_pretrained_cfg(NAME)
    assert pytest.approx([255 * value for value in known.mean] * 2) == cfg.MODEL.PIXEL_MEAN
    assert pytest.approx([255 * value for value in known.std] * 2) == cfg.MODEL.PIXEL_STD
    SkyeyeCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    own = {k.removeprefix(kind[3]): v for k, v in model.state_dict().items() if k.startswith(kind[3])}
    assert own
    for key, value in own.items():
        torch.testing.assert_close(value, expected(published)[key])


def test_cache_of_the_hub_serves_without_internet(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / f"models--timm--{NAME}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (folder / "snapshots" / ("0" * 40) / "model.safetensors").write_bytes(published.read_bytes())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    cfg, model = model_of(SEMANTIC, f"timm://{NAME}")
    SkyeyeCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    key = "conv_stem.weight"
    torch.testing.assert_close(model.state_dict()[f"encoder.model.{key}"], expected(published)[key])


def test_neither_internet_nor_cache_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    cfg, model = model_of(SEMANTIC, f"timm://{NAME}")
    with pytest.raises(
        InputError, match=rf"cannot be had \(.*fetch model\.safetensors of timm/{NAME}.*name that file"
    ):
        SkyeyeCheckpointer(model).load(cfg.MODEL.WEIGHTS)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ("timm://no_such_network.in1k", "expected a name of timm"),
        ("timm://test_efficientnet", "with the tag of its weights"),
        ("timm://test_efficientnet.no_such_tag", "expected a name of timm"),
        ("test_efficientnet.strange.safetensors", "expected a name of timm"),
    ],
)
def test_name_that_timm_does_not_know_is_refused(weights: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load_config("xbd_mrcnn.yaml", [*tiny_overrides(), "MODEL.WEIGHTS", weights])


def test_weights_of_another_network_and_files_that_are_none_are_refused(
    published: Path, tmp_path: Path
) -> None:
    _, model = model_of((*INSTANCES[:2], "test_resnet", ""), "timm://test_resnet.r160_in1k")
    with pytest.raises(
        InputError, match=r"timm network test_efficientnet, found test_resnet; set MODEL\.TIMM\.NAME"
    ):
        SkyeyeCheckpointer(model).load(str(published))
    broken = tmp_path / published.name
    _, model = model_of(INSTANCES, str(published))
    with pytest.raises(InputError, match="no such file"):
        SkyeyeCheckpointer(model).load(str(broken))
    broken.write_bytes(published.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be had"):
        SkyeyeCheckpointer(model).load(str(broken))


def test_training_goes_on_from_a_whole_model_of_safetensors(tmp_path: Path) -> None:
    _, model = model_of(INSTANCES, "")
    weights = str(tmp_path / "model.safetensors")
    other_numbers = {name: (value + 1).contiguous() for name, value in model.state_dict().items()}
    save_file(other_numbers, weights)
    cfg, other = model_of(INSTANCES, weights)
    SkyeyeCheckpointer(other).load(cfg.MODEL.WEIGHTS)
    torch.testing.assert_close(dict(other.state_dict()), other_numbers)


def test_training_does_not_go_on_from_numbers_that_are_none(tmp_path: Path) -> None:
    _, model = model_of(INSTANCES, "")
    weights = str(tmp_path / "model.safetensors")
    save_file({name: (value * torch.nan).contiguous() for name, value in model.state_dict().items()}, weights)
    with pytest.raises(InputError, match=r"model\.safetensors: expected finite numbers, found NaN"):
        SkyeyeCheckpointer(model).load(weights)
