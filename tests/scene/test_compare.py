"""Squares of 10 m a hundred metres apart, so that every figure can be worked out by hand."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
import shapely.affinity
from rasterio.warp import transform
from scenes import CORNER, UTM

from skyeye_det.commands import compare
from skyeye_det.commands.launch import main
from skyeye_det.damage import IGNORE_DAMAGE
from skyeye_det.errors import InputError
from skyeye_det.prediction.visibility import ASSESSED, POST_UNSEEN
from skyeye_det.scene import terms

TRUE = [(0, 0), (100, 1), (200, 3), (300, None), (400, 2), (500, 3)]
"""Left edge, and grade. The fifth is found by its centroid alone, the last one not at all."""

PREDICTED: list[tuple[float, int | None, tuple[float, ...]]] = [
    (0, 0, (0.7, 0.1, 0.1, 0.1)),
    (102, 2, (0.1, 0.2, 0.6, 0.1)),  # IoU 8 / 12
    (200, None, ()),
    (300, 3, (0, 0, 0, 1)),
    (404, 2, (0.1, 0.1, 0.8, 0)),  # IoU 6 / 14; from 404 to 414, and the true one's centroid is at 405
    (600, 1, (0.2, 0.5, 0.2, 0.1)),
]
"""Left edge, grade and probabilities; None: not assessed."""


def square(x: float, size: float = 10) -> shapely.Geometry:
    return shapely.box(CORNER[0] + x, CORNER[1], CORNER[0] + x + size, CORNER[1] + size)


def in_degrees(geometry: Sequence[shapely.Geometry]) -> np.ndarray:
    def moved(points: np.ndarray) -> np.ndarray:
        return np.column_stack(transform(UTM, "EPSG:4326", *points.T.tolist()))

    return np.asarray(shapely.transform(np.array(geometry, object), moved))


def write(
    path: Path,
    geometry: Sequence[shapely.Geometry] | np.ndarray,
    columns: dict[str, Sequence[Any]],
    crs: str | None = UTM.to_wkt(),
    layer: str = "survey",
    kind: str = "Polygon",
) -> Path:
    """Writes a layer in the format of the file's suffix; None is null, where all others are numbers too."""
    numbers = {
        name: all(isinstance(value, int | float | None) for value in each) for name, each in columns.items()
    }
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(np.array(geometry, object)),
        field_data=[
            np.array([0 if value is None else value for value in each])
            if numbers[name]
            else np.array(each, object)
            for name, each in columns.items()
        ],
        field_mask=[
            np.array([value is None for value in each], np.bool_) if numbers[name] else None
            for name, each in columns.items()
        ],
        fields=np.array(list(columns), object),
        geometry_type=kind,
        crs=crs,
        layer=None if path.suffix == ".geojson" else layer,
        append=path.exists(),
    )
    return path


def write_predictions(
    path: Path,
    rows: Sequence[tuple[float, int | None, tuple[float, ...]]],
    geometry: Sequence[shapely.Geometry] | None = None,
) -> Path:
    columns: dict[str, Sequence[Any]] = {"damage": [grade for _, grade, _ in rows]}
    for number, name in enumerate(terms.GRADES):
        columns[f"p_{name}"] = [float(probs[number]) if probs else None for *_, probs in rows]
    columns["status"] = [POST_UNSEEN if grade is None else ASSESSED for _, grade, _ in rows]
    columns["review_damage"] = [3] * len(rows)  # by people: not what is measured
    return write(path, geometry or [square(x) for x, *_ in rows], columns, layer="buildings")


def write_truth(path: Path) -> Path:
    return write(path, [square(x) for x, _ in TRUE], {"damage": [grade for _, grade in TRUE]})


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    return write_predictions(tmp_path / "damage.gpkg", PREDICTED)


def measured(predictions: Path, truth: Path, *options: str) -> dict[str, Any]:
    report = predictions.with_name("report.json")
    given = ["--predictions", str(predictions), "--truth", str(truth), "--json", str(report)]
    compare.main([*given, *options])
    return json.loads(report.read_text())


def test_buildings_are_found_by_iou_and_by_centroid_one_to_one(predictions: Path, tmp_path: Path) -> None:
    finding = measured(predictions, write_truth(tmp_path / "truth.gpkg"))["finding"]
    assert (finding["iou"]["found"], finding["centroid"]["found"]) == (4, 5)
    assert finding["iou"]["precision"] == finding["iou"]["recall"] == pytest.approx(4 / 6)
    assert finding["centroid"]["recall"] == pytest.approx(5 / 6)
    one = write(tmp_path / "one.gpkg", [square(0)], {"damage": [0]})
    twice = write_predictions(tmp_path / "twice.gpkg", [PREDICTED[0], PREDICTED[0], (1, *PREDICTED[0][1:])])
    finding = measured(twice, one)["finding"]
    for row in finding.values():
        assert (row["found"], row["precision"]) == (1, pytest.approx(1 / 3))


def test_grades_are_compared_pair_by_pair(predictions: Path, tmp_path: Path) -> None:
    report = measured(predictions, write_truth(tmp_path / "truth.gpkg"))
    assert report["confusion"]["columns"][-2:] == ["not assessed", "missed"]
    assert report["confusion"]["rows"][-2:] == ["un-classified", "no building"]
    assert report["confusion"]["counts"] == [
        [1, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 1],
        [0, 0, 0, 1, 0, 0],
        [0, 1, 1, 0, 0, 0],
    ]
    assert (report["graded"], report["ordinal_error"]) == (2, 0.5)
    assert [row["f1"] for row in report["damage_found"]["classes"].values()] == [1, 0, None, None]
    assert report["damage_found"]["macro_f1"] == 0.5
    assert report["damage_found"]["harmonic_f1"] == pytest.approx(2e-6, rel=1e-3)
    assert report["damage_end_to_end"]["classes"]["destroyed"]["fn"] == 2  # missed, and not assessed
    assert report["damage_end_to_end"]["macro_f1"] == 0.25


def test_probabilities_of_graded_pairs_are_judged(predictions: Path, tmp_path: Path) -> None:
    found = measured(predictions, write_truth(tmp_path / "truth.gpkg"))["probabilities"]
    assert found["buildings"] == 2
    assert found["nll"] == pytest.approx(-(math.log(0.7) + math.log(0.2)) / 2)
    assert found["ece"] == pytest.approx((0.3 + 0.6) / 2)


def test_totals_leave_out_what_is_not_known(predictions: Path, tmp_path: Path) -> None:
    totals = measured(predictions, write_truth(tmp_path / "truth.gpkg"))["totals"]
    assert totals.pop("all") == {"buildings": 6, "predicted": 6, "ratio": 1}
    assert [row["buildings"] for row in totals.values()] == [1, 1, 1, 2]
    assert [row["predicted"] for row in totals.values()] == [1, 1, 2, 0]  # destroyed: on one un-classified
    assert [row["expected"] for row in totals.values()] == pytest.approx([1.1, 0.9, 1.7, 0.3])


def test_areas_count_what_they_hold(predictions: Path, tmp_path: Path) -> None:
    west = shapely.box(CORNER[0] - 50, CORNER[1], CORNER[0] + 150, CORNER[1] + 50)
    rows = [west, square(190, 150), square(490, 50), square(900)]
    areas = write(tmp_path / "areas.geojson", in_degrees(rows), {"name": ["w", "e", "e", "far"]}, "EPSG:4326")
    found = measured(
        predictions, write_truth(tmp_path / "truth.gpkg"), "--areas", str(areas), "--area-name", "name"
    )
    keys = ("buildings", "damaged", "unclassified", "predicted", "predicted_damaged", "not_assessed")
    assert {name: [row[key] for key in keys] for name, row in found["areas"].items()} == {
        "w": [2, 1, 0, 2, 1, 0],
        "e": [3, 2, 1, 2, 1, 1],
        "far": [0, 0, 0, 0, 0, 0],
    }
    assert [found["areas"][name]["matched"] for name in ("w", "e", "far")] == [1, pytest.approx(2 / 3), None]


def test_the_truth_may_be_in_another_projection_format_and_words(predictions: Path, tmp_path: Path) -> None:
    words = ["No visible damage", "minor-damage", "Destroyed", "un-classified", "major", "destroyed"]
    places = in_degrees([square(x) for x, _ in TRUE])
    truth = write(tmp_path / "survey.geojson", places, {"grade": words}, "EPSG:4326")
    other = measured(predictions, truth, "--damage-column", "grade")
    same = measured(predictions, write_truth(tmp_path / "truth.gpkg"))
    assert other["confusion"] == same["confusion"]
    assert other["finding"] == same["finding"]


@pytest.mark.parametrize(
    ("value", "grade"),
    [
        *((2, 2), (1.0, 1), ("3", 3), ("0.0", 0), ("Possibly damaged", 1), ("DAMAGED", 2), ("no_damage", 0)),
        *((value, IGNORE_DAMAGE) for value in (None, float("nan"), " ", "Not Analysed", "un-classified")),
        *((value, None) for value in (4, -1, 0.5, True, "ruin", "nan", [1])),
    ],
)
def test_a_survey_may_say_grades_in_its_own_way(value: Any, grade: int | None) -> None:
    assert terms.grade_of(value) == grade


def test_no_prediction_finds_nothing(tmp_path: Path, capsys) -> None:
    found = measured(write_predictions(tmp_path / "damage.gpkg", []), write_truth(tmp_path / "truth.gpkg"))
    assert found["finding"]["iou"] == {
        "found": 0, "buildings": 6, "predicted": 0, "precision": None, "recall": 0, "f1": 0
    }  # fmt: skip
    assert [row[-1] for row in found["confusion"]["counts"]] == [1, 1, 1, 2, 1, 0]
    assert found["totals"]["destroyed"]["expected"] == 0
    assert "n/a" in capsys.readouterr().out


def test_a_layer_called_buildings_goes_first_and_bad_shapes_are_mended(tmp_path: Path) -> None:
    bow = shapely.Polygon([(0, 0), (20, 20), (20, 0), (0, 20)])  # two triangles of 100 m2
    bow = shapely.affinity.translate(bow, *CORNER)
    truth = write(tmp_path / "truth.gpkg", [square(0)], {"note": ["a"]})
    write(truth, [bow, shapely.Polygon(), square(100)], {"damage": [0, 1, 1]}, layer="buildings")
    found = measured(write_predictions(tmp_path / "damage.gpkg", PREDICTED[:2]), truth)
    assert found["totals"]["all"]["buildings"] == 2
    assert found["left_out"] == {"predictions": 0, "truth": 1}


def test_a_building_around_a_courtyard_is_found_where_it_is(tmp_path: Path) -> None:
    court = square(0, 30).difference(shapely.affinity.translate(square(5, 20), 0, 5))
    truth = write(tmp_path / "truth.gpkg", [court], {"damage": [0]})
    finding = measured(write_predictions(tmp_path / "damage.gpkg", PREDICTED[:1], [court]), truth)["finding"]
    assert [row["found"] for row in finding.values()] == [1, 1]  # its centroid is in the courtyard


def test_the_command_prints_tables_and_tells_what_lies_outside(
    predictions: Path, tmp_path: Path, capsys
) -> None:
    measured(predictions, write_truth(tmp_path / "truth.gpkg"))
    out = capsys.readouterr().out
    assert "by IoU of 0.5 or more     6          6      4     0.6667  0.6667  0.6667" in out
    assert "1 predictions lie outside the bounds of the truth" in out
    assert "mean ordinal error 0.5000 grades; log loss 0.9831, expected calibration error 0.4500" in out
    assert "area" not in out


BAD_INPUTS = {
    "no such file": "missing.gpkg",
    "expected a vector file": "notes.txt",
    "expected polygons, found 1 features without an area .Point": "points.gpkg",
    "expected a CRS, found none": "nowhere.shp",
    r"found \(456600, 4104000, 456610, 4104010\)": "far.gpkg",
    "expected places that EPSG:32615 reaches": "beyond.gpkg",
    "found an empty layer": "empty.gpkg",
    "expected 0 to 3, null, no-damage.*found 'ruin'": "words.gpkg",
    "expected a column 'grade', found 'damage'": "truth.gpkg --damage-column grade",
    "expected one layer or one called buildings, found 'one', 'other'": "two.gpkg",
    "expected both or none": "truth.gpkg --areas truth.gpkg",
    "expected a column 'quarter'": "truth.gpkg --areas truth.gpkg --area-name quarter",
    "expected areas, found an empty": "truth.gpkg --areas empty.gpkg --area-name damage",
}
"""Pattern of the message -> what follows ``--truth``."""


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_bad_input_is_told_in_a_sentence(predictions: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = {"damage": [0]}
    Path("notes.txt").write_text("no vectors")
    write_truth(Path("truth.gpkg"))
    write(Path("points.gpkg"), [shapely.Point(*CORNER)], plain, kind="Point")
    write(Path("nowhere.shp"), [square(0)], plain, crs=None)
    write(Path("far.gpkg"), [square(90_000)], plain)
    write(Path("beyond.gpkg"), [square(0)], plain, crs="EPSG:4326")
    write(Path("empty.gpkg"), [], {"damage": []})
    write(Path("words.gpkg"), [square(0)], {"damage": ["ruin"], "house": ["x"]})
    for layer in ("one", "other"):
        write(Path("two.gpkg"), [square(0)], plain, layer=layer)
    for pattern, options in BAD_INPUTS.items():
        with pytest.raises(InputError, match=pattern) as told:
            compare.main(["--predictions", str(predictions), "--truth", *options.split()])
        assert "\n" not in str(told.value)
        assert len(str(told.value)) < 700


def test_what_is_no_assessment_ends_with_code_2(tmp_path: Path, monkeypatch, capsys) -> None:
    truth = str(write_truth(tmp_path / "truth.gpkg"))
    monkeypatch.setattr(sys, "argv", ["skyeye", "compare", "--predictions", truth, "--truth", truth])
    with pytest.raises(SystemExit, match="2"):
        main()
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "expected a column 'status', found 'damage'; give the damage.gpkg of an assessment" in error
    assert error.count("\n") == 1


def test_a_survey_is_not_overwritten_by_the_report(predictions: Path, tmp_path: Path) -> None:
    truth = tmp_path / "survey.json"
    truth.write_text("{}")
    with pytest.raises(InputError, match="expected a name of its own"):
        compare.main(["--predictions", str(predictions), "--truth", str(truth), "--json", str(truth)])
    assert truth.read_text() == "{}"


def test_predictions_are_not_their_own_truth(predictions: Path) -> None:
    with pytest.raises(InputError, match="expected true buildings, found the predictions; give a survey"):
        compare.main(["--predictions", str(predictions), "--truth", str(predictions)])
