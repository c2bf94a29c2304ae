"""``import skyeye_det``: what a notebook uses, and the notebook itself."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_model import CONFIGS, tiny_config

import skyeye_det
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.setup import build_pair_model, find_config, load_config
from skyeye_det.errors import InputError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> "skyeye_det.Model":
    folder = tmp_path_factory.mktemp("model")
    cfg = tiny_config()
    SkyeyeCheckpointer(build_pair_model(cfg), str(folder)).save("tiny")
    (folder / "config.yaml").write_text(cfg.dump())
    (folder / "rule.yaml").write_text("score_threshold: 0.0\npixel_threshold: 0.05\n")
    found = skyeye_det.load(
        config=folder / "config.yaml", weights=folder / "tiny.pth", decisions=folder / "rule.yaml"
    )
    assert found.rule.score_threshold == 0
    return found


def noise(height: int = 64, width: int = 80, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_it_imports_without_torch() -> None:
    code = "import sys, skyeye_det; skyeye_det.Buildings; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    with pytest.raises(AttributeError, match="nothing"):
        _ = skyeye_det.nothing


def test_all_forms_of_the_buildings_agree(model: "skyeye_det.Model") -> None:
    found = model(noise(), noise(seed=1))
    assert isinstance(found, skyeye_det.Buildings)
    assert len(found) == len(found.to_coco()) == len(found.to_geojson()["features"]) > 0
    assert sum(found.counts().values()) == len(found)
    localization, damage = found.rasterize()
    assert localization.shape == damage.shape == found.shape == (64, 80)
    assert set(np.unique(damage)) - {0} <= {grade + 1 for grade in found.damage}
    assert "<svg" in found._repr_html_()
    moved = found.to_geojson(transform=(0.5, 0, 100, 0, -0.5, 200))["features"]
    pixels = found.to_geojson()["features"]
    for one, other in zip(moved, pixels, strict=True):
        x, y = other["geometry"]["coordinates"][0][0][0]
        assert one["geometry"]["coordinates"][0][0][0] == [0.5 * x + 100, 200 - 0.5 * y]


def test_a_window_is_as_good_as_an_image(model: "skyeye_det.Model") -> None:
    whole = model(noise(), noise(seed=1), window=1024)
    parts = model(noise(), noise(seed=1), window=64, overlap=16)
    assert whole.shape == parts.shape == (64, 80)
    assert len(parts) > 0


@pytest.mark.parametrize("shape", [(1, 80), (64, 64)])
def test_black_and_thin_pairs_pass(model: "skyeye_det.Model", shape: tuple[int, int]) -> None:
    black = np.zeros((*shape, 3), np.uint8)
    assert model(black, black).rasterize()[0].shape == shape


@pytest.mark.parametrize(
    ("pre", "post", "sentence"),
    [
        (noise().astype(np.float32), noise(), "pre: expected an image uint8"),
        (noise(), noise()[..., 0], "post: expected an image uint8"),
        (noise(), noise()[:0], "post: expected an image uint8"),
        (noise(), noise(60), "post: expected the size of pre, 80 x 64 px, found 80 x 60"),
    ],
)
def test_other_arrays_are_refused(model: "skyeye_det.Model", pre, post, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        model(pre, post)


def test_a_model_of_bgr_sees_the_same_pixels(model: "skyeye_det.Model", monkeypatch) -> None:
    seen = []
    monkeypatch.setattr("skyeye_det.engine.model.buildings_of", lambda _, image, *__: seen.append(image))
    model(noise(), noise(seed=1))
    cfg = model._models.cfg
    cfg.defrost()
    cfg.INPUT.FORMAT = "BGR"
    model(noise(), noise(seed=1))
    cfg.INPUT.FORMAT = "RGB"
    np.testing.assert_array_equal(seen[0], seen[1][[2, 1, 0, 5, 4, 3]])
    np.testing.assert_array_equal(seen[0][0], noise()[..., 0])


def test_configs_are_found_by_name_wherever_one_stands(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("xbd_mrcnn.yaml", "configs/xbd_mrcnn.yaml", "semantic/unet_lite0.yaml"):
        assert find_config(name).read_bytes() == (CONFIGS / name.removeprefix("configs/")).read_bytes()
    assert Path(load_config("xbd_mrcnn.yaml").TEST.DECISIONS).is_file()
    with pytest.raises(InputError, match="no such file"):
        skyeye_det.load(config="nowhere.yaml", weights="x.pth")


def test_a_wheel_brings_the_configs_and_the_command(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("skyeye_det", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "README.md"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(source)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(tmp_path / "x")], check=True)
    installed = tmp_path / "x" / "skyeye_det" / "configs"
    names = {str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml")}
    assert {str(path.relative_to(installed)) for path in installed.rglob("*.yaml")} == names
    (entry,) = (tmp_path / "x").glob("*.dist-info/entry_points.txt")
    assert "skyeye = skyeye_det.commands.launch:main" in entry.read_text()


def test_the_notebook_runs(tmp_path: Path) -> None:
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
