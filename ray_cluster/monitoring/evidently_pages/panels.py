"""Panels over time on a model's project page: verdicts, drift, performance and calibration as they were decided.

Panels plot values of the runs of a project. Evidently's own results differ from what Headrace decides by (other bins,
no natural variation, no intervals), so each monitoring adds a run ``verdict`` with Headrace's measurements: values of
the metric ``Measurement``, with the labels ``measurement`` and ``part``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from configs.settings import Settings
from ray_cluster.decisions.decision import Decision
from ray_cluster.monitoring.evidently_pages.workspace import add_run, model_project, run_labels, without_telemetry

if TYPE_CHECKING:
    from evidently.core.report import Snapshot
    from evidently.sdk.models import DashboardPanelPlot

__all__ = ["add_panels", "add_verdict", "plotted", "verdict_run"]

_METRIC = "evidently:metric_v2:Measurement"
_MARK = "headrace"
_VERDICTS = ("keep", "wait", "retrain", "fix_data")
_ENDS = {"live": "live", "held_out": "held-out", "low": "low", "high": "high"}
_METRICS = ("roc_auc", "average_precision", "log_loss", "calibration_gap")


def add_verdict(settings: Settings, spec: ModelSpec, decision: Decision) -> str:
    """Add the run ``verdict`` to the model's project, and the panels that are missing; return the project's id."""
    add_panels(settings, spec)
    return add_run(settings, spec, verdict_run(spec, decision))


def verdict_run(spec: ModelSpec, decision: Decision) -> Snapshot:
    """A run with the values that the panels plot, which shows the verdict, its reasons and the values as tables."""
    without_telemetry()
    from evidently.core.metric_types import MetricConfig, MetricValueLocation, SingleValue
    from evidently.core.report import Snapshot
    from evidently.core.serialization import ReportModel, SnapshotModel
    from evidently.legacy.renderers.html_widgets import table_data

    values = plotted(decision)
    results = {
        f"{measurement}.{part}": SingleValue(
            display_name=f"{measurement}.{part}",
            value=value,
            metric_value_location=MetricValueLocation(
                MetricConfig(
                    metric_id=f"{measurement}.{part}",
                    params={"type": _METRIC, "measurement": measurement, "part": part},
                ),
                {},
            ),
        )
        for (measurement, part), value in values.items()
    }
    tables = [
        table_data(title=f"Verdict: {decision.action}", column_names=["reason"], data=[[r] for r in decision.reasons]),
        table_data(
            title="Measurements",
            column_names=["measurement", "part", "value"],
            data=[[*name, f"{value:.6g}"] for name, value in values.items()],
        ),
    ]
    model = SnapshotModel(
        report=ReportModel(items=[]),
        metric_results=results,
        top_level_metrics=list(results),
        widgets=tables,
        tests_widgets=[],
        **run_labels(spec, "verdict", decision.evidence) | {"tags": ["verdict", decision.action]},
    )
    return Snapshot.load_model(model)


def plotted(decision: Decision) -> dict[tuple[str, str], float]:
    """(Measurement, part) -> value of what panels plot; what was not measured is left out.

    The parts of ``verdict`` are the possible verdicts: 1 for the one that was given, else 0.
    """
    found, policy = decision.evidence, decision.policy
    watched = [bool(row.get("drifted")) for row in found["features"] if not row.get("ignored")]
    score, performance = found.get("prediction") or {}, found.get("performance") or {}
    metrics = performance.get("metrics") or {}
    values: dict[tuple[str, str], Any] = {("verdict", name): 0 for name in _VERDICTS}
    values |= {("verdict", decision.action): 1}
    if found["rows"]:
        values |= {
            ("drift", "share"): sum(watched) / len(watched) if watched else None,
            ("drift", "bound"): policy.get("drifted_share"),
            ("score", "psi"): score.get("psi"),
            ("score", "bound"): max(policy.get("prediction_psi") or 0, score.get("natural") or 0) or None,
            ("score", "mean"): score.get("mean"),
            ("score", "held_out"): score.get("reference_mean"),
        }
    values |= {(name, end): metrics[name].get(end) for name in _METRICS if name in metrics for end in _ENDS}
    values |= {
        ("positives", "live"): performance.get("rate"),
        ("positives", "held_out"): performance.get("held_out_rate"),
        ("rows", "predictions"): found["rows"],
        ("rows", "outcomes"): performance.get("outcomes") or 0,
        ("rows", "abstained"): found.get("abstained") or 0,
    }
    return {name: float(value) for name, value in values.items() if value is not None and isfinite(value)}


def add_panels(settings: Settings, spec: ModelSpec) -> None:
    """Put the panels on the model's project page, unless they are there as they should be.

    Headrace's panels are marked; others of theirs, of an earlier version, are removed. A user's own panels stay.
    """
    with model_project(settings, spec) as (workspace, project):
        from evidently.sdk.models import DashboardTabModel

        page = workspace.read_dashboard(project.id)
        ours = {panel.id: panel for panel in _panels(project.id)}
        before = {panel.id: panel for panel in page.panels if panel.id in ours or _MARK in panel.plot_params}
        if ours == before:
            return
        page.panels = [*ours.values(), *(panel for panel in page.panels if panel.id not in before)]
        page.tabs = page.tabs or [DashboardTabModel(title="General", panels=[])]
        page.tabs[0].panels = [*ours, *(each for each in page.tabs[0].panels if each not in before)]
        workspace.write_dashboard(project.id, page)


def _panels(project: uuid.UUID) -> list[DashboardPanelPlot]:
    """The panels in their order, with ids that depend on the project and the panel only."""
    from evidently.sdk.models import PanelMetric
    from evidently.sdk.panels import bar_plot_panel, line_plot_panel

    def panel(key: str, title: str, text: str, legends: Mapping[tuple[str, ...], str], **kind: Any) -> Any:
        values = [
            PanelMetric(
                legend=legend,
                metric=_METRIC,
                metric_labels=dict(zip(("measurement", "part"), labels, strict=False)),
                tags=["verdict"],
            )
            for labels, legend in legends.items()
        ]
        plot = bar_plot_panel if "stacked" in kind else line_plot_panel
        made = plot(title, values, text, **({"size": "half"} | kind))
        made.id = uuid.uuid5(project, key)
        made.plot_params[_MARK] = True
        return made

    def performance(metric: str, title: str, text: str) -> Any:
        return panel(metric, title, text, {(metric, end): legend for end, legend in _ENDS.items()})

    return [
        panel(
            "verdict",
            "Verdict of each monitoring",
            "One bar per monitoring, at its as-of time (UTC). A click on it leads to the reasons.",
            {("verdict",): "{{part}}"},
            size="full",
            stacked=True,
        ),
        panel(
            "drift",
            "Drifted features",
            "Share of the watched features that drifted, 0 to 1.",
            {("drift", "share"): "drifted", ("drift", "bound"): "bound"},
        ),
        panel(
            "score",
            "Drift of the score",
            "Population stability index (PSI), and the bound of its alarm.",
            {("score", "psi"): "PSI", ("score", "bound"): "bound"},
        ),
        performance("roc_auc", "ROC AUC", "Of live predictions, with a 95 % interval over days."),
        performance(
            "average_precision", "Average precision", "Of live predictions; it also rises with the share of positives."
        ),
        performance("calibration_gap", "Calibration gap", "Mean score minus share of positives; best is 0."),
        performance("log_loss", "Log loss", "Of live predictions; lower is better."),
        panel(
            "rate",
            "Mean score and share of positives",
            "Of all predictions, and of those with a known outcome.",
            {
                ("score", "mean"): "score",
                ("score", "held_out"): "score, held-out",
                ("positives", "live"): "positives",
                ("positives", "held_out"): "positives, held-out",
            },
        ),
        panel(
            "rows",
            "Predictions and outcomes",
            "Rows in the period of each monitoring.",
            {
                ("rows", "predictions"): "predictions",
                ("rows", "outcomes"): "with outcome",
                ("rows", "abstained"): "without score",
            },
            stacked=False,
        ),
    ]
