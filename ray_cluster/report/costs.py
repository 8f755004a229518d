"""The chart of what decisions cost at each threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ray_cluster.report.charts import COLOURS, figure, svg

__all__ = ["cost_curve"]


def cost_curve(evaluation: Mapping[str, Any]) -> str | None:
    """Mean cost per row over the threshold, with the one in use, the theoretical one, and the costs of flagging all or
    nothing; None where the threshold was not chosen by cost."""
    kept = evaluation.get("costs") or {}
    curve = kept.get("curve") or {}
    if not curve.get("threshold"):
        return None
    thresholds = np.asarray(curve["threshold"], dtype=float)
    with figure() as (drawing, axes):
        for name, label, style in (("flag_all", "flag all", "--"), ("flag_none", "flag none", ":")):
            axes.axhline(kept[name], linestyle=style, color=COLOURS["muted"], linewidth=1.2, label=label)
        axes.plot(thresholds, np.asarray(curve["cost"], dtype=float), color=COLOURS["blue"], label="this version")
        axes.axvline(
            kept["theoretical_threshold"],
            linestyle=":",
            color=COLOURS["orange"],
            linewidth=1.4,
            label=f"theoretical {kept['theoretical_threshold']:.3f}",
        )
        threshold = evaluation.get("threshold")
        if threshold is not None:
            dot: Any = {
                "color": COLOURS["vermillion"],
                "markeredgecolor": COLOURS["surface"],
                "markersize": 7,
                "zorder": 4,
            }
            axes.plot(min(threshold, 1.0), kept["mean"], "o", label=f"threshold {threshold:.3f}", **dot)
        axes.set(xlabel="Threshold", ylabel="Mean cost per row", xlim=(0, min(1.0, float(thresholds.max()) * 1.05)))
        low = min([*curve["cost"], 0.0])
        axes.set_ylim(
            low * 1.05, 1.15 * max(kept["flag_none"], kept["mean"], min(kept["flag_all"], 3 * kept["flag_none"]))
        )
        axes.legend(loc="best")
        return svg(drawing, "costs", "Mean cost per held-out row at each threshold, beside flagging all and nothing")
