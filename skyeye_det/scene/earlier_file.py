"""Whether the GeoPackage of an earlier assessment may be replaced: nobody's work is lost without a word."""

from pathlib import Path

import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError

from skyeye_det.errors import InputError
from skyeye_det.scene.gdal_access import offline
from skyeye_det.scene.geopackage import BUILDINGS, OUTLINES_DIGEST, outlines_digest
from skyeye_det.scene.geopackage_editing import require_closed
from skyeye_det.scene.outputs import BESIDE, GEOPACKAGE, PARTS, RESULTS, RUN
from skyeye_det.scene.review.state import HAS_REVIEW
from skyeye_det.scene.vector_file import require_plain_name

_MEND = "move the file away, or choose another --output"


@offline()
def require_replaceable(output: Path) -> None:
    """Refuses to replace a file that a program has open, people have reviewed or drawn in, or is another's.

    Args:
        output: folder of the assessment; it need not be there.

    Raises:
        InputError: as ``require_closed``; it is no assessment, buildings are reviewed, outlines are not those
            that were written, or a folder without an assessment has a file with a result's name.
    """
    path = output / GEOPACKAGE
    require_plain_name(path)
    require_closed(path)
    if not path.is_file():
        _require_no_other(output)
        return
    reviewed = changed = 0
    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
        for layer in (BUILDINGS, BESIDE):
            if layer == BUILDINGS or layer in layers:
                *_, (found,) = pyogrio.raw.read(
                    path, layer=layer, columns=["reviewed"], where=HAS_REVIEW, read_geometry=False
                )
                reviewed += len(found)
                changed += _is_redrawn(path, layer)
    except (DataSourceError, DataLayerError, ValueError) as error:
        raise InputError(
            f"{path}: expected an assessment, found something else; choose another --output"
        ) from error
    if reviewed:
        raise InputError(
            f"{path}: expected no building that people have reviewed, found {reviewed}, whose review would be"
            f" lost; {_MEND}"
        )
    if changed:
        raise InputError(
            f"{path}: expected the outlines of buildings as they were written, found some that people have"
            f" redrawn, added or removed since, as in QGIS, which would be lost; {_MEND}"
        )


def _require_no_other(output: Path) -> None:
    """Refuses files with the names of results where no assessment was."""
    there = [output / name for name in RESULTS if (output / name).exists()]
    if there and not ((output / RUN).is_file() or (output / PARTS).is_dir()):
        raise InputError(
            f"{there[0]}: expected no such file in a folder without an assessment, found one that a result"
            f" would replace; {_MEND}"
        )


def _is_redrawn(path: Path, layer: str) -> bool:
    """Whether the outlines of a layer are others than were written; False of a file that does not tell."""
    told = (pyogrio.read_info(path, layer=layer)["layer_metadata"] or {}).get(OUTLINES_DIGEST)
    if told is None:
        return False
    _, _, geometry, _ = pyogrio.raw.read(path, layer=layer, columns=[])
    outlines = np.array(shapely.from_wkb(geometry, on_invalid="ignore"), object)
    return bool(told != outlines_digest(outlines))
