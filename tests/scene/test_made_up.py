import hashlib
import json
import resource
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT

from skyeye_det.commands import sample_scene
from skyeye_det.data.targets import building_mask
from skyeye_det.errors import InputError
from skyeye_det.sample.dataset import outline_on_tile
from skyeye_det.sample.mosaic import cloud_cover, tile_numbers
from skyeye_det.sample.scene import SampleScene, draw_recipe, draw_scene
from skyeye_det.scene.geotiff import write_geotiff
from skyeye_det.scene.made_up import POST_CRS, PRE, PRE_CRS, make_scene, pre_transform

SIZE, SEED = 512, 1
SIDE = SIZE // 2  # px of each of the four tiles


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene")
    assert make_scene(path, SIZE, SEED)
    return path


def read_pre(folder: Path) -> np.ndarray:
    """uint8 (3, h, w) of the four files by their places."""
    image = np.zeros((3, SIZE, SIZE), np.uint8)
    for name in PRE:
        with rasterio.open(folder / name) as file:
            assert file.crs.to_string() == PRE_CRS
            left, top = (round(value) for value in ~pre_transform() @ (file.transform @ (0, 0)))
            image[:, top : top + file.height, left : left + file.width] = file.read()
    return image


def read_post(folder: Path, east: float, north: float) -> tuple[np.ndarray, np.ndarray]:
    """float (h, w) in grays, and what is seen, on the px of the scene before, seen from (east, north) m."""
    place = Affine.translation(east, north) @ pre_transform()
    with (
        rasterio.open(folder / "post.tif") as file,
        WarpedVRT(
            file, crs=PRE_CRS, transform=place, width=SIZE, height=SIZE, resampling=Resampling.bilinear
        ) as warped,
    ):
        return warped.read().mean(axis=0), warped.dataset_mask() > 0


def read_truth(folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    meta, _, geometry, values = pyogrio.raw.read(folder / "truth.gpkg", layer="buildings")
    assert meta["crs"] == PRE_CRS
    return shapely.from_wkb(geometry), dict(zip(meta["fields"].tolist(), values, strict=True))


@pytest.fixture(scope="module")
def drawn() -> list[tuple[int, int, SampleScene]]:
    """First column and row of the four tiles, and what was drawn there."""
    corners = ((0, 0), (SIDE, 0), (0, SIDE), (SIDE, SIDE))
    numbers = zip(corners, tile_numbers(SEED), strict=False)
    return [(x, y, draw_scene(SEED, number, SIDE, clear=True)) for (x, y), number in numbers]


def test_the_scene_before_is_what_was_drawn(folder: Path, drawn) -> None:
    image = read_pre(folder)
    for x, y, tile in drawn:
        assert (image[:, y : y + SIDE, x : x + SIDE] == tile.pre.transpose(2, 0, 1)).all()


def test_outlines_lie_on_the_pixels_of_the_drawn_targets(folder: Path, drawn) -> None:
    geometry, _ = read_truth(folder)
    target = np.zeros((SIZE, SIZE), np.uint8)
    middles = []
    for x, y, tile in drawn:
        for house in tile.houses:
            mask, (left, top) = building_mask(outline_on_tile(house, SIDE, SIDE), (SIDE, SIDE))
            if mask.size:
                target[y + top :, x + left :][: mask.shape[0], : mask.shape[1]] |= mask
                row, column = np.argwhere(mask).mean(axis=0).tolist()
                middles.append((x + left + column + 0.5, y + top + row + 0.5))
    on_ground = shapely.get_coordinates(shapely.centroid(geometry))
    found = [~pre_transform() @ (x, y) for x, y in on_ground.tolist()]
    assert np.abs(np.mean(np.subtract(found, middles), axis=0)).max() < 0.1
    # The target has the pixels under an outline, too: half a pixel more on either side.
    inside = rasterize(geometry, (SIZE, SIZE), transform=pre_transform())
    assert (inside & ~target).sum() < 0.002 * inside.sum()
    assert inside.sum() > 0.8 * target.sum() > 0


def test_tiles_are_of_one_disaster_in_one_kind_of_land_and_the_first_is_built_up(folder: Path) -> None:
    told = json.loads((folder / "sample.json").read_text())
    events = set()
    for seed in range(8):
        recipes = [draw_recipe(seed, number) for number in islice(tile_numbers(seed), 16)]
        assert len({(recipe.kind, recipe.biome) for recipe in recipes}) == 1
        assert recipes[0].settlement != "empty"
        events.add(recipes[0].hazard.event)
        assert seed != SEED or told["event"] == recipes[0].hazard.event
    assert len(events) == 4


def test_the_scene_after_lies_the_known_shift_off(folder: Path, drawn) -> None:
    expected = np.zeros((SIZE, SIZE))
    for x, y, tile in drawn:
        expected[y : y + SIDE, x : x + SIDE] = tile.post.mean(axis=2)
    shift = json.loads((folder / "sample.json").read_text())["shift_m"]
    clear = cloud_cover(0, 0, SIZE, SIZE, SIZE) == 0

    def agreement(east: float, north: float) -> float:
        post, seen = read_post(folder, shift["east"] + east, shift["north"] + north)
        return float(np.corrcoef(post[clear & seen], expected[clear & seen])[0, 1])

    best = agreement(0, 0)
    assert best > 0.95
    assert all(agreement(*off) < best for off in ((0.25, 0), (-0.25, 0), (0, 0.25), (0, -0.25)))


def test_the_scene_after_has_its_own_grid_and_lacks_the_east(folder: Path) -> None:
    told = json.loads((folder / "sample.json").read_text())
    with rasterio.open(folder / "post.tif") as file:
        assert file.crs.to_string() == POST_CRS
        assert file.transform.a == -file.transform.e == 0.55
        assert file.nodata == 0
        assert file.profile["tiled"]
        assert file.compression.name == "deflate"
    _, seen = read_post(folder, told["shift_m"]["east"], told["shift_m"]["north"])
    first = SIZE - round(told["missing_east_m"] / 0.5)
    assert not seen[:, first + 1 :].any()
    assert seen[2:-2, 2 : first - 2].all()


def test_the_cloud_is_white_and_covers_a_25th(folder: Path) -> None:
    cover = cloud_cover(0, 0, SIZE, SIZE, SIZE)
    assert cover.mean() == pytest.approx(0.04, abs=0.002)
    assert ((cover > 0) & (cover < 1)).any()
    shift = json.loads((folder / "sample.json").read_text())["shift_m"]
    post, _ = read_post(folder, shift["east"], shift["north"])
    assert (post[cover == 1] == 255).mean() > 0.95
    part = cloud_cover(100, 200, 60, 50, SIZE)
    assert (part == cover[200:250, 100:160]).all()


def test_a_building_has_a_grade_where_half_of_it_is_visible(folder: Path) -> None:
    geometry, columns = read_truth(folder)
    visible = columns["visible"]
    assert (np.isnan(columns["damage"]) == (visible < 0.5)).all()
    assert ((columns["damage_label"] == "un-classified") == (visible < 0.5)).all()
    assert (visible < 0.5).any()
    assert (visible == 1).any()
    assert np.nanmin(columns["damage"]) >= 0
    told = json.loads((folder / "sample.json").read_text())
    cloud = shapely.union_all([shapely.Point(x, y).buffer(r) for x, y, r in told["cloud_x_y_radius_m"]])
    east = pre_transform().c + SIZE * 0.5 - told["missing_east_m"]
    hidden = cloud.union(shapely.box(east, 0, east + 1000, 1e7))
    expected = 1 - shapely.area(shapely.intersection(geometry, hidden)) / shapely.area(geometry)
    assert np.abs(visible - expected).max() < 0.15  # pixels under an outline count as a whole
    assert np.abs(visible - expected).mean() < 0.01


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_scene(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        make_scene(tmp_path / name, 301, seed)
    one, two, three = (hashes(tmp_path / name) for name in ("one", "two", "three"))
    assert sorted(one) == sorted([*PRE, "post.tif", "truth.gpkg", "sample.json"])
    assert one == two
    assert not set(one.values()) & set(three.values())


def test_a_second_run_draws_what_is_missing_alone(folder: Path, capsys) -> None:
    before = hashes(folder)
    words = ["--output", str(folder), "--size", str(SIZE), "--seed", str(SEED)]
    sample_scene.main(words)
    assert "holds this scene already" in capsys.readouterr().out
    (folder / "truth.gpkg").unlink()
    (folder / ".post.mosaic").write_text("of a killed run")
    sample_scene.main(words)
    assert "buildings" in capsys.readouterr().out
    assert hashes(folder) == before


@pytest.mark.parametrize(
    ("size", "seed", "message"),
    [
        (255, 0, "--size: expected 256 to 32768 px, found 255"),
        (10**9, 0, "--size: expected 256 to 32768 px"),
        (256, -1, "--seed: expected 0 or more, found -1"),
    ],
)
def test_wrong_numbers_are_told_before_anything_is_written(
    tmp_path: Path, size: int, seed: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make_scene(tmp_path / "out", size, seed)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused_and_left(folder: Path, tmp_path: Path) -> None:
    before = hashes(folder)
    with pytest.raises(InputError, match="sample.json: expected seed 2, found 1; give another --output"):
        make_scene(folder, SIZE, 2)
    assert hashes(folder) == before
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="expected an empty folder or a made-up scene with sample.json"):
        make_scene(tmp_path, SIZE, SEED)
    (tmp_path / "sample.json").write_text('{"generator": 1, "size": 512, "seed": 1}')  # of xBD tiles
    with pytest.raises(InputError, match="expected made scene, found None"):
        make_scene(tmp_path, SIZE, SEED)
    assert len(hashes(tmp_path)) == 2


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        make_scene(tmp_path / "file" / "out", SIZE, SEED)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond 200 kB, which GDAL does not tell of."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_while_the_scene_is_drawn(tmp_path: Path, small_disk) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        make_scene(tmp_path, SIZE, SEED)
    assert list(hashes(tmp_path)) == ["sample.json"]


def test_a_full_disk_is_told_when_an_image_is_written(tmp_path: Path, small_disk) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE), np.uint8)
    grid = {"width": SIZE, "height": SIZE, "crs": PRE_CRS, "transform": pre_transform()}
    grid |= {"count": 3, "dtype": "uint8"}
    with pytest.raises(InputError, match="cannot be written"):
        write_geotiff(tmp_path / "a.tif", grid, lambda part: noise[:, : part.height, : part.width])
    assert not hashes(tmp_path)
