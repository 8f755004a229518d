"""Parity on a real SQLite online store, real feature files and real log lines, with one thing planted at a time."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.model import Parity
from feature_repo.online.reader import OnlineReader
from ray_cluster.parity.check import ParityBoundError, ParityError, check_parity, newest, parity_folder, require
from ray_cluster.serving.prediction_log import read_predictions
from tests.ray_cluster.served_world import NOON, SPEC, VIEWS, World, registered, world

__all__ = ["registered", "world"]  # fixtures


def check(world: World, rows: int = 1000) -> dict[str, Any]:
    result, page = check_parity(world.settings, SPEC, NOON + timedelta(days=1), timedelta(days=7), rows)
    assert page.exists()
    assert result == json.loads(page.with_suffix(".json").read_text())
    return result


def causes(result: dict[str, Any]) -> dict[str, list[str]]:
    """View -> its causes, for the views that differ anywhere."""
    return {row["view"]: list(row["causes"]) for row in result["views"] if row["causes"]}


def seen(result: dict[str, Any], view: str) -> dict[str, Any]:
    return next(row for row in result["views"] if row["view"] == view)


def test_a_clean_case_is_exactly_one(world: World) -> None:
    world.materialize()
    world.serve()
    world.serve(NOON + timedelta(minutes=9), seed=8)  # the row of noon is known ten minutes later
    result = check(world)
    assert (result["share"], result["rows_equal"], result["causes"], result["examples"]) == (1.0, 80, {}, [])
    assert result["values"] == 80 * len(OnlineReader(world.settings, SPEC.feature_service).features)
    assert all(row["share"] == 1 for row in result["views"] + result["features"])
    assert {row["view"] for row in result["views"]} == {*VIEWS, "calendar"}


def test_a_page_that_fails_is_recorded_and_the_result_is_kept(world: World) -> None:
    world.materialize()
    world.serve()
    as_of = NOON + timedelta(days=1)
    (parity_folder(world.settings, SPEC.name) / f"{as_of:%Y%m%dT%H%M%SZ}.html").mkdir(parents=True)
    result, page = check_parity(world.settings, SPEC, as_of, timedelta(days=7), 1000)
    assert page is None and newest(world.settings, SPEC.name, as_of) == result
    assert [each["what"] for each in result["failures"]] == ["page of parity"]
    assert result["failures"][0]["why"].startswith("IsADirectoryError: ")


def test_values_that_expired_on_both_sides_are_equal_whatever_was_put_in_their_place(world: World) -> None:
    def default(line: dict[str, Any]) -> None:
        assert line["expired"]["weather"]["age"] == 8 * 3600 or line["entities"]["origin"] == "ZZZ"
        if "weather" in line["expired"]:
            line["features"]["temp"] = 50.0
            line["expired"]["weather"]["policy"] = "default"

    world.write("weather", world.rows["weather"][lambda rows: rows["event_timestamp"] <= NOON - timedelta(hours=8)])
    world.materialize()
    world.edit = lambda line: default(line) if line["entities"]["origin"] != "ZZZ" else None
    world.serve()
    assert check(world)["share"] == 1.0


def test_a_late_row(world: World) -> None:
    world.materialize()
    world.serve()
    late = world.rows["carrier_stats"].query("carrier == 'UA'").tail(1).copy()
    late["event_timestamp"], late["known_at"] = NOON - timedelta(minutes=30), NOON - timedelta(minutes=20)
    world.write("carrier_stats", pd.concat([world.rows["carrier_stats"], late], ignore_index=True))
    result = check(world)
    assert causes(result) == {"carrier_stats": ["late row"]}
    asked = [line for line in read_predictions(world.settings, SPEC.name)["entities"] if line["carrier"] == "UA"]
    assert seen(result, "carrier_stats")["causes"] == {"late row": len(asked)}
    example = result["examples"][0]
    assert example["offline_event_time"] == (NOON - timedelta(minutes=30)).isoformat()
    assert "has the known-at time 2013-06-10 11:40:00 UTC, but was not online" in example["detail"]


@pytest.mark.parametrize("known_later", [False, True])
def test_a_correction_that_counts_as_known_before(world: World, known_later: bool) -> None:
    """The same row with other values: in its place, or as a second row known a little later."""
    world.materialize()
    world.serve()
    rows = world.rows["weather"]
    mine = (rows["origin"] == "EWR") & (rows["event_timestamp"] == NOON - timedelta(hours=1))
    corrected = rows[mine].assign(temp=99.5)
    if known_later:
        corrected["known_at"] += pd.Timedelta("5min")
    world.write("weather", pd.concat([rows if known_later else rows[~mine], corrected], ignore_index=True))
    result = check(world)
    assert causes(result) == {"weather": ["corrected row"]}
    assert [row["feature"] for row in result["features"] if row["share"] < 1] == ["temp"]
    assert result["examples"][0]["values"]["temp"][1] == 99.5


def test_a_row_that_is_gone(world: World) -> None:
    world.materialize()
    world.serve()
    rows = world.rows["route_stats"]
    world.write("route_stats", rows[rows["event_timestamp"] < NOON - timedelta(hours=1)])
    result = check(world)
    assert causes(result) == {"route_stats": ["corrected row"]}
    assert "no longer exists" in result["examples"][0]["detail"]


@pytest.mark.parametrize("served_fresh", [True, False])
def test_a_value_that_expired_on_one_side_only(world: World, served_fresh: bool) -> None:
    """Served as fresh by a store that does not enforce the TTL, or as expired under a TTL that was shorter then."""
    age = timedelta(hours=8 if served_fresh else 4)
    world.write("weather", world.rows["weather"][lambda rows: rows["event_timestamp"] <= NOON - age])
    world.materialize()

    def planted(line: dict[str, Any]) -> None:
        if line["entities"]["origin"] == "ZZZ":
            return
        if served_fresh:
            assert line["expired"].pop("weather")
            line["features"]["temp"] = 20.0
        else:
            assert line["features"]["pressure"] is not None or line["features"]["temp"] is not None
            line["features"] |= dict.fromkeys(["temp", "dewp", "humid", "wind_dir", "wind_speed", "pressure", "visib"])
            line["expired"]["weather"] = {"age": 4 * 3600, "ttl": 3600, "policy": "null"}

    world.edit = planted
    world.serve()
    result = check(world)
    assert causes(result) == {"weather": ["TTL"]}
    assert ("but not served" if served_fresh else "but not offline") in result["examples"][0]["detail"]


def test_a_lagging_materialization(world: World) -> None:
    world.materialize(NOON - timedelta(hours=3), ("weather", "plane_stats"))
    world.materialize(NOON, tuple(view for view in VIEWS if view not in ("weather", "plane_stats")))
    world.serve()
    result = check(world)
    assert causes(result) == {"weather": ["materialization lag"], "plane_stats": ["materialization lag"]}
    assert "Materialized as of 2013-06-10 09:00:00 UTC, 3 h before as_of" in result["examples"][0]["detail"]


def test_a_lag_past_the_ttl_is_a_lag(world: World) -> None:
    world.materialize(NOON - timedelta(hours=12), ("weather",))
    world.materialize(NOON, VIEWS[1:])
    world.serve()
    result = check(world)
    assert causes(result) == {"weather": ["materialization lag"]}
    assert result["examples"][0]["served_expired"] is True


def test_a_store_that_is_ahead(world: World) -> None:
    world.materialize()
    world.serve(NOON - timedelta(hours=5))
    result = check(world)
    assert {cause for row in causes(result).values() for cause in row} == {"ahead"}
    assert set(causes(result)) == set(VIEWS)


def test_a_view_that_was_never_materialized(world: World) -> None:
    world.materialize(views=VIEWS[1:])
    world.serve()
    assert causes(check(world)) == {"weather": ["never materialized"]}


@pytest.mark.parametrize("kind", ["text", "whole", "single", "empty text"])
def test_a_type_change(world: World, kind: str) -> None:
    world.materialize()

    def retyped(line: dict[str, Any]) -> None:
        value = line["features"]["temp"]
        if kind == "empty text":
            line["features"]["plane_manufacturer"] = line["features"]["plane_manufacturer"] or "nan"
        elif value is not None:
            line["features"]["temp"] = {
                "text": str(value),
                "whole": float(int(value)),
                "single": float(np.float32(value)),
            }[kind]

    world.edit = retyped
    world.serve()
    view, feature = ("plane_attributes", "plane_manufacturer") if kind == "empty text" else ("weather", "temp")
    result = check(world)
    assert causes(result) == {view: ["type"]}
    assert [row["feature"] for row in result["features"] if row["share"] < 1] == [feature]


def test_an_on_demand_result_that_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.materialize()
    world.serve()
    from feature_repo.transforms import calendar

    real = calendar.calendar_features
    monkeypatch.setattr(
        calendar,
        "calendar_features",
        lambda inputs: real(inputs).assign(day_of_week=lambda rows: rows["day_of_week"] + 1),
    )
    result = check(world)
    assert causes(result) == {"calendar": ["on-demand code"]}
    assert result["features"][0]["feature"] == "day_of_week" and result["features"][0]["share"] == 0.0
    assert result["features"][1]["share"] == 1.0


def test_feature_code_that_changed_since(world: World) -> None:
    world.materialize()
    world.serve()
    rows = world.rows["origin_stats"]
    world.write("origin_stats", rows.assign(origin_delay_2h=rows["origin_delay_2h"] + 1), code="c2")
    result = check(world)
    assert causes(result) == {"origin_stats": ["feature code"]}
    assert [row["feature"] for row in result["features"] if row["share"] < 1] == ["origin_delay_2h"]


def test_lines_from_before_the_log_kept_it_are_compared_and_their_causes_not_guessed(world: World) -> None:
    world.materialize(NOON - timedelta(hours=3), ("weather",))
    world.materialize(NOON, VIEWS[1:])

    def old(line: dict[str, Any]) -> None:
        for key in ("known_until", "expired", "view_versions"):
            del line[key]

    world.edit = old
    world.serve()
    assert causes(check(world)) == {"weather": ["other"]}


def test_everything_at_once_is_told_apart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.materialize(NOON - timedelta(hours=3), ("weather",))
    world.materialize(NOON, VIEWS[1:])

    def text(line: dict[str, Any]) -> None:
        line["features"]["plane_year"] = line["features"]["plane_year"] and str(line["features"]["plane_year"])

    world.edit = text
    world.serve()
    rows = world.rows["carrier_stats"]
    late = (
        rows.query("carrier == 'B6'")
        .tail(1)
        .assign(event_timestamp=NOON - timedelta(minutes=30), known_at=NOON - timedelta(minutes=20))
    )
    world.write("carrier_stats", pd.concat([rows, late.astype(rows.dtypes)], ignore_index=True))
    rows = world.rows["route_stats"]
    world.write("route_stats", rows.assign(route_delay_1d=rows["route_delay_1d"] + 1))
    result = check(world)
    assert causes(result) == {
        "weather": ["materialization lag"],
        "carrier_stats": ["late row"],
        "route_stats": ["corrected row"],
        "plane_attributes": ["type"],
    }
    assert sum(result["causes"].values()) == sum(sum(row["causes"].values()) for row in result["views"])
    equal = sum(row["equal"] for row in result["features"])
    assert result["equal"] == equal and result["share"] == equal / result["values"]


def test_a_sample_is_the_same_each_time_and_an_empty_window_is_told(world: World) -> None:
    with pytest.raises(ParityError, match="'flight_delay' logged no prediction in 7 days before 2013-06-11 12:00 UTC"):
        check(world)
    world.materialize()
    world.serve()
    first, second = check(world, rows=10), check(world, rows=10)
    assert first == second and (first["rows"], first["logged"]) == (10, 40)


def test_training_is_held_to_the_bound(world: World, caplog: pytest.LogCaptureFixture) -> None:
    bound = SPEC.model_copy(update={"parity": Parity(minimum=0.99)})
    day = NOON + timedelta(days=1)
    require(world.settings, SPEC, day)
    assert not caplog.records
    require(world.settings, bound, day)  # the first training comes before any traffic
    assert "no parity result of flight_delay in the 7 d before 2013-06-11 12:00 UTC" in caplog.text
    world.materialize(views=VIEWS[1:])
    world.serve()
    result = check(world)
    share, worst = result["share"], result["features"][0]
    assert newest(world.settings, SPEC.name, day)["share"] == share  # type: ignore[index]
    require(world.settings, SPEC, day)
    with pytest.raises(ParityBoundError) as refused:
        require(world.settings, bound, day + timedelta(days=6))
    assert str(refused.value) == (
        f"Model 'flight_delay' is not trained: {share:.2%} of the served values equal those retrieved offline (as of "
        f"2013-06-11T12:00), below the minimum of 99.00%; the worst feature is {worst['feature']} "
        f"({worst['share']:.2%}, mostly never materialized); fix this and run `headrace run "
        "parity --model flight_delay`, or change parity in the model's file."
    )
    require(world.settings, bound, day - timedelta(seconds=1))  # made later than that
    require(world.settings, bound, day + timedelta(days=8))  # too old
    require(world.settings, bound.model_copy(update={"parity": Parity(minimum=share)}), day)
