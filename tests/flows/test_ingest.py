"""The ingest flow's order; what it does with a table is tested with the tables."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from configs import ConfigError
from configs.settings import load_settings
from feature_repo.tables import ingest_table
from flows.ingest import counted, in_order


def test_tables_come_after_those_they_refer_to(tmp_path):
    settings = load_settings("local", {"HEADRACE_HOME": str(tmp_path)})
    everything = in_order(settings, None)
    assert sorted(everything) == sorted(settings.tables)
    place = {name: number for number, name in enumerate(everything)}
    for name, table in settings.tables.items():
        assert all(place[target.partition(".")[0]] < place[name] for target in table.references.values())
    assert set(in_order(settings, ["flights"])) == {"flights", "planes", "airports", "airlines"}
    assert in_order(settings, ["flights"])[-1] == "flights"
    ingest_table(settings, "airlines", datetime(2014, 1, 1, tzinfo=UTC))
    assert in_order(settings, ["outcomes"]) == ["outcomes"]  # what it refers to is there


def test_a_misspelt_table_names_the_nearest(tmp_path):
    settings = load_settings("local", {"HEADRACE_HOME": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"There is no table 'wether'. Did you mean 'weather'"):
        in_order(settings, ["wether"])


def test_counts_in_words():
    assert counted({"trim name": 1234, "clip temp": 0, "replace x": 1}) == "trim name 1,234, replace x 1"
