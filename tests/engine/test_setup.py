import argparse
from pathlib import Path

import pytest
import torch
from detectron2.engine import default_argument_parser
from tiny_model import CONFIGS, tiny_config

from skyeye_det.decision.rule import read_rule
from skyeye_det.engine.setup import check_training, load_config, set_up
from skyeye_det.engine.trainer import train
from skyeye_det.errors import InputError

DEFAULT = CONFIGS / "xbd_mrcnn.yaml"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["SOLVER.BASE_LRR", "1"], "overrides .*SOLVER.BASE_LRR"),
        (["SOLVER.BASE_LR", "fast"], "overrides SOLVER.BASE_LR fast: .*float"),
        (["SOLVER.BASE_LR"], "overrides SOLVER.BASE_LR"),
        (["MODEL.PIXEL_MEAN", "[1.0, 2.0, 3.0]"], "expected 6 numbers .* found 3 and 6"),
        (["MODEL.MASK_ON", "False"], "MASK_ON and .*: expected True and 1"),
        (["VIS_PERIOD", "20"], "VIS_PERIOD: expected 0"),
    ],
)
def test_wrong_override_is_reported_in_a_sentence(overrides: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as told:
        load_config(DEFAULT, overrides)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "MODEL:\n  NO_SUCH_KEY: 1\n",
        "SOLVER: fast\n",
        "SOLVER: {BASE_LR: [1}\n",
        "\x00",
    ],
)
def test_wrong_file_is_reported_in_a_sentence_with_its_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"config\.yaml: .") as told:
        load_config(written(tmp_path, text))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "_BASE_: bomb.yaml",
        "_BASE_: [plain.yaml, bomb.yaml]",
        "_BASE_: middle.yaml",
        "_BASE_: https://example.org/x.yaml",
        "_BASE_: 3",
        "_BASE_: config.yaml",
    ],
)
def test_base_files_are_checked_as_the_file_itself(tmp_path: Path, text: str) -> None:
    (tmp_path / "bomb.yaml").write_text("SEED: &a [[1], [1]]\nMODEL: *a\n")
    (tmp_path / "plain.yaml").write_text("SEED: 1\n")
    (tmp_path / "middle.yaml").write_text("_BASE_: bomb.yaml\n")
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"aliases|expected _BASE_ to name a file on this machine") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("base", ["missing.yaml", "~nobody-of-that-name/x.yaml", "x" * 300])
def test_base_file_that_is_not_there_is_told(tmp_path: Path, base: str) -> None:
    with pytest.raises(InputError, match="config.yaml: _BASE_ .*: no such file"):
        load_config(written(tmp_path, f"_BASE_: {base}"))


def test_what_training_writes_beside_its_checkpoints_is_read(tmp_path: Path) -> None:
    cfg = tiny_config(DATASETS__TRAIN="()", DATASETS__TEST="()", OUTPUT_DIR=tmp_path)
    set_up(cfg, argparse.Namespace(config_file="", eval_only=True))
    path = tmp_path / "config.yaml"
    assert "*id0" in path.read_text()  # detectron2's defaults share some of their lists
    found = load_config(path, ["MODEL.DEVICE", "cpu"])
    for one in (found, cfg):
        assert list(one.MODEL.RPN.BBOX_REG_WEIGHTS) == [1.0, 1.0, 1.0, 1.0]
    assert (found.MODEL.DAMAGE_HEAD, found.SOLVER) == (cfg.MODEL.DAMAGE_HEAD, cfg.SOLVER)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]",
        f"a: &a {[1] * 65}\nb: *a",
        f"a: &a {'x' * 65}\nb: *a",
        "a: &a {b: 1}\nc: *a",
        "a: &a [*a]",
    ],
)
def test_aliases_that_grow_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="aliases of more than a short list|expected plain YAML"):
        load_config(written(tmp_path, text))


def test_base_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(f"_BASE_: {CONFIGS / 'xbd_mrcnn.yaml'}\nSEED: 3\n")
    path = tmp_path / "config.yaml"
    path.write_text("_BASE_: base.yaml\nSOLVER:\n  MAX_ITER: 7\n")
    cfg = load_config(path)
    assert (cfg.SEED, cfg.SOLVER.MAX_ITER, cfg.MODEL.META_ARCHITECTURE) == (3, 7, "HybridRCNN")


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir", "!!python/object/new:os.mkdir"])
def test_unsafe_tag_is_refused_and_not_run(tmp_path: Path, tag: str) -> None:
    trace = tmp_path / "it-ran"
    with pytest.raises(InputError, match="could not determine a constructor"):
        load_config(written(tmp_path, f"OUTPUT_DIR: {tag} [{trace}]\n"))
    assert not trace.exists()


def test_override_is_data_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    cfg = load_config(DEFAULT, ["OUTPUT_DIR", f"__import__('os').mkdir('{trace}')"])
    assert cfg.OUTPUT_DIR.startswith("__import__")
    assert not trace.exists()


@pytest.mark.parametrize(("has_gpu", "device"), [(True, "cuda"), (False, "cpu")])
def test_device_is_chosen_by_what_is_there(
    monkeypatch: pytest.MonkeyPatch, has_gpu: bool, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert device == load_config(DEFAULT).MODEL.DEVICE
    assert load_config(DEFAULT, ["MODEL.DEVICE", "cpu"]).MODEL.DEVICE == "cpu"


def test_gpu_asked_for_where_there_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="append MODEL.DEVICE cpu"):
        load_config(DEFAULT, ["MODEL.DEVICE", "cuda"])


def test_processes_without_gpus_and_uneven_batches_are_told() -> None:
    with pytest.raises(InputError, match="leave --num-gpus at 1"):
        check_training(tiny_config(), 2)
    with pytest.raises(InputError, match="IMS_PER_BATCH: expected a multiple of the 1 process"):
        check_training(tiny_config(SOLVER__IMS_PER_BATCH=0), 1)
    with pytest.raises(InputError, match="expected SGD or AdamW, found Adam"):
        check_training(tiny_config(SOLVER__OPTIMIZER="Adam"), 1)
    check_training(tiny_config(), 1)


def test_the_second_step_of_training_needs_the_first() -> None:
    args = default_argument_parser().parse_args(
        ["--config-file", str(CONFIGS / "xbd_mrcnn_damage.yaml"), "MODEL.DEVICE", "cpu"]
    )
    with pytest.raises(InputError, match=r"append MODEL.WEIGHTS output/run/model_final\.pth"):
        train(args)


def test_output_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cfg = tiny_config(OUTPUT_DIR=tmp_path / "file" / "run", DATASETS__TRAIN="()", DATASETS__TEST="()")
    with pytest.raises(InputError, match=r"OUTPUT_DIR .*run: cannot be written"):
        set_up(cfg, argparse.Namespace(config_file="", eval_only=True))


def test_missing_data_set_is_told_with_the_command_that_writes_it(tmp_path: Path) -> None:
    cfg = tiny_config(OUTPUT_DIR=tmp_path, DATASETS__TRAIN="('nowhere_train',)")
    with pytest.raises(InputError, match=r"python tools/convert_xbd_to_coco\.py .*--splits train"):
        set_up(cfg, argparse.Namespace(config_file="", eval_only=False))


@pytest.mark.parametrize("content", ["", "- 1", "words"])
def test_yaml_that_is_no_mapping_is_told_as_such(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match="expected a YAML mapping"):
        load_config(path)


def write_weights(path: Path, destroyed: float) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"damage_weights: [1, 1, 1, {destroyed}]\n")


def test_a_rule_lies_beside_the_config_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_weights(tmp_path / "base" / "rule.yaml", 2)
    write_weights(tmp_path / "rule.yaml", 3)
    (tmp_path / "base" / "silent.yaml").write_text(f"_BASE_: {CONFIGS / 'sample_xbd.yaml'}\n")
    (tmp_path / "base" / "base.yaml").write_text("_BASE_: silent.yaml\nTEST: {DECISIONS: rule.yaml}\n")
    (tmp_path / "base" / "last.yaml").write_text("SEED: 1\n")
    heirs = {
        "_BASE_: base/base.yaml": tmp_path / "base" / "rule.yaml",
        "_BASE_: [base/base.yaml, base/last.yaml]": tmp_path / "base" / "rule.yaml",
        "_BASE_: base/base.yaml\nTEST: {DECISIONS: rule.yaml}": tmp_path / "rule.yaml",
        "_BASE_: base/base.yaml\nTEST: {DECISIONS: ''}": "",
        f"_BASE_: base/silent.yaml\nTEST: {{DECISIONS: '{tmp_path / 'rule.yaml'}'}}": tmp_path / "rule.yaml",
        "_BASE_: base/silent.yaml": "",
    }
    monkeypatch.chdir(tmp_path)
    for text, expected in heirs.items():
        for path in (written(tmp_path, text), "config.yaml"):
            assert str(expected) == load_config(path).TEST.DECISIONS
        assert load_config("config.yaml", ["TEST.DECISIONS", "other.yaml"]).TEST.DECISIONS == "other.yaml"


@pytest.mark.parametrize("value", ["3", "[a]", "{a: 1}", r'"a\0b"', "a" * 5000, "/dev/zero", "."])
def test_a_rule_that_is_none_is_told(tmp_path: Path, value: str) -> None:
    text = f"_BASE_: {CONFIGS / 'xbd_mrcnn.yaml'}\nTEST: {{DECISIONS: {value}}}"
    with pytest.raises(InputError, match="config|decisions|cannot be read") as caught:
        set_up(load_config(written(tmp_path, text)), argparse.Namespace())
    assert "\n" not in str(caught.value)


def test_the_rule_goes_where_the_checkpoints_go(tmp_path: Path) -> None:
    write_weights(tmp_path / "rule.yaml", 2)
    run = tmp_path / "run"
    named = {"TEST__DECISIONS": tmp_path / "rule.yaml"}
    cfg = tiny_config(DATASETS__TRAIN="()", DATASETS__TEST="()", OUTPUT_DIR=run, **named)
    set_up(cfg, argparse.Namespace(config_file="", eval_only=True))
    moved = run.rename(tmp_path / "elsewhere")
    (tmp_path / "rule.yaml").unlink()
    found = load_config(moved / "config.yaml").TEST.DECISIONS
    assert read_rule(found).damage_weights == (1, 1, 1, 2)
    assert found == str(moved / "decisions.yaml")
