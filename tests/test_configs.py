from pathlib import Path

import pytest

from skyeye_det.config import add_skyeye_config
from skyeye_det.decision.rule import DecisionRule, read_rule
from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.modeling.encoders import load_packaged_weights

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
RULES = sorted((CONFIGS / "decisions").glob("*.yaml"))
FILES = sorted({path for path in CONFIGS.rglob("*.yaml") if path.parent.name != "ablations"} - set(RULES))
UNTUNED = {"sample_xbd.yaml", "xbd_mrcnn_plain.yaml", "xbd_mrcnn_r50.yaml", "xbd_mrcnn_r101.yaml"}
ON_CPU = ["MODEL.DEVICE", "cpu"]


def test_the_promised_configs_are_there() -> None:
    names = {path.name for path in FILES}
    assert {
        "xbd_mrcnn.yaml",
        "xbd_mrcnn_plain.yaml",
        "xbd_mrcnn_r50.yaml",
        "xbd_mrcnn_r101.yaml",
        "sample_xbd.yaml",
    } <= names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_config_loads_and_its_model_is_built(path: Path) -> None:
    cfg = load_config(path, ON_CPU)
    model = build_pair_model(cfg)
    assert cfg.TEST.DETECTIONS_PER_IMAGE >= 1000
    assert not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    assert len(cfg.MODEL.ANCHOR_GENERATOR.SIZES) in (1, len(cfg.MODEL.RPN.IN_FEATURES))
    name = cfg.MODEL.WEIGHTS.removeprefix("packaged://")
    if name != cfg.MODEL.WEIGHTS:
        assert load_packaged_weights(name, model.state_dict())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_config_names_a_rule_that_is_there_or_none(path: Path) -> None:
    rule = read_rule(load_config(path, ON_CPU).TEST.DECISIONS)
    assert (rule == DecisionRule()) == (path.name in UNTUNED)


def test_every_rule_is_that_of_the_config_of_its_name_or_of_several() -> None:
    configs = {path.stem: path for path in FILES}
    assert RULES
    for rule in RULES:
        first, *others = (load_config(configs[name], ON_CPU) for name in rule.stem.split("+"))
        assert others or Path(first.TEST.DECISIONS).resolve() == rule
        assert read_rule(rule) != DecisionRule()


@pytest.mark.parametrize(("name", "depth"), [("xbd_mrcnn_r50", 50), ("xbd_mrcnn_r101", 101)])
def test_classical_configs_fit_detectron2s_weights(name: str, depth: int) -> None:
    cfg = load_config(CONFIGS / f"{name}.yaml", ON_CPU)
    assert f"detectron2://ImageNetPretrained/MSRA/R-{depth}.pkl" == cfg.MODEL.WEIGHTS
    assert depth == cfg.MODEL.RESNETS.DEPTH
    assert (cfg.INPUT.FORMAT, len(cfg.MODEL.PIXEL_MEAN), set(cfg.MODEL.PIXEL_STD)) == ("BGR", 6, {1.0})
    assert cfg.SOLVER.AMP.ENABLED
    assert cfg.SOLVER.STEPS[-1] < cfg.SOLVER.MAX_ITER


def test_added_keys_stay_few() -> None:
    from detectron2.config import CfgNode, get_cfg

    def keys(node: CfgNode, prefix: str = "") -> set[str]:
        return {
            key
            for name, value in node.items()
            for key in (
                keys(value, f"{prefix}{name}.") if isinstance(value, CfgNode) else [f"{prefix}{name}"]
            )
        }

    cfg = get_cfg()
    before = keys(cfg)
    add_skyeye_config(cfg)
    assert len(keys(cfg) - before) < 25
