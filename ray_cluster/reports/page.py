"""Turn a :class:`ReportContent` into one self-contained HTML page: it needs no network and no other file."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.storage.files import write_text
from feature_repo.storage.secondary import secondary
from ray_cluster.reports import charts, lifecycle_content, search_charts
from ray_cluster.reports.formats import FILTERS, words
from ray_cluster.reports.lifecycle_content import ReportContent, sampling_facts

__all__ = ["environment", "render", "write_page", "write_report"]

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent


def write_report(path: Path, content: ReportContent) -> Path:
    """Write the page of a lifecycle run to ``path`` and return it (:func:`write_page`)."""
    return write_page(path, render(content))


def write_page(path: Path, page: str) -> Path:
    """Write a page to ``path`` and return it; a reader sees the old page or the complete new one."""
    write_text(path, page)
    return path


@cache
def environment() -> Environment:
    """The templates with their filters and the pages' style and script; every value they print is escaped."""
    from jinja2 import ChainableUndefined, Environment, FileSystemLoader
    from markupsafe import Markup

    found = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=ChainableUndefined,
    )
    found.filters.update(FILTERS)
    found.globals["style"] = Markup((_FOLDER / "templates" / "report.css").read_text(encoding="utf-8"))
    found.globals["script"] = Markup((_FOLDER / "templates" / "report.js").read_text(encoding="utf-8"))
    return found


def render(content: ReportContent) -> str:
    """Return the page. Every value is escaped; a part with no evidence says so in one sentence."""
    from markupsafe import Markup

    failures = [dict(failure) for failure in content.failures]

    def drawn(chart: Callable[..., str | None], *arguments: Any) -> Markup | None:
        image = None
        with secondary(f"chart {chart.__name__.replace('_', ' ')}", failures):
            image = chart(*arguments)
        return None if image is None else Markup(image)  # SVG from our charts, with escaped texts

    evaluation, trials = content.evaluation or {}, list(content.trials)
    metric = words(content.metric)
    monitoring = content.monitoring or {}
    measurements = monitoring.get("measurements") or {}
    verdict = monitoring.get("decision") or {}
    bound = float((verdict.get("policy") or {}).get("feature_psi", 0.25))
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            content=content,
            failures=failures,
            evaluation=evaluation,
            charts={
                "roc": drawn(charts.roc, evaluation),
                "pr": drawn(charts.precision_recall, evaluation),
                "calibration": drawn(charts.calibration, evaluation),
                "scores": drawn(charts.scores, evaluation),
                "costs": drawn(charts.cost_curve, evaluation),
                "histories": drawn(search_charts.histories, trials, metric),
                "parallel": drawn(search_charts.parallel_coordinates, trials, metric),
            },
            shares=lifecycle_content.shares([float(step.get("seconds") or 0) for step in content.steps]),
            chosen=search_charts.chosen_trial(trials),
            sampling=sampling_facts(content.sampling),
            rows=lifecycle_content.scored_rows(evaluation),
            best_baseline=lambda name: lifecycle_content.best_baseline(evaluation, name),
            confusion=lifecycle_content.confusion(evaluation),
            worst=evaluation.get("worst_slice"),
            slices=lifecycle_content.slice_groups(evaluation),
            measurements=measurements,
            verdict=verdict,
            drift=lifecycle_content.drift_bars(measurements, bound),
            bound=bound,
            performance=measurements.get("performance") or {},
            intervals=lifecycle_content.interval_bars(measurements.get("performance") or {}),
        )
    )
