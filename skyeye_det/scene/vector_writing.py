"""Vector files written by GDAL, whole or not at all."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError
from rasterio.crs import CRS

from skyeye_det.errors import InputError
from skyeye_det.files import whole_file
from skyeye_det.scene.vector_file import require_plain_name


@contextmanager
def whole_vector_file(path: Path) -> Iterator[Path]:
    """As ``files.whole_file``: a path to write layers to, which appears when the block ends."""
    require_plain_name(path)
    with whole_file(path) as partial:
        place = partial.with_name(partial.name + path.suffix)  # drivers want their own suffix
        place.unlink(missing_ok=True)  # of a killed run, or a link
        try:
            yield place
            place.replace(partial)
        finally:
            place.unlink(missing_ok=True)


def write_layer(
    path: Path,
    layer: str,
    geometry: np.ndarray,
    columns: Mapping[str, np.ndarray],
    crs: CRS,
    missing: Mapping[str, np.ndarray] | None = None,
    metadata: Mapping[str, str] | None = None,
    driver: str = "GPKG",
) -> None:
    """Adds a layer to a file, or begins one.

    Args:
        path: of ``whole_vector_file``.
        layer: its name.
        geometry: (N,) shapely polygons or multipolygons.
        columns: name -> values (N,).
        crs: of their coordinates.
        missing: name -> bool (N,), where a value is null.
        metadata: of the layer of a GeoPackage.
        driver: GDAL's name of the format.

    Raises:
        InputError: it cannot be written.
    """
    try:
        pyogrio.raw.write(
            path,
            geometry=shapely.to_wkb(geometry),
            field_data=list(columns.values()),
            fields=np.array(list(columns), object),
            field_mask=[(missing or {}).get(name) for name in columns],
            layer=layer,
            driver=driver,
            geometry_type="MultiPolygon",
            promote_to_multi=True,
            crs=crs.to_wkt(),
            layer_metadata=dict(metadata or {}),
        )
    except (DataSourceError, DataLayerError, FeatureError) as error:
        raise InputError(
            f"{path.parent}: the layer {layer} cannot be written ({' '.join(str(error).split())}); is there"
            " room on the disk?"
        ) from error
