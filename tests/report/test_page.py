"""The page of an assessment: its data from the layers, its tiles from the images, its one HTML file."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from made_assessment import boxes, grid_of, records_of, scattered, write_folder

from skyeye_det.errors import InputError
from skyeye_det.report.page.buildings import CHUNK, UNCERTAIN, id_file
from skyeye_det.report.page.folder import renew_page

SIZE = 2500
GRID = grid_of(SIZE, SIZE)


def called(path: Path) -> list[Any]:
    """Arguments of a file's one call."""
    found = re.fullmatch(r"skyeye\.[a-z]+\((.*)\);\n", path.read_text(encoding="utf-8"))
    assert found, path
    return json.loads(f"[{found[1]}]", parse_constant=lambda word: pytest.fail(f"{word} in {path}"))


def meta(folder: Path) -> dict[str, Any]:
    return called(folder / "report" / "meta.js")[0]


def chunks(folder: Path) -> dict[str, dict[str, Any]]:
    return dict(called(path) for path in (folder / "report" / "chunks").glob("*.js"))


def renewed(folder: Path) -> Path:
    renew_page(folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 600 buildings, 30 beside the footprints, and two areas."""
    whole = boxes(np.array([[0, 0, SIZE, SIZE], [-9000, 0, -8000, 900]]), GRID)
    ring = shapely.difference(whole[0], boxes(np.array([[500, 500, 1500, 1500]]), GRID)[0])
    areas = {"</script><b>": shapely.MultiPolygon([ring]), "elsewhere": whole[1]}
    beside = records_of(scattered(30, GRID, 1), [f"other {k}" for k in range(30)], 1)
    folder = tmp_path_factory.mktemp("made")
    return renewed(write_folder(folder, GRID, records_of(scattered(600, GRID)), beside, areas))


def test_every_building_is_in_one_chunk_where_its_middle_lies(made: Path) -> None:
    found = chunks(made)
    assert meta(made)["chunks"] == {name: len(part["id"]) for name, part in found.items()}
    ids = [each for part in found.values() for each in part["id"]]
    assert sorted(ids) == sorted([f"b{k:06x}" for k in range(600)] + [f"other {k}" for k in range(30)])
    *_, geometry, values = pyogrio.raw.read(made / "damage.gpkg", layer="buildings")
    outlines = dict(zip(values[0].tolist(), shapely.from_wkb(geometry), strict=True))
    for name, part in found.items():
        assert {len(part[key]) for key in part if key != "p"} == {len(part["id"])}
        x, y = map(int, name.split("_"))
        for number, each in enumerate(part["id"]):
            ring = np.array(part["rings"][number][0]).reshape(-1, 2)
            assert (ring.mean(axis=0) // CHUNK).tolist() == [x, y]
            if each in outlines:
                corners = np.column_stack(GRID.transform @ ring.T)
                assert shapely.Polygon(corners).symmetric_difference(outlines[each]).area < 2
        assert set(part["layer"]) <= {0, 1}
    west, north = -94.5006639, 37.0727853  # of the scene
    first = found["0_0"]
    assert 0 < min(first["lon"]) - west < max(first["lon"]) - west < 0.012
    assert 0 < north - max(first["lat"]) < north - min(first["lat"]) < 0.012


def test_grades_and_counts_agree_with_the_geopackage(made: Path) -> None:
    told, parts = meta(made), chunks(made).values()
    fields, *_, values = pyogrio.raw.read(made / "damage.gpkg", layer="buildings")
    rows = dict(zip(fields["fields"].tolist(), values, strict=True))
    assessed = rows["status"] == "assessed"
    labelled = np.bincount(rows["damage"][assessed].astype(int), minlength=4).tolist()
    assert [each["labelled"] for each in told["counts"]] == labelled
    assert (told["buildings"], told["assessed"], told["not_in_footprints"]) == (600, 540, 30)
    assert told["statuses"] == {"assessed": 540, "post image shows nothing new here": 60}
    for index, name in enumerate(("p_no_damage", "p_minor", "p_major", "p_destroyed")):
        assert told["counts"][index]["expected"] == pytest.approx(rows[name][assessed].sum())
    mine = [(part, k) for part in parts for k, layer in enumerate(part["layer"]) if layer == 0]
    damage = np.array([part["damage"][k] for part, k in mine])
    probs = np.array([part["p"][4 * k : 4 * k + 4] for part, k in mine])
    unseen = np.array([told["status_texts"][part["status"][k]] != "assessed" for part, k in mine])
    assert np.bincount(damage[damage >= 0], minlength=4).tolist() == labelled
    assert (damage[unseen] == -1).all()  # never undamaged
    assert (probs[unseen] == 0).all()
    assert (probs[~unseen].argmax(axis=1) == damage[~unseen]).mean() > 0.98
    assert np.abs(probs[~unseen].sum(axis=1) - 1000).max() <= 2
    cells = np.array([each["labelled"] for each in told["cells"]])
    assert cells.sum(axis=0).tolist() == labelled
    areas = {each["name"]: each for each in told["areas"]}
    assert areas["elsewhere"]["rings"] == []
    assert areas["elsewhere"]["buildings"] == 0
    assert len(areas["</script><b>"]["rings"]) == 2
    assert areas["</script><b>"]["box"] == [0, 0, SIZE, SIZE]
    assert told["not_assessed"] == [{"reason": "post image shows nothing new here", "area_m2": SIZE**2 / 4}]
    assert told["limits"]
    assert told["sources"] == {"pre": ["pre.tif"], "post": ["post.tif"]}
    assert told["shift"]["metres"] == pytest.approx(5**0.5 / 2, abs=1e-3)


def test_ids_and_uncertain_ones_lead_to_their_chunks(made: Path) -> None:
    found, report = chunks(made), made / "report"
    for path in (report / "ids").glob("*.js"):
        number, names = called(path)
        assert number == path.stem
        assert all(id_file(each) == number and each in found[name]["id"] for each, name in names.items())
    assert id_file("b000001") == f"{(ord('b') + 5 * ord('0') + ord('1')) % 256:02x}"
    assert id_file("😀") == f"{(0xD83D + 0xDE00) % 256:02x}"
    (listed,) = called(report / "uncertain.js")
    assert len(listed) == 540 + 27 <= UNCERTAIN
    largest = [max(found[f"{x}_{y}"]["p"][4 * k : 4 * k + 4]) for x, y, k in listed]
    assert largest == sorted(largest)
    assert largest[0] > 250


def test_what_a_file_says_stays_text(tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script><!--\u2028\u2029\"'\\ é😀"
    records = records_of(scattered(3, GRID), [hostile, "__proto__", "../../x"])
    folder = renewed(write_folder(tmp_path, GRID, records, model=hostile, pre_date=hostile))
    for path in (folder / "report").rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search("<|\u2028|\u2029", text), path
        assert re.fullmatch(r"meta|uncertain|-?\d+_-?\d+|[0-9a-f]{2}", path.stem)
    assert hostile in [each for part in chunks(folder).values() for each in part["id"]]
    assert called(folder / "report" / "ids" / f"{id_file(hostile)}.js")[1].keys() == {hostile}
    assert meta(folder)["model"] == hostile
    assert meta(folder)["limits"] == []


def test_reviews_are_carried_and_a_page_is_renewed_after_edits(tmp_path: Path) -> None:
    folder = renewed(write_folder(tmp_path, GRID, records_of(scattered(5, GRID))))
    written = [
        (1, 3, "Ann", "</b>"),
        (1, -1, None, None),
        (1, None, "", ""),
        (0, 2, None, ""),
        (0, 7, "", "x"),
    ]
    columns = "reviewed = ?, review_damage = ?, review_by = ?, review_note = ?"
    with closing(sqlite3.connect(folder / "damage.gpkg")) as base, base:
        for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            base.execute(f'DROP TRIGGER "{name}"')  # they call functions that sqlite3 lacks
        for fid, row in enumerate(written, 1):
            base.execute(f"UPDATE buildings SET {columns} WHERE fid = ?", (*row, fid))
        base.execute("UPDATE buildings SET damage = NULL WHERE fid = 1")
        base.execute("UPDATE buildings SET p_minor = NULL, shift_m = NULL WHERE fid = 2")
        base.execute("UPDATE buildings SET valid_fraction = NULL WHERE fid = 2")
    renew_page(folder)
    found = {each: (part, k) for part in chunks(folder).values() for k, each in enumerate(part["id"])}
    reviews = {each: part["review"][k] for each, (part, k) in found.items()}
    assert reviews == {
        "b000000": {"damage": 3, "by": "Ann", "note": "</b>"},
        "b000001": {"damage": -1, "by": "", "note": ""},
        "b000002": {"damage": None, "by": "", "note": ""},
        "b000003": {"damage": 2, "by": "", "note": ""},
        "b000004": None,
    }
    for each in ("b000000", "b000001"):  # "assessed" without a grade or a probability is not
        part, k = found[each]
        assert part["damage"][k] == -1
        assert meta(folder)["status_texts"][part["status"][k]] == "not assessed"
    part, k = found["b000001"]
    assert (part["valid"][k], part["shift_m"][k]) == (0, None)
    assert meta(folder)["assessed"] == 3
    with closing(sqlite3.connect(folder / "damage.gpkg")) as base, base:
        base.execute("DELETE FROM buildings")
    renew_page(folder)
    assert chunks(folder) == {}
    lists = list((folder / "report" / "ids").glob("*"))
    assert len(lists) == 256
    assert not any(called(path)[1] for path in lists)


@pytest.mark.parametrize("count", [0, 9])
def test_a_scene_without_buildings_or_grades_has_a_page(tmp_path: Path, count: int) -> None:
    records = records_of(scattered(10, GRID)).of(np.array([9] if count else [], int))
    told = meta(renewed(write_folder(tmp_path, GRID, records)))
    assert told["assessed"] == 0
    assert sum(told["chunks"].values()) == told["buildings"] == len(records)
    assert {each["high"] for each in told["counts"]} == {0}
    assert called(tmp_path / "report" / "uncertain.js") == [[]]


def test_footprints_off_the_grid_count_and_are_not_drawn(tmp_path: Path) -> None:
    places = np.array([[-30, 40, 5, 60], [10, 10, 20, 20], [-9e6, 0, -9e6 + 9, 9], [-1e15, 0, 1e14, 9]])
    told = meta(renewed(write_folder(tmp_path, GRID, records_of(boxes(places, GRID)))))
    assert told["buildings"] == 4
    assert {name: told["chunks"].get(name) for name in ("-1_0", "0_0")} == {"-1_0": 1, "0_0": 1}
    assert sum(told["chunks"].values()) == 3


@pytest.mark.parametrize("column", ["damage", "review_damage", "p_no_damage"])
def test_a_text_in_the_place_of_a_number_is_refused_and_not_shown_as_no_damage(tmp_path, column) -> None:
    folder = write_folder(tmp_path, GRID, records_of(scattered(3, GRID)))
    with closing(sqlite3.connect(folder / "damage.gpkg")) as base, base:
        for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            base.execute(f'DROP TRIGGER "{name}"')  # they call functions that sqlite3 lacks
        base.execute(f"UPDATE buildings SET {column} = 'destroyed' WHERE fid = 2")
    with pytest.raises(InputError, match=f"column .?{column}.*expected numbers or null.*destroyed.*row 2"):
        renew_page(folder)
