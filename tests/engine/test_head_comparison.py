from pathlib import Path

import pytest
from tiny_model import CONFIGS, tiny_config, tiny_overrides

from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.head_comparison import compare_heads, format_comparison
from skyeye_det.engine.head_variants import DAMAGE, MASK, read_variants
from skyeye_det.engine.trainer import PairTrainer
from skyeye_det.errors import InputError

CONFIG = str(CONFIGS / "xbd_mrcnn.yaml")
MIXED = "a: [MODEL.DAMAGE_HEAD.FUSION, concat]\nb: [MODEL.ROI_MASK_HEAD.NUM_CONV, 1]"


@pytest.fixture
def weights(tmp_path: Path) -> str:
    SkyeyeCheckpointer(PairTrainer.build_model(tiny_config()), str(tmp_path)).save("model_final")
    return str(tmp_path / "model_final.pth")


def variants(folder: Path, text: str) -> Path:
    path = folder / "variants.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("name", "part"), [("damage_heads", DAMAGE), ("mask_heads", MASK)])
def test_the_committed_variants_are_heads_that_can_be_built(name: str, part: object) -> None:
    found, changes = read_variants(CONFIGS / "ablations" / f"{name}.yaml")
    assert found is part
    for change in changes.values():
        overrides = dict(zip(change[::2], change[1::2], strict=True))
        heads = PairTrainer.build_model(
            tiny_config(**{key.replace(".", "__"): value for key, value in overrides.items()})
        ).roi_heads
        assert heads.damage_head is not None


def test_each_variant_is_trained_and_scored_at_each_shift(
    tmp_path: Path, weights: str, tiny_datasets: Path
) -> None:
    plain = "[MODEL.DAMAGE_HEAD.MASK_POOLING, False, MODEL.DAMAGE_HEAD.ORDINAL, coral]"
    path = variants(tmp_path, f"own: []\nsame: []\nplain: {plain}")
    overrides = [*tiny_overrides(), "SOLVER.MAX_ITER", "2", "DATASETS.TRAIN", "('tiny_train',)"]
    results = compare_heads(CONFIG, weights, path, "tiny_train", (0, 4), overrides)
    assert [result["name"] for result in results] == ["own", "same", "plain"]
    first, same, plain = results
    assert first["rows"][0]["above_first"] is None
    assert same["loss"] == first["loss"] != plain["loss"]
    assert same["rows"][0]["above_first"] == 0
    for result in results:
        told = [(row["shift"], row["cross_fitted"]) for row in result["rows"]]
        assert told == [(0, False), (0, True), (4, False)]
        assert all(0 <= row["damage_f1"] <= 1 for row in result["rows"])
    assert len(format_comparison(results).splitlines()) == 1 + 3 * 3


def test_mask_heads_are_trained_and_scored_in_the_true_boxes(
    tmp_path: Path, weights: str, tiny_datasets: Path
) -> None:
    edges = "[MODEL.ROI_MASK_HEAD.NAME, BoundaryMaskHead]"
    path = variants(tmp_path, f"plain: [MODEL.ROI_MASK_HEAD.NUM_CONV, 1]\nedges: {edges}")
    overrides = [*tiny_overrides(), "SOLVER.MAX_ITER", "2", "DATASETS.TRAIN", "('tiny_train',)"]
    results = compare_heads(CONFIG, weights, path, "tiny_train", (0,), overrides)
    for result in results:
        (row,) = result["rows"]
        assert 0 < row["localization_f1"] <= 1
    assert results[0]["loss"] != results[1]["loss"]
    assert len(format_comparison(results).splitlines()) == 1 + 2
    with pytest.raises(InputError, match="expected 0 for mask heads"):
        compare_heads(CONFIG, weights, path, "tiny_train", (0, 4), overrides)


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", "a: 1", "a: [MODEL.DAMAGE_HEAD.FUSION]", "a: [MODEL.WEIGHTS, x]", "a: [1, 2]", "- {", MIXED],
)
def test_what_is_no_variant_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="variants.yaml") as caught:
        read_variants(variants(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_semantic_model_has_no_damage_head(tmp_path: Path, tiny_datasets: Path) -> None:
    config = str(CONFIGS / "semantic" / "unet_lite0.yaml")
    overrides = ["MODEL.DEVICE", "cpu", "DATASETS.TRAIN", "('tiny_train',)"]
    with pytest.raises(InputError, match="expected a model of instances"):
        compare_heads(config, "x.pth", variants(tmp_path, "own: []"), "tiny_train", (0,), overrides)
