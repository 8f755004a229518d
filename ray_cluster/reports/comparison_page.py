"""The page of a comparison of runs: a table of differences, and overlaid curves."""

from __future__ import annotations

from typing import Any

import numpy as np

from ray_cluster.lineage.run_comparison import Compared, Comparison
from ray_cluster.reports.charts import COLOURS, SERIES, figure, svg
from ray_cluster.reports.page import environment

__all__ = ["render_comparison"]

#: Curve of the evidence -> the keys of its axes, their names, and a name for it.
_CURVES = {
    "pr": ("x", "y", "Recall", "Precision", "Precision and recall"),
    "roc": ("x", "y", "False positive rate", "True positive rate", "ROC"),
    "calibration": ("predicted", "observed", "Predicted probability", "Observed share", "Calibration"),
}


def render_comparison(comparison: Comparison) -> str:
    """Return the page; every value is escaped."""
    from markupsafe import Markup

    charts = [(title, chart) for name, (*_, title) in _CURVES.items() if (chart := _overlaid(comparison, name))]
    first = comparison.runs[0]
    return (
        environment()
        .get_template("compare.html.j2")
        .render(
            comparison=comparison,
            colours=[SERIES[place % len(SERIES)] for place in range(len(comparison.runs))],
            charts=[(title, Markup(chart)) for title, chart in charts],
            same_data=len({run.dataset for run in comparison.runs}) == 1,
            same_code=len({run.code for run in comparison.runs}) == 1 and first.code != "unknown",
            same_period=len({run.period for run in comparison.runs}) == 1,
        )
    )


def _overlaid(comparison: Comparison, name: str) -> str | None:
    """One curve of every run that has it; None if no run has it."""
    x, y, across, up, title = _CURVES[name]
    drawn = [(place, run) for place, run in enumerate(comparison.runs) if (run.curves.get(name) or {}).get(x)]
    if not drawn:
        return None
    with figure() as (drawing, axes):
        if name != "pr":
            axes.plot([0, 1], [0, 1], "--", color=COLOURS["muted"], linewidth=1)
        for place, run in drawn:
            points = [np.asarray(run.curves[name][key], dtype=float) for key in (x, y)]
            axes.plot(*points, color=COLOURS[SERIES[place % len(SERIES)]], label=run.title, **_style(place, run))
        axes.set(xlabel=across, ylabel=up)
        axes.set_ylim(bottom=0)
        axes.legend(loc="best")
        return svg(drawing, f"compare-{name}", f"{title} of {len(drawn)} runs, overlaid")


def _style(place: int, run: Compared) -> dict[str, Any]:
    """Notebook runs are dashed; the first run is drawn below the others."""
    return {"linestyle": "--" if run.kind == "notebook" else "-", "zorder": 2 + place / 10}
