"""``damage.gpkg``: the records of a scene in the format that every GIS opens, with its style for QGIS."""

import hashlib
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import shapely

from skyeye_det.damage import SUBTYPE_BY_DAMAGE, DamageClass
from skyeye_det.decision.buildings import NOT_ASSESSED
from skyeye_det.errors import InputError
from skyeye_det.evaluation.check_estimate import NOT_A_BUILDING
from skyeye_det.prediction.visibility import ASSESSED
from skyeye_det.scene import terms
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.records import Records
from skyeye_det.scene.review.state import UNSURE
from skyeye_det.scene.vector_writing import write_layer

BUILDINGS = "buildings"
OUTLINES_DIGEST = "outlines_sha256"
"""Among the metadata of a layer of buildings: ``outlines_digest`` of what was written."""

MEANING = {
    "building_id": "the footprint's, or a hash of the place: the same in every run on the same grid",
    "damage": "0 no-damage, 1 minor, 2 major, 3 destroyed; null: not assessed",
    "p_no_damage": "calibrated probability of the grade, 0..1; the four sum to 1; null: not assessed",
    "score": "how sure the model is that this is a building, 0..1",
    "status": f"{ASSESSED}, or why not",
    "valid_fraction": "share of the building that both images show, 0..1",
    "area_m2": "of the outline, in square metres",
    "shift_m": "how far the images still lie apart here, in metres, by the nearest window that was compared",
    "damage_gra": "Copernicus EMS; the equivalence is SkyEye's",
    "unosat_class": "UNOSAT Main_Damage_Site_Class, 1 destroyed to 3 moderate; the equivalence is SkyEye's",
    "reviewed": "whether a person has given a verdict on the building",
    "review_damage": "by a person, goes before damage: 0..3 as there, -1 not a building; null: can't tell",
}
"""Of the columns, in the file's metadata."""

_SHOWN = (
    f'CASE WHEN "review_damage" IN ({NOT_A_BUILDING}, 0, 1, 2, 3) THEN "review_damage"'
    f""" WHEN "reviewed" AND "review_damage" IS NULL THEN '{UNSURE}'"""
    f""" ELSE coalesce("damage", '{NOT_ASSESSED}') END"""
)
"""What people say, or else the model; in words that QGIS and SQLite share. QGIS would leave out a null."""


def write_records(path: Path, layer: str, records: Records, grid: Grid) -> None:
    """Writes a layer of buildings, with the meaning of its columns."""
    told = MEANING | {OUTLINES_DIGEST: outlines_digest(records.geometry)}
    write_layer(path, layer, records.geometry, records.columns, grid.crs, records.missing, told)


def outlines_digest(geometry: np.ndarray) -> str:
    """SHA-256 of the vertices of geometries (N,), by which one sees whether people have changed them."""
    found = hashlib.sha256(np.asarray(shapely.get_num_coordinates(geometry), np.int64).tobytes())
    found.update(np.asarray(shapely.get_coordinates(geometry), np.float64).tobytes())
    return found.hexdigest()


def write_styles(path: Path, layers: Mapping[str, str]) -> None:
    """Writes ``layer_styles``, which QGIS applies when it opens the file; layer -> QML."""
    try:
        with closing(sqlite3.connect(path)) as base, base:
            base.execute(
                "CREATE TABLE IF NOT EXISTS layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT,"
                " f_table_catalog TEXT, f_table_schema TEXT, f_table_name TEXT, f_geometry_column TEXT,"
                " styleName TEXT, styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT,"
                " owner TEXT, ui TEXT, update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"
            )
            for layer, qml in layers.items():
                base.execute(
                    "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name,"
                    " f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner)"
                    " VALUES ('', '', ?, 'geom', 'damage', ?, '', 1, 'SkyEye', '')",
                    (layer, qml),
                )
            base.execute(
                "INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier)"
                " VALUES ('layer_styles', 'attributes', 'layer_styles')"
            )
    except sqlite3.Error as error:
        raise InputError(
            f"{path.parent}: styles cannot be written ({error}); is there room on the disk?"
        ) from error


def damage_style() -> str:
    """QML: a colour a grade, hatched where there is none, dashed where it is no building."""
    grades = [
        (str(int(grade)), SUBTYPE_BY_DAMAGE[grade], {"color": _rgb(terms.COLORS[grade]), "style": "solid"})
        for grade in DamageClass
    ]
    none = _rgb(terms.COLOR_NOT_ASSESSED)
    rows = [
        *grades,
        (str(NOT_A_BUILDING), "not a building", {"style": "no", "outline_style": "dash"}),
        (UNSURE, "can't tell", {"color": none, "style": "diagonal_x"}),
        (NOT_ASSESSED, NOT_ASSESSED, {"color": none, "style": "b_diagonal"}),
    ]
    categories = "".join(
        f'<category value="{value}" symbol="{number}" label={quoteattr(label)} render="true"/>'
        for number, (value, label, _) in enumerate(rows)
    )
    symbols = "".join(
        f'<symbol type="fill" name="{number}" alpha="1"><layer class="SimpleFill" enabled="1">'
        '<Option type="Map">'
        + "".join(
            f'<Option type="QString" name="{key}" value="{escape(value)}"/>'
            for key, value in (fill | {"outline_color": "40,40,40,255", "outline_width": "0.2"}).items()
        )
        + "</Option></layer></symbol>"
        for number, (_, _, fill) in enumerate(rows)
    )
    return (
        '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">'
        '<qgis version="3.22" styleCategories="Symbology">'
        f'<renderer-v2 type="categorizedSymbol" attr={quoteattr(_SHOWN)} enableorderby="0">'
        f"<categories>{categories}</categories><symbols>{symbols}</symbols></renderer-v2></qgis>"
    )


def _rgb(color: str) -> str:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"{red},{green},{blue},255"
