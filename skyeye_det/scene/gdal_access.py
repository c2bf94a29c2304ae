"""What GDAL may open on behalf of a file that a stranger made: a VRT names other files, or addresses.

A local VRT may name local rasters of the kinds that are taken, wherever they lie, as its user could, but no
address and no description of a service. One at an address is not taken: its owner would choose. The same
holds for files beside an image, and for vector files.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pyogrio
import rasterio

from skyeye_det.errors import InputError, shown
from skyeye_det.files import open_plain, read_bytes

_ALWAYS = {"GDAL_VRT_ENABLE_PYTHON": "NO", "GDAL_DISABLE_READDIR_ON_OPEN": "FALSE"}
_SCHEMES = {
    "https://": "/vsicurl/https://",
    "http://": "/vsicurl/http://",
    "s3://": "/vsis3/",
}
_REMOTE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no list of what lies beside is asked for
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
}
_NAMES = ("sourcefilename", "sourcedataset")
_MARK, _START = b"<VRTDataset", 1024
_MAGIC = (
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),  # TIFF, BigTIFF
    *(b"\x89PNG", b"\xff\xd8\xff", b"\0\0\0\x0cjP  ", b"\xffO\xffQ"),  # JPEG 2000 in JP2, and bare
)
_BESIDE = (".ovr", ".msk", ".OVR", ".MSK")
_NOWHERE = "127.0.0.1:9"  # the port that discards
_OFFLINE = {"GDAL_HTTP_PROXY": _NOWHERE, "GDAL_HTTPS_PROXY": _NOWHERE, "GML_DOWNLOAD_SCHEMA": "NO"}
_DIRECT = ("no_proxy", "NO_PROXY")  # in the environment: hosts that libcurl asks without a proxy


def is_address(path: str) -> bool:
    """Whether a path is one of GDAL's virtual file systems, such as ``https://`` or ``/vsis3/``."""
    return path.startswith("/vsi") or "://" in path


def gdal_path(path: str) -> str:
    """As GDAL calls it: ``/vsicurl/https://...``, ``/vsis3/...``."""
    for scheme, name in _SCHEMES.items():
        if path.startswith(scheme):
            return name + path.removeprefix(scheme)
    return path


def gdal_options(path: str) -> rasterio.Env:
    """Under which a file is opened and read: from the network that file alone, of a local one nothing.

    Settings of HTTP that the environment has stand.
    """
    if not is_address(path):
        return rasterio.Env(**_ALWAYS, CPL_VSIL_CURL_ALLOWED_FILENAME="none")
    name = gdal_path(path)
    only = {"CPL_VSIL_CURL_ALLOWED_FILENAME": name} if name.rfind("/vsi") == 0 else {}  # not in an archive
    kept = {key: value for key, value in _REMOTE.items() if key not in os.environ}
    return rasterio.Env(**_ALWAYS | kept | only)


def require_image(path: str) -> None:
    """Refuses a local file that is no image, and such files beside it that GDAL would read with it.

    GDAL would ask the address in a description of a service before it tells what the file is.

    Raises:
        InputError: it is something else, or cannot be read.
    """
    if is_address(path):
        return
    for name in [path, *(beside for end in _BESIDE if Path(beside := path + end).is_file())]:
        try:
            with open_plain(name) as file:
                start = file.read(_START)
        except OSError as error:
            raise InputError(f"{name}: cannot be read ({error.strerror or error})") from error
        if not (start.startswith(_MAGIC) or _MARK in start):
            raise InputError(
                f"{name}: expected a GeoTIFF, COG, VRT, JPEG 2000, PNG or JPEG that can be read, found"
                " something else"
            )


@contextmanager
def offline() -> Iterator[None]:
    """While the block goes on, vector files are read without the network, whatever they name."""
    before = {name: pyogrio.get_gdal_config_option(name) for name in _OFFLINE}
    direct = {name: os.environ.pop(name) for name in _DIRECT if name in os.environ}
    pyogrio.set_gdal_config_options(_OFFLINE)
    try:
        yield
    finally:
        os.environ.update(direct)
        pyogrio.set_gdal_config_options(before)


def source_files(path: str) -> list[str]:
    """All files that a local VRT, and the VRTs among them, name; none of another file.

    Raises:
        InputError: it names something else.
    """
    found: dict[str, None] = {}
    todo = [path]
    while todo:
        for name in _named(todo.pop()):
            if name not in found:
                found[name] = None
                todo.append(name)
    return list(found)


def _named(path: str) -> list[str]:
    if is_address(path) or not Path(path).is_file():
        return []
    with open_plain(path) as file:
        if _MARK not in file.read(_START):
            return []
    try:
        elements = list(ET.fromstring(read_bytes(path)).iter())
    except ET.ParseError as error:
        raise InputError(f"{path}: expected a VRT, found other XML ({error}); make it anew") from error
    named = []
    for element in elements:
        if element.tag.lower() in _NAMES:  # GDAL does not tell apart either
            options = {key.lower(): value for key, value in element.items()}
            name = (element.text or "").strip()
            place = Path(path).parent / name if options.get("relativetovrt") == "1" else Path(name)
            if is_address(name) or not place.is_file():
                raise InputError(
                    f"{path}: expected sources that are files of this machine, found {shown(name)}; give"
                    " these in place of the VRT"
                )
            named.append(str(place.resolve()))
    return named
