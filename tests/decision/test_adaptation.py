import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from assessed import CARD

from skyeye_det.decision.adaptation import (
    FEATURES,
    NONE,
    PRIOR,
    Adaptation,
    Labels,
    choose,
    exceeding_logits,
    fit,
)
from skyeye_det.decision.adaptation_file import read_adaptation, write_adaptation
from skyeye_det.decision.label_groups import groups_in_place, random_groups
from skyeye_det.errors import InputError


def scene(count: int, truth: Adaptation, seed: int = 0) -> tuple[Labels, np.ndarray]:
    """Buildings whose grades an adaptation tells, all of them labelled, and their features."""
    generator = np.random.default_rng(seed)
    probs = generator.dirichlet([2, 1, 1, 1], count)
    features = generator.normal(size=(count, 8)).astype(np.float16)
    known = truth.apply(probs, features)
    grades = (generator.random((count, 1)) > known.cumsum(axis=1)[:, :3]).sum(axis=1)
    groups = np.arange(count) % 8
    return Labels(probs, grades, groups, np.ones(count, bool), features), features


def of(labels: Labels, count: int) -> Labels:
    assert labels.features is not None
    return Labels(
        labels.probs[:count],
        labels.grades[:count],
        labels.groups[:count],
        labels.is_sampled[:count],
        labels.features[:count],
    )


SHIFTED = Adaptation(PRIOR, 1.0, (2.0, 1.5, 1.0))


def test_a_known_shift_of_priors_is_recovered() -> None:
    labels, features = scene(4000, SHIFTED)
    found = fit(PRIOR, labels, features)
    assert found.slope == pytest.approx(1, abs=0.1)
    assert found.offsets == pytest.approx(SHIFTED.offsets, abs=0.2)
    choice = choose(of(labels, 200), features)
    assert choice.adaptation.kind == PRIOR
    assert 0 < choice.low < choice.gain < choice.high
    totals = choice.adaptation.apply(labels.probs, features).mean(axis=0)
    assert totals == pytest.approx(np.bincount(labels.grades, minlength=4) / 4000, abs=0.08)


def test_a_direction_in_the_features_is_found_where_there_is_one() -> None:
    labels, features = scene(600, Adaptation(FEATURES, 1.0, (0.0,) * 3, [3.0] + [0.0] * 7))
    found = choose(labels, features).adaptation
    assert found.kind == FEATURES
    assert int(np.argmax(np.abs(found.direction))) == 0
    assert choose(replace(labels, features=None), None).adaptation.kind != FEATURES


def test_nothing_changes_where_nothing_is_to_gain() -> None:
    kinds = []
    for seed in range(10):
        labels, features = scene(60, Adaptation(), seed)
        kinds.append(choose(labels, features).adaptation.kind)
    assert kinds.count(NONE) >= 7


def test_picked_labels_do_not_move_the_priors() -> None:
    labels, features = scene(400, Adaptation())
    picked = labels.grades == 3
    picked[:200] = False
    chosen = np.flatnonzero(picked | (np.arange(400) < 200))
    assert labels.features is not None
    mixed = Labels(
        labels.probs[chosen],
        labels.grades[chosen],
        labels.groups[chosen],
        chosen < 200,
        labels.features[chosen],
    )
    apart, trusted = (fit(PRIOR, each, features) for each in (mixed, replace(mixed, is_sampled=chosen >= 0)))
    alone = fit(PRIOR, of(labels, 200), features)
    assert apart.offsets == pytest.approx(alone.offsets, abs=0.1)
    assert trusted.offsets[2] > apart.offsets[2] + 0.3
    picked_alone = choose(replace(mixed, is_sampled=np.zeros(len(chosen), bool)), features)
    assert picked_alone.adaptation.kind == NONE
    assert "random sample" in picked_alone.reason


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11])
def test_few_labels_stay_finite_and_fewer_than_ten_change_nothing(count: int) -> None:
    labels, features = scene(50, SHIFTED)
    choice = choose(of(labels, count), features)
    assert np.isfinite([choice.gain, choice.low, choice.high]).all()
    if count < 10:
        assert choice.adaptation.kind == NONE
        assert f"{count} labels" in choice.reason


@pytest.mark.parametrize("kind", [PRIOR, FEATURES])
def test_degenerate_labels_give_finite_answers(kind: str) -> None:
    labels, features = scene(40, Adaptation())
    one_grade = replace(labels, grades=np.full(40, 3))
    sure = replace(labels, probs=np.eye(4)[labels.grades[::-1]])
    equal = replace(labels, features=np.ones((40, 8), np.float16))
    reversed_order = replace(labels, grades=3 - labels.probs.argmax(axis=1))
    together = replace(labels, groups=np.zeros(40, np.int64))
    for each in (one_grade, sure, equal, reversed_order, together):
        shown = features if each is not equal else np.ones_like(features)
        made = fit(kind, each, shown)
        assert made.slope > 0
        found = made.apply(labels.probs, features)
        assert np.isfinite(found).all()
        assert found.sum(axis=1) == pytest.approx(1)
        assert (found >= 0).all()
        choose(each, shown)
    assert choose(together, features).adaptation.kind == NONE  # there is nothing to judge by


def test_what_is_not_assessed_stays_so() -> None:
    probs = np.array([[0.4, 0.3, 0.2, 0.1], [np.nan] * 4])
    found = SHIFTED.apply(probs)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
    assert Adaptation().apply(probs)[0] == pytest.approx(probs[0])
    assert exceeding_logits(probs)[0, 0] == pytest.approx(np.log(0.6 / 0.4))


def test_groups_are_of_neighbours() -> None:
    places = np.random.default_rng(0).random((400, 2)) * [10, 1]
    groups = groups_in_place(places)
    assert np.bincount(groups).tolist() == [50] * 8
    assert max(np.ptp(places[groups == each, 0]) for each in range(8)) < 2
    assert groups_in_place(places[:3]).tolist() != [0, 0, 0]
    assert np.bincount(random_groups(16)).tolist() == [2] * 8


def test_a_file_of_an_adaptation_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "adaptation.json"
    made = Adaptation(FEATURES, 0.8, [0.1, 0.2, 0.3], [0.5, -0.5], 0.25)
    write_adaptation(path, made, CARD)
    found, card = read_adaptation(path)
    assert card == CARD
    probs, features = np.full((1, 4), 0.25), np.array([[1.0, 2.0]])
    assert found.apply(probs, features) == pytest.approx(made.apply(probs, features))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("slope", None),
        ("slope", -1.0),
        ("slope", 1e300),
        ("offsets", [0.0]),
        ("offsets", [0.0, "x", 0.0]),
        ("kind", "none"),
        ("kind", "other"),
        ("kind", "prior"),
        ("direction", []),
        ("direction", [1e9]),
        ("direction", [0.0] * 20000),
        ("more", 1),
    ],
)
def test_a_forged_file_is_refused(tmp_path: Path, place: str, value: object) -> None:
    path = tmp_path / "adaptation.json"
    write_adaptation(path, Adaptation(FEATURES, 0.8, [0.1, 0.2, 0.3], [0.5]), CARD)
    content = json.loads(path.read_text())
    content["adaptation"][place] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="expected an adaptation"):
        read_adaptation(path)
