"""``report/`` of an assessment's folder: written and replaced whole, renewed after people have edited."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError

from skyeye_det.errors import InputError
from skyeye_det.files import write_bytes
from skyeye_det.progress import progress
from skyeye_det.report.page.buildings import shown_records, write_buildings
from skyeye_det.report.page.document import index_html
from skyeye_det.report.page.script_files import write_call
from skyeye_det.report.page.summary import scene_summary
from skyeye_det.report.page.tiles import block_count, draw_tiles, max_zoom, tile_bits
from skyeye_det.scene.adaptation_record import shown_adaptation
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.outputs import AREAS, BESIDE, GEOPACKAGE, RUN
from skyeye_det.scene.reading import SideReader
from skyeye_det.scene.review.counted import as_reviewed
from skyeye_det.scene.review.frame import CHUNK
from skyeye_det.scene.run_record import Run
from skyeye_det.scene.vector_file import VectorLayer, read_layer

REPORT, PAGE, META = "report", "index.html", "meta.js"

_NEW, _OLD = f".{REPORT}.partial", f".{REPORT}.old"
_SIDES = ("pre", "post")
_LAYERS = (BUILDINGS, BESIDE, AREAS, "not_assessed", "coverage")


def write_page(output: Path, readers: tuple[SideReader, SideReader], grid: Grid, run: Run) -> Path:
    """Writes the page of an assessment whose GeoPackage is there, in place of an earlier one.

    Args:
        output: the assessment's folder.
        readers: of the images before and after, the latter moved to the place of the former.
        grid: of both.
        run: what ``run.json`` says, or will say.

    Returns:
        Path of its ``index.html``.

    Raises:
        InputError: an image or the GeoPackage cannot be read, or a file cannot be written.
    """
    with _whole_folder(output) as folder:
        _draw_sides(folder / "tiles", readers, grid)
        _write_data(folder, output / GEOPACKAGE, run)
    return output / REPORT / PAGE


def renew_page(output: Path) -> None:
    """Writes all of a page but its tiles anew, from ``damage.gpkg`` and ``run.json`` as they are now.

    Args:
        output: folder of a finished assessment.

    Raises:
        InputError: one of the two cannot be read, or a file cannot be written.
    """
    run = Run.read(output / RUN)
    require_page_place(output)
    _write_data(output / REPORT, output / GEOPACKAGE, run)


def require_page_place(output: Path) -> None:
    """Raises InputError where something else is in the place of the page, or links lead out of it."""
    place = output / REPORT
    if place.is_symlink() or (place.exists() and not (place / META).is_file()):
        raise InputError(
            f"{place}: expected the page of an earlier run, or nothing, found something else; move it away,"
            " or choose another --output"
        )
    # Its files would be written, and old chunks removed, where the link leads.
    if links := sorted(path.name for path in place.glob("*") if path.is_symlink()):
        raise InputError(
            f"{place / links[0]}: expected a file or folder of a page, found a link; move {place} away"
        )


def discard_page(output: Path) -> None:
    """Removes a page that shows an earlier result; InputError as ``require_page_place``."""
    require_page_place(output)
    try:
        if (output / REPORT).is_dir():
            _removed(output / _OLD)
            (output / REPORT).replace(output / _OLD)
        _removed(output / _OLD)
    except OSError as error:
        raise InputError(f"{output / REPORT}: cannot be removed ({error.strerror or error})") from error


@contextmanager
def _whole_folder(output: Path) -> Iterator[Path]:
    """A folder to write to, which becomes the page when the block ends well."""
    place = output / _NEW
    try:
        _removed(place)  # of a killed run
        place.mkdir(parents=True)
        yield place
        discard_page(output)
        place.replace(output / REPORT)
    except OSError as error:
        raise InputError(f"{output / REPORT}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _removed(place: Path) -> None:
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)


def _draw_sides(folder: Path, readers: tuple[SideReader, SideReader], grid: Grid) -> None:
    """Draws both sides at once, a block of each at a time."""
    blocks = block_count(grid.shape)
    drawn = [draw_tiles(folder / side, reader, grid) for side, reader in zip(_SIDES, readers, strict=True)]
    with readers[0], readers[1], ThreadPoolExecutor(len(drawn)) as pool:
        steps = (list(pool.map(next, drawn)) for _ in range(blocks))
        for _ in progress(steps, blocks, "draw", "block"):
            pass
        for rest in drawn:  # tiles that end with the last block
            next(rest, None)


def _write_data(folder: Path, geopackage: Path, run: Run) -> None:
    """Writes what follows from the GeoPackage and the run's record; ``meta.js`` comes last."""
    grid = run.on_grid()
    layers = _layers(geopackage, grid)
    records = [shown_records(layers[name]) for name in (BUILDINGS, BESIDE) if name in layers]
    summary = scene_summary(run, layers, records[0])
    texts = sorted({text for each in records for text in each.columns["status"].tolist()})
    chunks = write_buildings(folder, records, grid, texts)
    write_bytes(folder / PAGE, index_html())
    summary |= {
        "not_in_footprints": len(as_reviewed(records[1])) if BESIDE in layers else None,
        "status_texts": texts,
        "max_zoom": max_zoom(grid.shape),
        "tiles": {side: tile_bits(folder / "tiles" / side, grid.shape) for side in _SIDES},
        "chunk": CHUNK,
        "adapted": shown_adaptation(geopackage, run),
        "chunks": chunks,
    }
    write_call(folder / META, "meta", summary)


def _layers(path: Path, grid: Grid) -> dict[str, VectorLayer]:
    """Of ``_LAYERS`` those that a GeoPackage has, in the grid's CRS."""
    try:
        names = {str(name) for name in pyogrio.list_layers(path)[:, 0]} if path.is_file() else set()
    except (DataSourceError, DataLayerError) as error:
        raise InputError(f"{path}: expected an assessment, found a file that cannot be read") from error
    if BUILDINGS not in names:
        raise InputError(f"{path}: expected an assessment with a layer {BUILDINGS}, found none")
    return {name: read_layer(path, name).projected(grid.crs) for name in _LAYERS if name in names}
