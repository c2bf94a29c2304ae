"""Images at an address, from a local HTTP server; and VRTs, which may name no address."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasterio.vrt
import shapely
from rasterio.errors import RasterioError
from scenes import ground, write

from skyeye_det.errors import InputError, UnreadableError
from skyeye_det.prediction.windows import Window
from skyeye_det.scene.gdal_access import gdal_options
from skyeye_det.scene.grid import common_grid
from skyeye_det.scene.rasters import open_side
from skyeye_det.scene.reading import SideReader
from skyeye_det.scene.vector_file import read_layer


class Ranges(SimpleHTTPRequestHandler):
    """Serves a folder, and parts of its files; notes what was asked for."""

    asked: list[tuple[str, str, int]]
    broken: threading.Event

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        wanted = self.headers.get("Range", "")
        if self.broken.is_set() or not path.is_file():
            self.send_error(503 if self.broken.is_set() else 404)
            return
        content = path.read_bytes()
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = content[int(first or 0) : int(last or len(content)) + 1]
        self.asked.append((self.path, wanted, len(part)))
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


class Server:
    def __init__(self, folder: Path):
        self.asked, self.broken = [], threading.Event()
        handler = type("Handler", (Ranges,), {"asked": self.asked, "broken": self.broken})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        self.address = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    (tmp_path / "served").mkdir()
    server = Server(tmp_path / "served")
    thread = threading.Thread(target=server.http.serve_forever)
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def cog(path: Path, image: np.ndarray) -> Path:
    plain = write(path.with_suffix(".plain.tif"), image)
    rasterio.shutil.copy(plain, path, driver="COG", compress="deflate", blocksize=128)
    plain.unlink()
    return path


@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_an_image_at_an_address_is_read_in_parts(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    image = np.random.default_rng(0).integers(20, 230, (3, 1500, 1500), np.uint8)
    (tmp_path / "served" / "bucket").mkdir()
    cog(tmp_path / "served" / "bucket" / "a.tif", image)
    for name, value in {
        "AWS_S3_ENDPOINT": server.address.removeprefix("http://"),
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
    }.items():
        monkeypatch.setenv(name, value)
    address = server.address if scheme == "http" else "s3:/"
    side = open_side("pre", [f"{address}/bucket/a.tif"])
    grid = common_grid(side, side)
    with SideReader(side, grid) as reader:
        found, seen = reader.read(Window(512, 512, 192, 192, grid.shape))
    assert np.array_equal(found, image[:, 512:704, 512:704])
    assert seen.all()
    assert {path for path, *_ in server.asked} == {"/bucket/a.tif"}  # nothing beside it was looked for
    assert sum(size for *_, size in server.asked) < image.size / 4


def test_an_image_that_an_address_gives_no_more_is_told_with_its_window(
    server: Server, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).integers(20, 230, (3, 700, 700), np.uint8)
    cog(tmp_path / "served" / "b.tif", image)
    side = open_side("pre", [f"{server.address}/b.tif"])
    grid = common_grid(side, side)
    server.broken.set()
    with (
        SideReader(side, grid) as reader,
        pytest.raises(
            UnreadableError, match=r"/b\.tif: expected pixels that can be read in the window 300-300"
        ),
    ):
        reader.read(Window(300, 300, 192, 192, grid.shape))


def test_an_address_that_gives_no_image_is_told_in_a_sentence(server: Server, tmp_path: Path) -> None:
    (tmp_path / "served" / "page.tif").write_text("<html>not found</html>")
    for address in (f"{server.address}/none.tif", f"{server.address}/page.tif", "http://127.0.0.1:9/a.tif"):
        with pytest.raises(
            InputError, match=r"tif: expected a GeoTIFF, COG,.* that can be read, found"
        ) as told:
            open_side("pre", [address])
        assert "\n" not in str(told.value)


def mosaic(source: str) -> str:
    """Text of a VRT whose source is opened when it is read."""
    return (
        '<VRTDataset rasterXSize="400" rasterYSize="320"><GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform>'
        f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>{source}</SourceFilename>'
        '<SourceBand>1</SourceBand><SourceProperties RasterXSize="400" RasterYSize="320" DataType="Byte"/>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )


def test_a_vrt_at_an_address_is_refused(server: Server, tmp_path: Path) -> None:
    write(tmp_path / "served" / "c.tif", ground())
    (tmp_path / "served" / "c.vrt").write_text(mosaic(f"/vsicurl/{server.address}/c.tif"))
    with pytest.raises(InputError, match=r"c\.vrt: .* found a file of kind VRT at an address"):
        open_side("pre", [f"{server.address}/c.vrt"])
    assert "/c.tif" not in {path for path, *_ in server.asked}


def virtual(source: Path, path: Path) -> Path:
    with rasterio.open(source) as file, rasterio.vrt.WarpedVRT(file) as warped:
        rasterio.shutil.copy(warped, path, driver="VRT")
    return path


def test_a_vrt_of_vrts_counts_the_files_behind_all_of_them(tmp_path: Path) -> None:
    source = write(tmp_path / "below" / "source.tif", ground())
    outer = virtual(virtual(source, tmp_path / "inner.vrt"), tmp_path / "outer.vrt")
    side = open_side("pre", [str(outer)])
    grid = common_grid(side, side)
    with SideReader(side, grid) as reader:
        assert np.array_equal(reader.read(Window(0, 0, 192, 192, grid.shape))[0], ground()[:, :192, :192])
    assert {Path(file).name for file in side.rasters[0].files} == {"outer.vrt", "inner.vrt", "source.tif"}


@pytest.mark.parametrize("named", ["address", "vsicurl", "behind", "service", "text", "no file"])
def test_a_vrt_that_names_more_than_images_here_is_refused(
    server: Server, tmp_path: Path, named: str
) -> None:
    source = write(tmp_path / "served" / "d.tif", ground())
    outer = virtual(source, tmp_path / "outer.vrt")
    (tmp_path / "service.xml").write_text(
        f"<GDAL_WMS><Service name='TMS'><ServerUrl>{server.address}/${{z}}</ServerUrl></Service></GDAL_WMS>"
    )
    (tmp_path / "text").write_text("secret")
    name = {
        "address": f"{server.address}/d.tif",
        "vsicurl": f"/vsicurl/{server.address}/d.tif",
        "behind": "inner.vrt",
        "service": "service.xml",
        "text": "text",
        "no file": "none.tif",
    }[named]
    content = outer.read_text().replace("served/d.tif", name)
    assert name in content
    outer.write_text(content)
    (tmp_path / "inner.vrt").write_text(content.replace(name, f"{server.address}/d.tif"))
    with pytest.raises(InputError, match=r"expected (sources that are files of this machine|a GeoTIFF)"):
        open_side("pre", [str(outer)])
    assert server.asked == []


@pytest.mark.parametrize("kind", ["image", "mask", "overviews", "metadata", "aux"])
def test_what_lies_beside_a_local_file_asks_no_address(server: Server, tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.tif", ground())
    service = f"<GDAL_WMTS><GetCapabilitiesUrl>{server.address}/a</GetCapabilitiesUrl></GDAL_WMTS>"
    name = {"image": "a.tif", "mask": "a.tif.msk", "overviews": "a.tif.ovr"}.get(kind, "service.xml")
    (tmp_path / name).write_text(service)
    if kind == "metadata":
        with rasterio.open(path, "r+") as file:
            file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(tmp_path / name))
    if kind == "aux":
        item = f'<MDI key="OVERVIEW_FILE">WMTS:{server.address}/a</MDI>'
        text = f'<PAMDataset><Metadata domain="OVERVIEWS">{item}</Metadata></PAMDataset>'
        (tmp_path / "a.tif.aux.xml").write_text(text)
    with pytest.raises(InputError, match=r"a\.tif.*: expected a GeoTIFF, COG, VRT, .* found (something|one)"):
        open_side("pre", [str(path)])
    assert server.asked == []


@pytest.mark.parametrize("kind", ["OGRWFSDataSource", "crs", "schema"])
def test_a_vector_file_asks_no_address(server: Server, tmp_path: Path, monkeypatch, kind: str) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")  # as of a cloud's own addresses
    (tmp_path / "served" / "a").write_text("EPSG:32615")
    path = tmp_path / "a.json"
    path.write_text(f"<{kind}><URL>{server.address}/a</URL></{kind}>")
    if kind == "crs":
        link = {"type": "link", "properties": {"href": f"{server.address}/a", "type": "proj4"}}
        outline = shapely.geometry.mapping(shapely.box(0, 0, 1, 1))
        features = [{"type": "Feature", "properties": {}, "geometry": outline}]
        path.write_text(json.dumps({"type": "FeatureCollection", "crs": link, "features": features}))
    if kind == "schema":
        path = tmp_path / "a.gml"
        path.write_text(
            '<?xml version="1.0"?><wfs:FeatureCollection xmlns:wfs="http://www.opengis.net/wfs" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://a '
            f'{server.address}/a?SERVICE=WFS&amp;REQUEST=DescribeFeatureType&amp;TYPENAME=a:x"/>'
        )
    with suppress(InputError):
        read_layer(path)
    assert server.asked == []
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "127.0.0.1"


def test_what_a_local_file_opens_while_it_is_read_is_not_on_the_network(server: Server, tmp_path) -> None:
    write(tmp_path / "served" / "e.tif", ground())
    content = mosaic(f"/vsicurl/{server.address}/e.tif")
    with rasterio.open(content) as file, gdal_options("local.vrt"), pytest.raises(RasterioError):
        file.read()
    assert server.asked == []
    with rasterio.open(content) as file:
        assert np.array_equal(file.read(1), ground()[0])  # else the test could not fail
