"""A synthetic sample on disk says of every row that it is one, and passes the checks where the copula fits."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from ray_cluster.training.sampling.sampled_rows import SamplingError
from ray_cluster.training.sampling.synthetic_rows import write_synthetic
from tests.ray_cluster.training.sampling.mixed_rows import mixed


def test_a_sample_has_its_origin_and_its_checks(tmp_path):
    x, y, _ = mixed(1500, 0.2, 0)
    found = write_synthetic(tmp_path / "out" / "sample.parquet", x, y, 800, seed=4)
    rows = pd.read_parquet(tmp_path / "out" / "sample.parquet")
    assert list(rows) == [*x, "label", "origin"] and len(rows) == 800
    assert (rows["origin"] == "copula, seed 4").all() and rows["label"].mean() == pytest.approx(y.mean(), abs=0.01)
    assert json.loads((tmp_path / "out" / "sample.json").read_text()) == found
    assert found["duplicates"]["share"] == 0 and found["closest"]["ratio"] > 0.7 and found["columns"]["mean"] > 0.9
    again = write_synthetic(tmp_path / "again.parquet", x, y, 800, seed=4)
    assert again["columns"] == found["columns"]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "again.parquet"), rows)


def test_what_cannot_be_drawn_is_told(tmp_path):
    x, y, _ = mixed(100, 0, 0)
    with pytest.raises(SamplingError, match=r"sample of 0 rows cannot be drawn .* at least 15 of each label"):
        write_synthetic(tmp_path / "none.parquet", x, y, 0)
    assert not list(tmp_path.iterdir())
