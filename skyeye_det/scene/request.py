"""What is asked of an assessment, and the files that it names, opened and checked."""

import os
import re
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path

import shapely

from skyeye_det.decision.adaptation import Adaptation
from skyeye_det.decision.adaptation_file import Card, read_adaptation
from skyeye_det.dependencies import require_dask
from skyeye_det.errors import InputError, shown
from skyeye_det.prediction.windows import OVERLAP, WINDOW
from skyeye_det.released import DEFAULT
from skyeye_det.scene.footprints import SceneFootprints, filled_layer, open_aoi, open_footprints
from skyeye_det.scene.formats import FORMATS
from skyeye_det.scene.grid import Grid, common_grid
from skyeye_det.scene.outputs import RESULTS
from skyeye_det.scene.pair import same_images
from skyeye_det.scene.rasters import Side, bounded_cache, open_side
from skyeye_det.scene.records import OUTLINES
from skyeye_det.scene.shift import Shift
from skyeye_det.scene.vector_file import NO_NAME, VectorLayer

AUTO, NONE = "auto", "none"
LOCAL = "local"
_LARGEST_SHIFT = 1000
_SMALLEST = 64  # px
_MAY_BE_EMPTY = ("pre_date", "post_date", "opts")
_DASK = re.compile(r"dask(\+tls)?://[^/\s]+:\d+|dask")


@dataclass(frozen=True, kw_only=True)
class AssessmentOptions:
    """What is asked, in the words of ``skyeye assess``; see its ``--help``.

    Attributes:
        pre, post: paths of files, folders, globs.
        output: folder of the results.
        pre_crs, post_crs: of images that do not say.
        pre_date, post_date: for the records.
        model: name of a released model, unless ``config_file`` and ``weights`` name one of your own.
        config_file, weights, tta, opts: views and changes of the model, see ``tools/infer.py``.
        decisions: rule in place of the model's for assessments.
        adaptation: file of ``skyeye adapt`` from another scene of the same event.
        footprints, footprint_id: file of outlines that get a record each, and its column of ids.
        aoi: file of polygons outside of which nothing is assessed.
        areas, area_name: file of polygons to count buildings in, and its column of names.
        crs, resolution: of the results; m a pixel.
        bands: numbers of red, green and blue, such as ``3,2,1``.
        shift: ``auto``, ``none`` or ``DX,DY`` px.
        outlines: of ``OUTLINES``.
        formats: of ``scene.formats.FORMATS``, beside GeoPackage.
        window, overlap: px.
        skip_unreadable: whether a window that cannot be read is passed over and told as not assessed.
        shard: (k, n): only the k-th of n parts of the windows, from 1; who finds all done writes the results.
        engine: where windows are predicted: ``local``, in this process; ``dask``, by processes of this
            machine; ``dask://HOST:PORT``, by a Dask cluster that runs already, ``dask+tls://`` with TLS.
    """

    pre: list[str]
    post: list[str]
    output: Path
    pre_crs: str | None = None
    post_crs: str | None = None
    pre_date: str = ""
    post_date: str = ""
    model: str = DEFAULT
    config_file: list[str] | tuple[str, ...] = ()
    weights: list[str] | tuple[str, ...] = ()
    tta: list[str] | tuple[str, ...] = ()
    opts: list[str] | tuple[str, ...] = ()
    decisions: str | None = None
    adaptation: str | None = None
    footprints: str | None = None
    footprint_id: str | None = None
    aoi: str | None = None
    areas: str | None = None
    area_name: str | None = None
    crs: str = AUTO
    resolution: float | None = None
    bands: str | None = None
    shift: str = AUTO
    outlines: str = OUTLINES[0]
    formats: list[str] | tuple[str, ...] = ()
    window: int = WINDOW
    overlap: int = OVERLAP
    skip_unreadable: bool = False
    shard: tuple[int, int] = (1, 1)
    engine: str = LOCAL

    def __post_init__(self) -> None:
        """Raises InputError for what no assessment can be asked; single texts become lists."""
        object.__setattr__(self, "output", Path(self.output))
        for name in ("pre", "post", "config_file", "weights", "tta", "opts", "formats"):
            given = getattr(self, name)
            single = isinstance(given, str | Path)
            object.__setattr__(self, name, [str(each) for each in ([given] if single else given)])
        for path in (str(self.output), *self.pre, *self.post):
            if path != path.encode(errors="replace").decode():  # GDAL takes no others
                raise InputError(f"{shown(path)}: expected a name in UTF-8, found other bytes; rename it")
        for name in (field.name for field in fields(self) if field.name not in _MAY_BE_EMPTY):
            given = getattr(self, name)
            if "" in (given if isinstance(given, list) else [given]):  # as of a variable that is not set
                raise InputError(f"--{name.replace('_', '-')}: expected a value, found an empty text")
        number, shards = self.shard
        for name, is_sound, expected in (
            ("formats", set(self.formats) <= set(FORMATS), f"some of {', '.join(FORMATS)}"),
            ("outlines", self.outlines in OUTLINES, f"one of {', '.join(OUTLINES)}"),
            ("shard", 1 <= number <= shards, "K/N such as 1/8"),
            ("window", self.window >= _SMALLEST, f"{_SMALLEST} px or more"),
            ("overlap", 0 <= self.overlap <= self.window // 2, "at most half of --window"),
            ("footprint-id", not self.footprint_id or self.footprints, "it with --footprints"),
            ("area-name", not self.area_name or self.areas, "it with --areas"),
            ("weights", bool(self.weights) == bool(self.config_file), "it with --config-file, or neither"),
            ("model", self.model == DEFAULT or not self.weights, "no name with --weights"),
            ("post-date", not _is_before(self.post_date, self.pre_date), "none before --pre-date"),
        ):
            if not is_sound:
                found = shown(getattr(self, name.replace("-", "_")))
                raise InputError(f"--{name}: expected {expected}, found {found}")


@dataclass(frozen=True, eq=False)
class Request:
    """The files of an assessment.

    Attributes:
        pre, post: the two sides.
        grid: of both.
        shift: that is given; None: to be estimated.
        aoi: in the grid's CRS; None: all of it.
        footprints: on the grid; None: buildings are found.
        areas: in the grid's CRS; None: none.
        area_names: of these.
        adaptation: to grade by, with its card; None: none.
    """

    pre: Side
    post: Side
    grid: Grid
    shift: Shift | None
    aoi: shapely.Geometry | None
    footprints: SceneFootprints | None
    areas: VectorLayer | None
    area_names: list[str]
    adaptation: tuple[Adaptation, Card] | None = None


def open_request(options: AssessmentOptions) -> Request:
    """Opens and checks all that an assessment reads but for the model; InputError where it cannot be used."""
    _check_engine(options)
    shift = _given_shift(options.shift)
    adaptation = read_adaptation(Path(options.adaptation)) if options.adaptation else None
    footprints = areas = None
    with bounded_cache():  # within a context of rasterio's, GDAL prints nothing of its own
        pre = open_side("pre", list(options.pre), options.pre_crs, options.bands)
        post = open_side("post", list(options.post), options.post_crs, options.bands)
        _require_other_files(options, pre, post)
        grid = common_grid(pre, post, options.crs, options.resolution)
        if options.footprints:
            footprints = open_footprints(options.footprints, options.footprint_id, grid)
        if options.areas:
            areas = filled_layer(options.areas, grid)
        aoi = open_aoi(options.aoi, grid) if options.aoi else None
    names = _names(areas, options.area_name)
    return Request(pre, post, grid, shift, aoi, footprints, areas, names, adaptation)


def _require_other_files(options: AssessmentOptions, pre: Side, post: Side) -> None:
    """Refuses an image on both sides, and files whose place a result will take."""
    before, after = ({os.path.realpath(raster.path) for raster in side.rasters} for side in (pre, post))
    if same := sorted(before & after):  # two VRTs of one file may show its other bands
        raise same_images(same[0], same[0])
    vectors = [path for path in (options.footprints, options.areas, options.aoi) if path]
    images = [file for side in (pre, post) for raster in side.rasters for file in raster.files]
    places = {os.path.realpath(options.output / name) for name in RESULTS}
    if taken := sorted(places & set(map(os.path.realpath, [*images, *vectors]))):
        raise InputError(
            f"{taken[0]}: expected inputs that no result replaces, found one with a result's name in"
            " --output; choose another --output"
        )
    if os.path.realpath(options.output) in map(os.path.realpath, (*options.pre, *options.post)):
        raise InputError(
            f"--output {options.output}: expected another folder than that of the images, among which the"
            " next run would find the results; choose another"
        )


def _is_before(one: str, other: str) -> bool:
    """Whether a date lies before another; False where one of them is no ISO 8601."""
    try:
        return date.fromisoformat(one[:10]) < date.fromisoformat(other[:10])
    except ValueError:
        return False


def _check_engine(options: AssessmentOptions) -> None:
    if options.engine == LOCAL:
        return
    if not _DASK.fullmatch(options.engine):
        raise InputError(
            f"--engine: expected local, dask, dask://HOST:PORT or dask+tls://HOST:PORT, found"
            f" {shown(options.engine)}"
        )
    if options.shard != (1, 1):
        raise InputError(
            f"--shard: expected none with --engine {options.engine}, whose workers share the windows out"
            " among themselves; leave it out"
        )
    require_dask(f"--engine {options.engine}")


def _names(areas: VectorLayer | None, column: str | None) -> list[str]:
    if areas is None:
        return []
    if column:
        return areas.texts(column, "let --area-name name one of these", NO_NAME)
    return [str(number) for number in range(1, len(areas.geometry) + 1)]


def _given_shift(text: str) -> Shift | None:
    """None where it is to be estimated."""
    if text == AUTO:
        return None
    words = ["0", "0"] if text == NONE else text.split(",")
    try:
        dx, dy = map(float, words)
        if not (abs(dx) <= _LARGEST_SHIFT and abs(dy) <= _LARGEST_SHIFT):
            raise ValueError(text)
    except ValueError as error:
        raise InputError(
            f"--shift {text}: expected auto, none or two numbers DX,DY of at most {_LARGEST_SHIFT} px, found"
            " another; a negative one as --shift=-3,2"
        ) from error
    return Shift(dx, dy, 0, (), float("nan"))
