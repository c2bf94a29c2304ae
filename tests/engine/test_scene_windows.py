"""The windows of a scene, predicted several at a time."""

import numpy as np
import shapely
from assess_runs import layer, run
from scenes import CORNER, write_polygons

from skyeye_det.engine.models import Models


def test_windows_predicted_several_at_a_time_give_the_same_features(
    pair, rule, weights, tmp_path, monkeypatch
) -> None:
    house = shapely.box(CORNER[0] + 30, CORNER[1] - 60, CORNER[0] + 50, CORNER[1] - 40)
    more = ["--footprints", write_polygons(tmp_path / "f.gpkg", house)]
    run(pair, tmp_path / "alone", weights, rule, *more)
    sizes, predict = [], Models.predict_batch
    monkeypatch.setattr(Models, "batch_size", lambda self, pixels: 4)
    monkeypatch.setattr(
        Models, "predict_batch", lambda self, images: sizes.append(len(images)) or predict(self, images)
    )
    run(pair, tmp_path / "together", weights, rule, *more)
    assert max(sizes) > 1
    for name, count in (("buildings", 1), ("not_in_footprints", 10)):
        alone, together = (layer(tmp_path / each, name) for each in ("alone", "together"))
        assert len(alone["geometry"]) >= count
        assert together["building_id"].tolist() == alone["building_id"].tolist()
        np.testing.assert_allclose(together["p_minor"], alone["p_minor"], atol=1e-3)
        assert shapely.equals(together["geometry"], alone["geometry"]).all()
