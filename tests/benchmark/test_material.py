import json
from pathlib import Path

import cv2
import pytest

from skyeye_det.benchmark.material import SPLIT, label_pairs, linked_root, root_pairs, sample_pairs
from skyeye_det.errors import InputError


def write_labels(folder: Path, scenes: list[str], **metadata: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for scene in scenes:
        for time in ("pre", "post"):
            content = {"metadata": {"width": 40, "height": 30, **metadata}, "features": {"xy": []}}
            (folder / f"{scene}_{time}_disaster.json").write_text(json.dumps(content))


def test_label_pairs_are_repeated_under_new_names_of_their_event(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels", ["flood_00000007", "wind_00000001"])
    pairs = linked_root(tmp_path / "root", label_pairs(tmp_path / "labels"), 5)
    assert [pair.labels[0].name for pair in pairs] == [
        f"{event}_{number:08d}_pre_disaster.json"
        for event, number in [("flood", 0), ("flood", 2), ("flood", 4), ("wind", 1), ("wind", 3)]
    ]
    first = pairs[0]
    assert first.labels[1] == tmp_path / "root" / SPLIT / "labels" / "flood_00000000_post_disaster.json"
    assert first.labels[0].samefile(pairs[1].labels[0])
    assert not first.labels[0].samefile(tmp_path / "labels" / "flood_00000007_pre_disaster.json")
    assert (
        first.labels[0].read_text() == (tmp_path / "labels" / "flood_00000007_pre_disaster.json").read_text()
    )
    assert first.images is not None
    image = cv2.imread(str(first.images[0]))
    assert image is not None
    assert image.shape == (30, 40, 3)


def test_pairs_of_a_root_keep_their_own_images(tmp_path: Path) -> None:
    sources = sample_pairs(tmp_path / "sample", 2, 128, 1)
    pairs = linked_root(tmp_path / "root", sources, 3)
    assert len(pairs) == 3
    assert {pair.images[1].read_bytes() for pair in pairs if pair.images} == {
        pair.images[1].read_bytes() for pair in sources if pair.images
    }


def test_half_pairs_are_passed_over(tmp_path: Path) -> None:
    write_labels(tmp_path, ["flood_00000007", "flood_00000008"])
    (tmp_path / "flood_00000008_post_disaster.json").unlink()
    assert [pair.labels[0].name for pair in label_pairs(tmp_path)] == ["flood_00000007_pre_disaster.json"]


def test_folders_without_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected label pairs"):
        label_pairs(tmp_path / "nowhere")
    write_labels(tmp_path / "train" / "labels", ["flood_00000007"])
    with pytest.raises(InputError, match="check --xbd-root"):
        root_pairs(tmp_path)


@pytest.mark.parametrize("width", [None, "40", 0, 1 << 20, True])
def test_a_label_without_a_size_is_refused_by_name(tmp_path: Path, width: object) -> None:
    write_labels(tmp_path / "labels", ["flood_00000007"], width=width)
    with pytest.raises(InputError, match=r"flood_00000007_pre_disaster\.json: expected metadata\.width"):
        linked_root(tmp_path / "root", label_pairs(tmp_path / "labels"), 1)


def test_a_folder_that_is_in_use_is_refused(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels", ["flood_00000007"])
    sources = label_pairs(tmp_path / "labels")
    linked_root(tmp_path / "root", sources, 1)
    with pytest.raises(InputError, match="choose another --output"):
        linked_root(tmp_path / "root", sources, 1)
