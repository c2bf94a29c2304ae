"""``skyeye assess --shard K/N``: parts of the windows, by several runs."""

import pytest
import shapely
from assess_runs import layer, run

from skyeye_det.commands import assess


def test_shards_give_what_one_run_gives(pair, rule, weights, whole, tmp_path, capsys) -> None:
    parts = tmp_path / "parts"
    run(pair, parts, weights, rule, "--shard", "2/2")
    assert "shard 2 of 2 is done; 3 windows are left to the others" in capsys.readouterr().out
    assert not (parts / "damage.gpkg").exists()
    (parts / "shard-1-of-3").mkdir()  # of a run that was killed
    run(pair, parts, weights, rule, "--shard", "1/2")
    assert {path.name for path in parts.iterdir()} == {path.name for path in whole.iterdir()}
    one, other = layer(whole), layer(parts)
    assert one["building_id"].tolist() == other["building_id"].tolist()
    assert one["run_id"].tolist() == other["run_id"].tolist()
    assert all(shapely.equals_exact(one["geometry"], other["geometry"]))


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "-1/2"])
def test_a_shard_that_is_none_is_refused(shard: str, capsys) -> None:
    with pytest.raises(SystemExit):
        assess.parse_arguments(["--pre", "a", "--post", "b", "--output", "c", f"--shard={shard}"])
    assert "expected K/N such as 1/8" in capsys.readouterr().err
