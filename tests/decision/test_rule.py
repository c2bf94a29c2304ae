from pathlib import Path

import numpy as np
import pytest

from skyeye_det.decision.rule import DecisionRule, read_rule, write_rule
from skyeye_det.errors import InputError


def test_a_rule_comes_back_as_it_was_written(tmp_path: Path) -> None:
    rule = DecisionRule(0.4, 0.2, 0.75, 20, 0.5, (1.0, 2.5, 4.0, 1.1), 1.9)
    write_rule(tmp_path / "rule.yaml", rule, ["tuned on val"])
    assert read_rule(tmp_path / "rule.yaml") == rule
    assert (tmp_path / "rule.yaml").read_text().startswith("# tuned on val\n")


def test_no_file_is_the_default_and_absent_keys_keep_theirs(tmp_path: Path) -> None:
    assert read_rule("") == DecisionRule()
    (tmp_path / "rule.yaml").write_text("min_area: 5")
    assert read_rule(tmp_path / "rule.yaml") == DecisionRule(min_area=5)


def test_a_rule_knows_its_purpose_and_older_files_are_of_the_score(tmp_path: Path) -> None:
    rule = DecisionRule(outline="mask", purpose="assessment")
    write_rule(tmp_path / "rule.yaml", rule)
    assert "purpose: assessment" in (tmp_path / "rule.yaml").read_text()
    assert read_rule(tmp_path / "rule.yaml") == rule
    (tmp_path / "older.yaml").write_text("score_threshold: 0.7\ntemperature: 1.9")
    assert read_rule(tmp_path / "older.yaml").purpose == "score"
    (tmp_path / "other.yaml").write_text("purpose: fun")
    with pytest.raises(InputError, match="purpose: expected one of score, assessment, found 'fun'"):
        read_rule(tmp_path / "other.yaml")


def test_weights_let_a_rare_class_win() -> None:
    probs = np.array([[0.5, 0.3, 0.1, 0.1]], np.float32)
    assert DecisionRule().damage(probs).tolist() == [0]
    assert DecisionRule(damage_weights=(1, 2, 1, 1)).damage(probs).tolist() == [1]
    assert DecisionRule().damage(probs[:0]).shape == (0,)


def test_temperature_makes_less_sure_and_keeps_sum_and_order() -> None:
    probs = np.array([[0.7, 0.2, 0.1, 0.0]], np.float32)
    calmer = DecisionRule(temperature=2.0).calibrated(probs)
    assert calmer.sum() == pytest.approx(1)
    assert 0.25 < calmer.max() < 0.7
    assert calmer.argsort().tolist() == probs.argsort().tolist()


BOMB = "a: &a [1,1]\n" + "".join(f"b{n}: &b{n} [*a,*a]\n" for n in range(3))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        "score_threshold: .nan",
        "score_threshold: 2",
        "min_area: -1",
        "temperature: 1.0e-300",
        "temperature: 0",
        "damage_weights: [1, 1, 1]",
        "damage_weights: [1, .inf, 1, 1]",
        "unknown: 1",
        "min_area: !!python/object/apply:os.getcwd []",
        BOMB,
        "\x00",
    ],
)
def test_what_is_no_rule_is_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rule.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"rule\.yaml") as caught:
        read_rule(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("damage_weights: [1, 2, 3, '1.5']", "damage_weights: expected a number .* found '1.5'"),
        ("score_threshold: true", "score_threshold: expected a number .* found True"),
        ("#" * 70_000, "at most 65536 bytes, found other .70000 bytes"),
        ("min_area: 1\nscore_threshold: [", "line 2"),
        ("? 0x" + "F" * 5000 + "\n: 1", "expected a plain YAML"),
    ],
)
def test_the_fault_of_a_rule_is_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "rule.yaml").write_text(text)
    with pytest.raises(InputError, match=told):
        read_rule(tmp_path / "rule.yaml")


def test_remarks_stay_comments(tmp_path: Path) -> None:
    write_rule(
        tmp_path / "rule.yaml", DecisionRule(), ["of w\nscore_threshold: 0.0", "\x1b[0m", "w\udce9.pth"]
    )
    assert read_rule(tmp_path / "rule.yaml") == DecisionRule()


@pytest.mark.parametrize("name", ["nowhere.yaml", "a\0b", "x" * 5000])
def test_a_missing_file_is_named_with_what_mends_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"no such file|tune_postprocess\.py, or set TEST") as told:
        read_rule(str(tmp_path / name))
    assert str(tmp_path)[:20] in str(told.value)
    assert "\n" not in str(told.value)
