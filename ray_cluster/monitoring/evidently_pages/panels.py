"""Panels over time on a model's project page: verdicts, drift, performance and calibration as they were decided.

Panels plot values of the runs of a project. Evidently's own results differ from what Headrace decides by (other bins,
no natural variation, no intervals), so each monitoring adds a run ``verdict`` with Headrace's measurements: values of
the metric ``Measurement``, whose label ``measurement`` is their name.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from configs.settings import Settings
from ray_cluster.decisions.decision import Decision
from ray_cluster.decisions.monitoring_rules import metric_name
from ray_cluster.monitoring.evidently_pages.workspace import add_run, model_project, run_labels, without_telemetry

if TYPE_CHECKING:
    from evidently.core.report import Snapshot
    from evidently.sdk.models import DashboardPanelPlot

__all__ = ["add_panels", "add_verdict", "plotted", "verdict_run"]

_METRIC = "evidently:metric_v2:Measurement"
_VERDICTS = ("keep", "wait", "retrain")
_ENDS = ("live", "held_out", "low", "high")


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
        name: SingleValue(
            display_name=name,
            value=value,
            metric_value_location=MetricValueLocation(
                MetricConfig(metric_id=name, params={"type": _METRIC, "measurement": name}), {}
            ),
        )
        for name, value in values.items()
    }
    tables = [
        table_data(title=f"Verdict: {decision.action}", column_names=["reason"], data=[[r] for r in decision.reasons]),
        table_data(
            title="Measurements",
            column_names=["measurement", "value"],
            data=[[name, f"{value:.6g}"] for name, value in values.items()],
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


def plotted(decision: Decision) -> dict[str, float]:
    """Name -> value of the measurements that panels plot; what was not measured is left out.

    Each possible verdict has the value 1 if it was given, and else 0. ``performance.judged`` is the live average
    precision at the held-out share of positives, which is the value that is compared.
    """
    found, policy = decision.evidence, decision.policy
    watched = [bool(row.get("drifted")) for row in found["features"] if not row.get("ignored")]
    score, performance = found.get("prediction") or {}, found.get("performance") or {}
    metrics = performance.get("metrics") or {}
    metric, gap = metrics.get(performance.get("metric")) or {}, metrics.get("calibration_gap") or {}
    judged = (performance.get("changes") or {}).get("ranking") or performance
    values: dict[str, Any] = {f"verdict.{name}": float(name == decision.action) for name in _VERDICTS}
    if found["rows"]:
        values |= {
            "drift.share": sum(watched) / len(watched) if watched else None,
            "drift.bound": policy.get("drifted_share"),
            "score.psi": score.get("psi"),
            "score.bound": max(policy.get("prediction_psi") or 0.0, score.get("natural") or 0.0) or None,
            "score.mean": score.get("mean"),
            "score.held_out": score.get("reference_mean"),
        }
    values |= {f"performance.{end}": metric.get(end) for end in _ENDS}
    values |= {"performance.judged": judged.get("live") if performance.get("reweighted") else None}
    values |= {f"calibration.{end}": gap.get(end) for end in _ENDS}
    values |= {
        "rate.live": performance.get("rate"),
        "rate.held_out": performance.get("held_out_rate"),
        "rows.predictions": found["rows"],
        "rows.outcomes": performance.get("outcomes") or 0,
        "rows.abstained": found.get("abstained") or 0,
    }
    return {name: float(value) for name, value in values.items() if value is not None and isfinite(value)}


def add_panels(settings: Settings, spec: ModelSpec) -> None:
    """Add the panels that are missing on the model's project page, and restore those that were changed.

    A user's own panels are not touched.
    """
    with model_project(settings, spec) as (workspace, project):
        from evidently.sdk.models import DashboardTabModel

        page = workspace.read_dashboard(project.id)
        before = page.copy(deep=True)
        ours = {panel.id: panel for panel in _panels(project.id, spec.gate.metric)}
        page.panels = [ours.pop(panel.id, panel) for panel in page.panels] + list(ours.values())
        if not page.tabs:
            page.tabs = [DashboardTabModel(title="General", panels=[])]
        page.tabs[0].panels += list(ours)
        if page != before:
            workspace.write_dashboard(project.id, page)


def _panels(project: uuid.UUID, metric: str) -> list[DashboardPanelPlot]:
    """The panels in their order, with ids that depend on the project and the panel only."""
    from evidently.sdk.models import PanelMetric
    from evidently.sdk.panels import bar_plot_panel, line_plot_panel

    def panel(key: str, title: str, text: str, legends: Mapping[str, str], **kind: Any) -> DashboardPanelPlot:
        values = [
            PanelMetric(legend=legend, metric=_METRIC, metric_labels={"measurement": name}, tags=["verdict"])
            for name, legend in legends.items()
        ]
        plot = bar_plot_panel if "stacked" in kind else line_plot_panel
        made = plot(title, values, text, **({"size": "half"} | kind))
        made.id = uuid.uuid5(project, key)
        return made

    reweighted = metric == "average_precision"

    def ends(what: str) -> dict[str, str]:
        return {f"{what}.{end}": end.replace("_", "-") for end in _ENDS}

    return [
        panel(
            "verdict",
            "Verdict of each monitoring",
            "One bar per monitoring, at its as-of time (UTC). Keep: no alarm. Wait: too few rows. Retrain: an alarm.",
            {f"verdict.{name}": name for name in _VERDICTS},
            size="full",
            stacked=True,
        ),
        panel(
            "drift",
            "Drifted features",
            "Share of the watched features that drifted, 0 to 1.",
            {"drift.share": "drifted", "drift.bound": "bound"},
        ),
        panel(
            "score",
            "Drift of the score",
            "Population stability index (PSI), and the bound of its alarm.",
            {"score.psi": "PSI", "score.bound": "bound"},
        ),
        panel(
            "performance",
            f"Performance: {metric_name(metric)}",
            f"Live, with its 95 % interval{'; at the held-out share of positives, as judged' if reweighted else ''}.",
            ends("performance") | ({"performance.judged": "at held-out rate"} if reweighted else {}),
        ),
        panel(
            "calibration",
            "Calibration gap",
            "Mean score minus share of positives, with its 95 % interval.",
            ends("calibration"),
        ),
        panel(
            "rate",
            "Mean score and share of positives",
            "Of all predictions, and of those with a known outcome.",
            {
                "score.mean": "score",
                "score.held_out": "score, held-out",
                "rate.live": "positives",
                "rate.held_out": "positives, held-out",
            },
        ),
        panel(
            "rows",
            "Predictions and outcomes",
            "Rows in the period of each monitoring.",
            {"rows.predictions": "predictions", "rows.outcomes": "with outcome", "rows.abstained": "without score"},
            stacked=False,
        ),
    ]
