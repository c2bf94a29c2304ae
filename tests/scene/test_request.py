"""What an assessment refuses before it begins, such as inputs that its results would replace."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from scenes import CORNER, ground, write, write_polygons

from skyeye_det.errors import InputError
from skyeye_det.scene.request import AssessmentOptions, open_request


@pytest.fixture
def images(tmp_path: Path) -> dict[str, list[str]]:
    (tmp_path / "out").mkdir()
    names = ("pre", "post")
    return {name: [str(write(tmp_path / name / "a.tif", ground()))] for name in names}


def opened(folder: Path, images: dict[str, list[str]], **more) -> None:
    open_request(AssessmentOptions(**(images | {"output": folder / "out"} | more)))


def test_an_image_on_both_sides_is_refused(tmp_path: Path, images) -> None:
    opened(tmp_path, images)
    (tmp_path / "link.tif").symlink_to(images["post"][0])
    images["pre"].append(str(tmp_path / "link.tif"))
    with pytest.raises(InputError, match=r"expected images of two dates, found .*post/a\.tif in both"):
        opened(tmp_path, images)


def test_the_sides_may_be_bands_of_one_file(tmp_path: Path, images) -> None:
    both = write(tmp_path / "both.tif", np.concatenate([ground(), ground(seed=1)]))
    place = f"<SRS>EPSG:32615</SRS><GeoTransform>{CORNER[0]},0.5,0,{CORNER[1]},0,-0.5</GeoTransform>"
    for name, first in (("pre", 1), ("post", 4)):
        bands = "".join(
            f'<VRTRasterBand dataType="Byte" band="{number}"><SimpleSource><SourceFilename>{both}'
            f"</SourceFilename><SourceBand>{number + first - 1}</SourceBand></SimpleSource></VRTRasterBand>"
            for number in (1, 2, 3)
        )
        images[name] = [str(tmp_path / f"{name}.vrt")]
        text = f'<VRTDataset rasterXSize="400" rasterYSize="320">{place}{bands}</VRTDataset>'
        (tmp_path / f"{name}.vrt").write_text(text)
    opened(tmp_path, images)


def test_inputs_that_a_result_would_replace_are_refused(tmp_path: Path, images) -> None:
    corner = CORNER[0], CORNER[1] - 100, CORNER[0] + 100, CORNER[1]
    outlines = write_polygons(tmp_path / "out/damage.geojson", shapely.box(*corner))
    opened(tmp_path, images, output=tmp_path / "other", footprints=outlines)
    with pytest.raises(InputError, match=r"damage\.geojson: expected inputs that no result replaces"):
        opened(tmp_path, images, footprints=outlines)
    image = Path(images["post"][0]).rename(tmp_path / "out/damage.tif")
    with pytest.raises(InputError, match=r"damage\.tif: expected inputs that no result replaces"):
        opened(tmp_path, images | {"post": [str(image)]})
    with pytest.raises(InputError, match="expected another folder than that of the images"):
        opened(
            tmp_path,
            images | {"post": [str(write(tmp_path / "all/a.tif", ground()).parent)]},
            output=tmp_path / "all",
        )


@pytest.mark.parametrize("name", ["pre", "post", "footprints", "aoi", "area_name", "engine", "formats"])
def test_the_text_of_an_unset_variable_is_refused(tmp_path: Path, images, name: str) -> None:
    with pytest.raises(
        InputError, match=f"--{name.replace('_', '-')}: expected a value, found an empty text"
    ):
        opened(tmp_path, images | {name: ""})


@pytest.mark.parametrize(("pre", "post"), [("2023-02-08", "2023-02-06"), ("2023-02-08T01:00", "2023-02-06")])
def test_a_post_image_from_before_the_pre_image_is_refused(
    tmp_path: Path, images, pre: str, post: str
) -> None:
    opened(tmp_path, images, pre_date=post, post_date=pre)
    opened(tmp_path, images, pre_date=pre, post_date="the day before")
    with pytest.raises(InputError, match="--post-date: expected none before --pre-date"):
        opened(tmp_path, images, pre_date=pre, post_date=post)
