"""Released models: what is written equals the checkpoint it was made from, and nothing else is taken."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from saved_models import saved
from tiny_model import tiny_config

import skyeye_det
from skyeye_det import released
from skyeye_det.commands import infer, models, release_model
from skyeye_det.decision.rule import DecisionRule, write_rule
from skyeye_det.errors import InputError

RULES = {
    "score": DecisionRule(score_threshold=0.0),
    "assessment": DecisionRule(score_threshold=0.01, purpose="assessment"),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints with one config, rules, facts, a COCO file and a report."""
    folder = tmp_path_factory.mktemp("sources")
    cfg = tiny_config()
    (folder / "config.yaml").write_text(cfg.dump())
    for seed in (1, 2):
        saved(cfg, seed, folder)
    for purpose, rule in RULES.items():
        write_rule(folder / f"{purpose}.yaml", rule, [])
    (folder / "facts.yaml").write_text(yaml.safe_dump({"licence": "CC BY-NC-SA 4.0", "seed": 1}))
    image = {"id": 1, "scene": "storm_00000001", "disaster": "storm", "file_name": "a.png"}
    image |= {"post_file_name": "b.png", "height": 8, "width": 8}
    (folder / "xbd_train.json").write_text(json.dumps({"images": [image], "annotations": []}))
    report = {"tiles": {"scenes": ["storm_00000002"]}, "rows": {"tuned": {"score": 0.5}}, "model": "/secret"}
    (folder / "report.json").write_text(json.dumps(report))
    event = {"tiles": 2, "score": None, "damage_f1": None, "localization": {"f1": 0.6}}
    event |= {"buildings": {"buildings": 9, "recall": 0.4}}
    judged = {
        "tiles": 2,
        "official": {"score": 0.25, "localization_f1": 0.6, "damage_f1": 0.1},
        "intervals": {"score": [0.2, 0.3]},
        "instances": {"AP50": 45.0},
        "buildings": {"by_size": {size: {"recall": 0.5} for size in ("below_16", "16_32", "above_32")}},
        "events": {"storm": event, "fire": event},
        "notes": ["/secret"],
    }
    (folder / "judged.json").write_text(json.dumps(judged))
    return folder


def words(sources: Path, folder: Path, name: str, *source: str) -> list[str]:
    rules = [word for purpose in RULES for word in (f"--{purpose}-rule", str(sources / f"{purpose}.yaml"))]
    common = ["--name", name, "--summary", "tiny", "--facts", str(sources / "facts.yaml"), *rules]
    return [*common, "--models", str(folder), "--report", f"score={sources / 'report.json'}", *source]


def network(sources: Path, seed: int) -> list[str]:
    files = ["--config-file", str(sources / "config.yaml"), "--weights", str(sources / f"model_{seed}.pth")]
    return [*files, "--learned-from", str(sources / "xbd_train.json")]


@pytest.fixture
def package(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that comes with two networks and their ensemble."""
    folder = tmp_path / "models"
    for seed, name in ((1, "hybrid"), (2, "other")):
        judged = ["--report", f"2 tiles={sources / 'judged.json'}"] if name == "other" else []
        release_model.main(words(sources, folder, name, *network(sources, seed), *judged))
    release_model.main(words(sources, folder, "ensemble", "--member", "hybrid", "--member", "other=flips"))
    for function in (released.released_names, released.require_released, released.released_model):
        monkeypatch.setattr(function, "__defaults__", (folder,))
    return folder


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (96, 96, 3), np.uint8)


def test_a_released_model_finds_what_its_checkpoint_finds(package: Path, sources: Path) -> None:
    own = skyeye_det.load(config=sources / "config.yaml", weights=sources / "model_1.pth", decisions="")
    found = skyeye_det.load("hybrid", purpose="score")
    assert found.rule == RULES["score"]
    assert skyeye_det.load().rule == RULES["assessment"]
    elsewhere = pickle.loads(pickle.dumps(found._models))  # as in another process
    assert elsewhere.rule("assessment") == RULES["assessment"]
    window = np.concatenate([noise(1), noise(2)], axis=2).transpose(2, 0, 1)
    expected, seen = (each._models.predict(window) for each in (own, found))
    best = np.argsort(expected.scores)[-10:]
    for box, score, probs in zip(
        *(getattr(expected, n)[best] for n in ("boxes", "scores", "damage_probs")), strict=True
    ):
        nearest = np.abs(seen.boxes - box).sum(axis=1).argmin()
        np.testing.assert_allclose(seen.boxes[nearest], box, atol=0.5)
        np.testing.assert_allclose(seen.scores[nearest], score, atol=5e-3)
        np.testing.assert_allclose(seen.damage_probs[nearest], probs, atol=5e-3)


def test_weights_are_those_of_the_checkpoint_in_half_precision(package: Path, sources: Path) -> None:
    expected = torch.load(sources / "model_1.pth", weights_only=True)["model"]
    found = load_file(package / "hybrid" / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name].to(value.dtype), value, rtol=1e-3, atol=1e-7)


def test_an_ensemble_is_made_of_its_members_and_has_learnt_what_they_have(package: Path) -> None:
    found = released.released_model("ensemble")
    assert [Path(path).parent.name for path in found.weights] == ["hybrid", "other"]
    assert found.card.views == ["none", "flips"]
    assert found.card.scenes == ["storm_00000001"]
    assert len(skyeye_det.load("ensemble", purpose="score")(noise(1), noise(2))) > 0


def test_the_card_has_the_figures_and_no_path_of_the_machine(package: Path, capsys) -> None:
    models.main(["hybrid"])
    card = json.loads(capsys.readouterr().out)
    page = (package / "README.md").read_text()
    assert "| hybrid | 0.500 |" in page
    assert all(f"## {name}" in page for name in ("hybrid", "other", "ensemble"))
    assert page.count("licence: CC BY-NC-SA 4.0") == 1  # all have it
    found = "| other | 2 tiles | 2 | 0.250 [0.200, 0.300] | 0.600 | 0.100 | 0.450 | 0.500 | 0.500 | 0.500 |"
    assert found in page
    assert "| other | storm | 2 |  | 0.600 |  | 9 | 0.400 |" in page
    assert card["figures"] == {"score": {"tiles": 1, "rows": {"tuned": {"score": 0.5}}}}
    assert card["facts"]["licence"] == "CC BY-NC-SA 4.0"
    assert str(package) not in "".join(
        path.read_text() for path in package.rglob("*") if path.suffix in {".json", ".yaml"}
    )
    models.main([])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "ensemble",
        "hybrid",
        "other",
    ]


def test_infer_takes_a_released_model_when_none_is_named(package: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for seed, phase in ((1, "pre"), (2, "post")):
        cv2.imwrite(str(images / f"storm_00000001_{phase}_disaster.png"), noise(seed))
    assert infer.main(["--images", str(images), "--output", str(tmp_path / "out")]) == 0
    settings = json.loads((tmp_path / "out" / "inference.json").read_text())
    assert settings["rule"]["score_threshold"] == RULES["score"].score_threshold
    assert json.loads((tmp_path / "out" / "instances.json").read_text())


def test_infer_tells_that_a_copy_has_no_grades(package: Path, tmp_path: Path, capsys) -> None:
    paths = [str(tmp_path / name) for name in ("pre.png", "post.png", "localization.png", "damage.png")]
    for path in paths[:2]:
        cv2.imwrite(path, noise(1))
    assert infer.main(paths) == 0
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert second.startswith(f"{int(first.split()[0])} of them have no grade, and 0 in ")
    assert not cv2.imread(paths[3]).any()


@pytest.mark.parametrize("changed", ["model.safetensors", "config.yaml", "score.yaml"])
def test_files_that_are_not_those_of_the_release_are_refused(package: Path, changed: str) -> None:
    path = package / "hybrid" / changed
    path.write_bytes(path.read_bytes() + b"\n")
    for name in ("hybrid", "ensemble"):
        with pytest.raises(InputError, match=rf"{changed}: expected the file of the release.*install"):
            skyeye_det.load(name)


def test_names_and_members_that_do_not_exist_are_told(package: Path) -> None:
    with pytest.raises(InputError, match="expected one of ensemble, hybrid, other, found no such model"):
        skyeye_det.load("../hybrid")
    card = package / "ensemble" / "card.json"
    content = json.loads(card.read_text())
    card.write_text(json.dumps(content | {"members": ["ensemble"]}))
    with pytest.raises(InputError, match="members: expected single models"):
        skyeye_det.load("ensemble")
    card.write_text("{}")
    with pytest.raises(InputError, match="expected the card of a released model"):
        skyeye_det.load("ensemble")


def test_a_release_is_written_whole_and_never_over_another(package: Path, sources: Path) -> None:
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="expected a new name"):
        release_model.main(words(sources, package, "hybrid", *network(sources, 2)))
    with pytest.raises(InputError, match="expected one of ensemble, hybrid, other"):
        release_model.main(words(sources, package, "new", "--member", "none-such"))
    with pytest.raises(InputError, match="found neither or both"):
        release_model.main(words(sources, package, "new"))
    kept = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    assert {path: kept.get(path) for path in before} == before
    assert sorted(path.name for path in package.iterdir() if path.is_dir() and path.name[0] != ".") == [
        "ensemble",
        "hybrid",
        "other",
    ]


@pytest.mark.parametrize(
    "report", [{"tiles": 2, "events": {"storm": {}}, "buildings": None}, {"tiles": None}]
)
def test_a_report_without_buildings_is_told(sources: Path, tmp_path: Path, report: dict) -> None:
    (tmp_path / "report.json").write_text(json.dumps(report))
    given = ["--report", f"2 tiles={tmp_path / 'report.json'}"]
    with pytest.raises(InputError, match=r"report\.json: expected a report of .* with --xbd-root"):
        release_model.main(words(sources, tmp_path / "models", "new", *network(sources, 1), *given))


def test_a_report_of_one_tile_has_no_interval_and_makes_a_card(sources: Path, tmp_path: Path) -> None:
    report = json.loads((sources / "judged.json").read_text())
    report["intervals"]["score"] = [None, None]
    (tmp_path / "report.json").write_text(json.dumps(report))
    given = ["--report", f"1 tile={tmp_path / 'report.json'}"]
    release_model.main(words(sources, tmp_path / "models", "new", *network(sources, 1), *given))
    assert "| new | 1 tile | 2 | 0.250 | 0.600 |" in (tmp_path / "models/README.md").read_text()


def test_half_precision_that_overflows_is_refused(sources: Path, tmp_path: Path) -> None:
    state = torch.load(sources / "model_1.pth", weights_only=True)
    name = next(name for name, value in state["model"].items() if value.is_floating_point())
    state["model"][name] = state["model"][name] + 1e5
    torch.save(state, tmp_path / "large.pth")
    source = network(sources, 1)
    source[3] = str(tmp_path / "large.pth")
    with pytest.raises(InputError, match="expected numbers of half precision"):
        release_model.main(words(sources, tmp_path / "models", "large", *source))


def test_strange_bytes_are_no_weights(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(InputError, match="expected a checkpoint of tensors alone"):
        skyeye_det.load(config=sources / "config.yaml", weights=tmp_path / "w.safetensors", decisions="")


def test_a_card_that_leaves_out_a_hash_is_refused(package: Path) -> None:
    place = package / "hybrid" / "card.json"
    card = json.loads(place.read_text())
    del card["sha256"]["model.safetensors"]
    place.write_text(json.dumps(card))
    with pytest.raises(InputError, match="expected the hash of model.safetensors"):
        released.released_model("hybrid")
