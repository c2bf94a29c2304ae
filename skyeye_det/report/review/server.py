"""Serves the page of an assessment to this machine alone."""

import secrets
import socket
import sys
from contextlib import closing
from pathlib import Path

import uvicorn

from skyeye_det.errors import InputError
from skyeye_det.files import sole_writer
from skyeye_det.report.page.folder import PAGE, REPORT, renew_page
from skyeye_det.report.review.adapting import Adapting
from skyeye_det.report.review.calls import review_app
from skyeye_det.report.review.guard import HOST
from skyeye_det.scene.adapted import write_adapted_files
from skyeye_det.scene.geopackage_editing import connect
from skyeye_det.scene.outputs import GEOPACKAGE
from skyeye_det.scene.review.file import ReviewFile
from skyeye_det.scene.review.sample import draw_sample

_LARGEST_PORT = 65535
_LARGEST_HEAD = 16 << 10  # bytes of a request's first line and headers
_LAST_CALLS = 5  # s


class _Server(uvicorn.Server):
    """Tells its address when it answers, and heeds an interrupt; before, one could be lost."""

    def __init__(self, settings: uvicorn.Config, told: str) -> None:
        super().__init__(settings)
        self._told = told

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._told, flush=True)


def serve_reviews(
    folder: Path, port: int, sample: int | None = None, seed: int = 0, suggest: int | None = None
) -> None:
    """Serves an assessment until the program is interrupted, and prints the address.

    Args:
        folder: of the assessment; nobody else writes to it meanwhile, but QGIS to the GeoPackage.
        port: of this machine; 0: any that is free.
        sample: how many buildings to draw first, that are to be checked; None: go on with what there is.
        seed: of the sample.
        suggest: how many buildings to suggest first for a label; None: none.

    Raises:
        InputError: no assessment with a page, the port is taken, or as ``draw_sample`` and
            ``suggested_buildings``.
    """
    if not (folder / REPORT / PAGE).is_file():
        raise InputError(
            f"{folder / REPORT / PAGE}: expected the page of an assessment, found no such file; give the"
            " folder of a finished `skyeye assess`"
        )
    with closing(_bound(port)) as door, sole_writer(folder):
        # Around the review and not within: it reads the GeoPackage with an SQLite of its own. And always: no
        # time tells whether a copied page is that of its GeoPackage. Half a minute for 200,000 buildings.
        connect(folder / GEOPACKAGE).close()  # takes back what a killed server began, which readers cannot
        print("the page's data are written anew ...", file=sys.stderr, flush=True)
        write_adapted_files(folder)  # what a killed server left
        renew_page(folder)
        try:
            with closing(ReviewFile(folder)) as review, closing(Adapting(review, folder)) as adapting:
                if sample is not None:
                    print(f"{draw_sample(review, sample, seed)} buildings are drawn to be checked")
                if suggest is not None:
                    print(f"{adapting.suggest(suggest)} buildings are suggested for a label")
                _serve(review, adapting, folder / REPORT, door)
        finally:
            _renew_changed(folder)


def _serve(review: ReviewFile, adapting: Adapting, page: Path, door: socket.socket) -> None:
    port = door.getsockname()[1]
    token = secrets.token_urlsafe(32)
    settings = uvicorn.Config(
        review_app(review, adapting, page, token, port),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=_LARGEST_HEAD,
        timeout_graceful_shutdown=_LAST_CALLS,
    )
    _Server(settings, f"open http://{HOST}:{port}/?token={token} (Ctrl-C ends it)").run([door])
    raise KeyboardInterrupt  # uvicorn's own is lost where a shell has told its background jobs to ignore it


def _renew_changed(folder: Path) -> None:
    """Writes the page's data anew where people have changed the GeoPackage meanwhile, here or in QGIS."""
    written, changed = (
        path.stat().st_mtime_ns if path.exists() else 0
        for path in (folder / REPORT / PAGE, folder / GEOPACKAGE)
    )
    if written <= changed:
        renew_page(folder)


def _bound(port: int) -> socket.socket:
    """A socket at a port of the loopback."""
    if port > _LARGEST_PORT:
        raise InputError(f"--port {port}: expected 0 to {_LARGEST_PORT}, found more")
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a killed server left is no bar
        door.bind((HOST, port))
    except OSError as error:
        door.close()
        raise InputError(
            f"--port {port}: expected a free port of this machine, found another program at it"
            f" ({error.strerror}); choose another"
        ) from error
    return door
