"""Panels of a model's project page: their queries, answered as Evidently's UI answers them, give what was measured."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from configs.model import ModelSpec, load_model
from configs.settings import Settings, load_settings
from ray_cluster.decisions.decision import Decision, monitoring_verdict
from ray_cluster.monitoring.evidently_pages.panels import add_panels, add_verdict, plotted
from ray_cluster.monitoring.measurements import measure
from tests.ray_cluster.monitoring.test_monitoring_run import SPEC, held_out, logged, outcomes

REFERENCE = held_out(3000)
TITLES = [
    "Verdict of each monitoring",
    "Drifted features",
    "Drift of the score",
    "ROC AUC",
    "Average precision",
    "Calibration gap",
    "Log loss",
    "Mean score and share of positives",
    "Predictions and outcomes",
]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    return load_settings("local", {"HEADRACE_HOME": str(tmp_path)})


def judged(start: str, days: int, rows: int = 1200, turned: bool = False, zone: str = "UTC") -> Decision:
    """The decision about some days; ``turned``: their labels are turned round."""
    live = held_out(rows, start, days, seed=days)
    live = live.assign(label=1 - live["label"]) if turned else live
    as_of = (pd.Timestamp(start, tz="UTC") + pd.Timedelta(days=days + 1)).tz_convert(zone)
    return monitoring_verdict(measure(SPEC, logged(live), outcomes(live), REFERENCE, as_of), SPEC.monitoring)


def page(settings: Settings, name: str) -> dict[str, tuple[list[str], dict[str, list[float | None]]]]:
    """Title of each panel -> the times of its axis, and its lines: legend -> values."""
    from evidently.ui.service.base import SeriesFilter
    from evidently.ui.service.storage.local import create_local_project_manager
    from evidently.ui.service.type_aliases import ZERO_UUID

    async def read() -> dict[str, Any]:
        manager = create_local_project_manager(str(settings.home / "evidently"), autorefresh=False)
        [project] = [each for each in await manager.list_projects(ZERO_UUID, None, None) if each.name == name]
        found = {}
        for panel in (await manager.get_project_dashboard(ZERO_UUID, project.id)).panels:
            filters = [SeriesFilter(**value.dict(exclude={"legend", "view_params"})) for value in panel.values]
            series = await manager.get_data_series(ZERO_UUID, project.id, filters, None, None)
            times = [source.timestamp.isoformat() for source in series.sources]
            lines = {}
            for line in series.series if filters else []:
                legend = panel.values[line.filter_index].legend.replace("{{part}}", line.params["part"])
                lines[legend] = line.values
            found[panel.title] = (times, lines)
        return found

    return asyncio.run(read())


def test_panels_plot_the_measurements_of_each_monitoring_at_its_as_of(settings: Settings) -> None:
    few, quiet, moved = (
        judged("2013-12-17", 5, rows=300),
        judged("2013-12-18", 14),
        judged("2014-01-02", 14, turned=True),
    )
    for decision in (moved, few, quiet):  # in any order
        add_verdict(settings, SPEC, decision)
    assert [each.action for each in (few, quiet, moved)] == ["wait", "keep", "retrain"]
    found = page(settings, "flight_delay")
    assert list(found) == TITLES
    assert all(
        times == [f"{day}T00:00:00" for day in ("2013-12-23", "2014-01-02", "2014-01-17")]
        for times, _ in found.values()
    )
    lines = {title: values for title, (_, values) in found.items()}
    assert lines["Verdict of each monitoring"] == {
        "keep": [0, 1, 0],
        "wait": [1, 0, 0],
        "retrain": [0, 0, 1],
        "fix_data": [0, 0, 0],
    }
    both = [each.evidence for each in (few, quiet, moved)]
    watched = [[row["drifted"] for row in each["features"] if row["feature"] != "month"] for each in both]
    assert lines["Drifted features"] == {"drifted": [sum(each) / 5 for each in watched], "bound": [0.3] * 3}
    assert lines["Drift of the score"]["PSI"] == [each["prediction"]["psi"] for each in both]
    for metric, title in (
        ("roc_auc", "ROC AUC"),
        ("average_precision", "Average precision"),
        ("calibration_gap", "Calibration gap"),
        ("log_loss", "Log loss"),
    ):
        live = [each["performance"]["metrics"][metric] for each in both]
        shown = {legend.replace("-", "_"): values for legend, values in lines[title].items()}
        assert shown == {end: [each[end] for each in live] for end in ("live", "held_out", "low", "high")}
        assert live[0]["low"] is None and live[1]["low"] < live[1]["live"] < live[1]["high"]
    assert lines["Mean score and share of positives"]["positives"] == [each["performance"]["rate"] for each in both]
    assert lines["Predictions and outcomes"]["predictions"] == [300, 1200, 1200]


def test_the_same_as_of_again_replaces_its_point_and_models_have_pages_of_their_own(settings: Settings) -> None:
    other: ModelSpec = load_model("flight_cancelled")
    add_verdict(settings, SPEC, judged("2013-12-18", 14))
    add_verdict(settings, other, judged("2013-12-18", 14))
    add_verdict(settings, SPEC, judged("2013-12-18", 14, turned=True, zone="America/New_York"))
    found, beside = page(settings, "flight_delay"), page(settings, "flight_cancelled")
    assert list(found) == TITLES and list(beside) == TITLES
    times, verdicts = found["Verdict of each monitoring"]
    assert times == ["2014-01-02T00:00:00"]
    assert verdicts == {"keep": [0], "wait": [0], "retrain": [1], "fix_data": [0]}
    assert beside["Verdict of each monitoring"][1]["keep"] == [1]


def test_panels_are_added_and_restored_and_those_of_a_user_stay(settings: Settings) -> None:
    from evidently.sdk.panels import text_panel
    from evidently.ui.workspace import Workspace

    workspace = Workspace.create(str(settings.home / "evidently"))
    dashboard = workspace.create_project(SPEC.name).dashboard
    dashboard.add_panel(text_panel("Mine"))
    add_panels(settings, SPEC)
    assert list(page(settings, "flight_delay")) == [*TITLES, "Mine"]
    made = dashboard.model()
    changed = made.copy(deep=True)
    changed.panels[0].plot_params = {"plot_type": "line"}  # as somebody edits it
    gone = changed.panels.pop(5)
    changed.tabs[0].panels.remove(gone.id)
    workspace.save_dashboard(dashboard.project_id, changed)
    former = text_panel("Of an earlier version")
    former.plot_params |= {"headrace": True}
    dashboard.add_panel(former)
    add_panels(settings, SPEC)
    assert dashboard.model() == made
    [tab] = made.tabs  # Evidently's UI saves no page with more than one
    assert tab.panels == [panel.id for panel in made.panels]


def test_panels_that_are_there_are_not_written_again(settings: Settings) -> None:
    add_panels(settings, SPEC)
    [file] = (settings.home / "evidently").glob("*/dashboard.json")
    before = file.stat().st_mtime_ns
    add_panels(settings, SPEC)
    assert file.stat().st_mtime_ns == before


def test_what_was_not_measured_is_not_plotted() -> None:
    live = held_out(1200, "2013-12-18", 14)
    as_of = pd.Timestamp("2014-01-02", tz="UTC")
    nothing = monitoring_verdict(measure(SPEC, logged(live).head(0), outcomes(live), REFERENCE, as_of), SPEC.monitoring)
    rows = {("rows", part): 0.0 for part in ("predictions", "outcomes", "abstained")}
    verdicts = {("verdict", name): float(name == "wait") for name in ("keep", "wait", "retrain", "fix_data")}
    assert plotted(nothing) == verdicts | rows
