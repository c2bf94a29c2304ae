"""New splits from the command line: files written, read back, refused, started again."""

import json
import shlex
import signal
import subprocess
import sys
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest
from command_runs import run
from ground_tiles import write_events, write_tile

from skyeye_det.data.coco_file import read_xbd_json
from skyeye_det.data.conversion import ConversionOptions, convert_xbd
from skyeye_det.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = str(REPOSITORY / "tools" / "convert_xbd_to_coco.py")
FRACTIONS = "train=.6,val=.2,test=.2"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_events(tmp_path / "my-xbd", {"a-fire": 8, "b-flood": 4}, split="train")
    write_events(tmp_path / "my-xbd", {"c-wind": 4}, split="tier3", north=-100_000)
    return tmp_path / "my-xbd"


def options(**given: Any) -> ConversionOptions:
    return ConversionOptions(**({"folders": ("train", "tier3")} | given))


def random_split(**given: Any) -> ConversionOptions:
    return options(**({"split_by": "random", "fractions": FRACTIONS} | given))


def scenes(annotations: Path) -> set[str]:
    return {image["scene"] for image in read_xbd_json(annotations)[0]}


def test_command_splits_pooled_folders_and_reports(root: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = run(
        "convert_xbd_to_coco",
        *("--xbd-root", root, "--splits", "train", "tier3", "--split-by", "random"),
        *("--fractions", FRACTIONS, "--seed", 4, "--json", report),
    )
    assert (done.returncode, done.stderr) == (0, "")
    names = [f"random-{part}" for part in ("train", "val", "test")]
    assert {path.name for path in (root / "annotations").iterdir()} == {
        *(f"xbd_{name}{suffix}" for name in names for suffix in (".json", ".faults.json")),
        "split_random.json",
    }
    found = [scenes(root / "annotations" / f"xbd_{name}.json") for name in names]
    assert sum(map(len, found)) == len(set.union(*found)) == 16
    assert "split_random.json" in done.stdout
    content = json.loads(report.read_bytes())
    assert [split["name"] for split in content["splits"]] == names
    assert sum(split["pairs"] for split in content["splits"]) == 16
    counts = content["split"]["counts"]
    for split, part in zip(content["splits"], counts.values(), strict=True):
        assert {kind: part[kind] for kind in split["buildings"]} == split["buildings"]
        assert part["empty"] == split["empty_pairs"]
        assert Path(split["file"]).is_file()
    assert content["split"]["made"]["seed"] == 4


def test_split_file_is_converted_to_the_same_bytes(root: Path, tmp_path: Path) -> None:
    first = convert_xbd(root, random_split(seed=1))
    assert first.split_file
    again = convert_xbd(
        root, options(folders=(), split_file=first.split_file, output=tmp_path / "o", name="other")
    )
    for old, new in zip(first.summaries, again.summaries, strict=True):
        assert scenes(old.path) == scenes(new.path)
    before = {path: path.read_bytes() for path in first.split_file.parent.iterdir()}
    convert_xbd(root, options(folders=(), split_file=first.split_file))
    assert {path: path.read_bytes() for path in first.split_file.parent.iterdir()} == before


def test_split_file_that_tears_buildings_apart_is_told(tmp_path: Path) -> None:
    for number in range(4):
        write_tile(tmp_path, f"e_{number:08d}", [("same", (5.0, 5.0, 9.0, 9.0), "no-damage")], place=None)
    keys = [f"train/e_{number:08d}" for number in range(4)]
    file = tmp_path / "theirs.json"
    parts = {"a": keys[:2], "b": keys[2:]}
    head = {"format": "skyeye-split", "version": 1, "name": "theirs", "made": {}, "folders": ["train"]}
    file.write_text(json.dumps(head | {"parts": parts}))
    report = convert_xbd(tmp_path, ConversionOptions(split_file=file))
    assert "WARNING: 1 groups of tiles that share buildings are divided" in str(report)
    assert "4 tiles have buildings without features.lng_lat" in str(report)


def test_folds_name_data_sets_for_training_and_testing(root: Path) -> None:
    report = convert_xbd(root, options(leave_one_event_out=True))
    assert report.fold_commands == root / "annotations" / "folds_event.sh"
    events = {"a-fire", "b-flood", "c-wind"}
    tested = set()
    for line in report.fold_commands.read_text().splitlines()[2:]:
        environment, *command = shlex.split(line)
        values = dict(zip(command[command.index("DATASETS.TRAIN") :: 2], command[-5::2], strict=True))
        train, test = (literal_eval(values[f"DATASETS.{time}"]) for time in ("TRAIN", "TEST"))
        assert environment == f"DETECTRON2_DATASETS={root.parent}"
        assert {name.removeprefix("my-xbd_event-") for name in (*train, *test)} == events
        assert len(test) == 1
        assert len(train) == 2
        tested |= set(test)
    assert len(tested) == 3
    for event in events:
        found = scenes(root / "annotations" / f"xbd_event-{event}.json")
        assert {scene.rpartition("_")[0] for scene in found} == {event}


def test_folds_have_no_commands_where_data_sets_are_not_found_by_name(root: Path, tmp_path: Path) -> None:
    report = convert_xbd(root, options(leave_one_event_out=True, output=tmp_path / "elsewhere"))
    assert report.fold_commands is None


def test_same_command_runs_again_and_another_seed_needs_another_name(root: Path) -> None:
    report = convert_xbd(root, random_split())
    before = {path: path.read_bytes() for path in (root / "annotations").iterdir()}
    assert convert_xbd(root, random_split()).split == report.split
    with pytest.raises(InputError, match="holds another split .* --name"):
        convert_xbd(root, random_split(seed=1))
    assert {path: path.read_bytes() for path in (root / "annotations").iterdir()} == before
    convert_xbd(root, random_split(seed=1, name="second"))


def test_official_conversion_is_never_overwritten(root: Path) -> None:
    convert_xbd(root, options())
    official = (root / "annotations" / "xbd_train.json").read_bytes()
    convert_xbd(root, random_split())
    assert (root / "annotations" / "xbd_train.json").read_bytes() == official
    (root / "mine-train").mkdir()
    with pytest.raises(InputError, match="mine-train: is a folder that converts to the same file"):
        convert_xbd(root, random_split(name="mine"))


def test_same_scene_in_two_folders_is_refused(root: Path) -> None:
    write_tile(root, "c-wind_00000001", [], split="train")
    with pytest.raises(InputError, match=r"c-wind_00000001: expected once .* found in train and tier3"):
        convert_xbd(root, random_split())
    with pytest.raises(InputError, match="expected once"):
        convert_xbd(root, random_split(folders=("tier3", "tier3")))


def test_incomplete_and_unreadable_pairs_are_told_once(root: Path) -> None:
    (root / "train" / "labels" / "a-fire_00000001_post_disaster.json").write_text("{")
    (root / "train" / "images" / "a-fire_00000002_pre_disaster.png").unlink()
    report = convert_xbd(root, random_split())
    faults = [fault.scene for summary in report.summaries for fault in summary.faults]
    assert sorted(faults) == ["a-fire_00000001", "a-fire_00000002"]
    assert "1 pairs have unreadable labels" in str(report)
    assert sum(summary.pairs for summary in report.summaries) == 14


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fractions": FRACTIONS}, "--fractions: has a meaning with --split-by only"),
        ({"seed": 0}, "--seed: has a meaning with --split-by only"),
        ({"name": "a"}, "--name: has a meaning with"),
        ({"distance": 5.0}, "--distance: has a meaning with --split-by location only"),
        ({"split_by": "random"}, "expected --fractions"),
        ({"split_by": "random", "fractions": FRACTIONS, "distance": 5.0}, "--distance: has a meaning"),
        ({"split_by": "location", "fractions": FRACTIONS, "distance": -1.0}, "expected 0 to 100000 m"),
        ({"split_by": "location", "fractions": FRACTIONS, "distance": float("nan")}, "expected 0 to 100000"),
        ({"split_by": "other", "fractions": FRACTIONS}, "expected random, event, location"),
        ({"split_by": "random", "fractions": FRACTIONS, "leave_one_event_out": True}, "expected one of them"),
        ({"leave_one_event_out": True, "seed": 1}, "--seed: has a meaning"),
        ({"leave_one_event_out": True, "folders": ()}, "--splits: expected folders"),
        ({"folders": ()}, "--splits: expected folders"),
        ({"split_file": Path("f.json")}, "--splits: has a meaning"),
        ({"split_file": Path("f.json"), "folders": ()}, "f.json: cannot be read"),
        ({"split_by": "random", "fractions": FRACTIONS, "name": "a_b"}, "--name: expected a name"),
        ({"split_by": "random", "fractions": FRACTIONS, "name": "../a"}, "--name: expected a name"),
        ({"split_by": "random", "fractions": FRACTIONS, "name": ""}, "--name: expected a name"),
    ],
)
def test_options_that_make_no_sense_are_refused(root: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        convert_xbd(root, options(**given))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (root / "annotations").exists()


def test_killed_run_is_started_again_by_the_same_command(root: Path) -> None:
    arguments = ["--xbd-root", root, "--splits", "train", "--split-by", "random", "--fractions", FRACTIONS]
    dying = (
        "import os, runpy, signal, sys\n"
        "from pathlib import Path\n"
        "whole = Path.replace\n"
        "def replace(old, new):\n"
        "    if Path(new).name == 'xbd_random-val.json': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return whole(old, new)\n"
        "Path.replace = replace\n"
        f"sys.argv = {[SCRIPT, *map(str, arguments)]!r}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    killed = subprocess.run([sys.executable, "-c", dying], cwd=REPOSITORY, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = {path.name for path in (root / "annotations").iterdir() if path.suffix == ".json"}
    assert {"split_random.json", "xbd_random-train.json"} <= left
    assert "xbd_random-val.json" not in left
    assert run("convert_xbd_to_coco", *arguments).returncode == 0
    assert not [path for path in (root / "annotations").iterdir() if path.suffix == ".partial"]
    assert len(scenes(root / "annotations" / "xbd_random-val.json")) >= 2
