"""Charts of the tuning: each trial's metric over its iterations, and the trials' parameters side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ray_cluster.report.charts import COLOURS, SERIES, figure, svg

__all__ = ["best_trial", "histories", "parallel_coordinates"]

Trial = Mapping[str, Any]


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the highest metric; None when no trial has one."""
    scored = [trial for trial in trials if trial.get("metric") is not None]
    return max(scored, key=lambda trial: float(trial["metric"])) if scored else None


def histories(trials: Sequence[Trial], metric: str) -> str | None:
    """The metric over iterations, a line per trial in the colour of its family, the best one thick."""
    drawn = [trial for trial in trials if trial.get("history")]
    if not drawn:
        return None
    best, families = best_trial(drawn), list(dict.fromkeys(str(trial.get("family")) for trial in drawn))
    with figure(9.6, 3.3) as (drawing, axes):
        named: set[str] = set()
        for trial in sorted(drawn, key=lambda trial: trial is best):
            family = str(trial.get("family"))
            line = np.asarray(trial["history"], dtype=float)
            colour = COLOURS[SERIES[families.index(family) % len(SERIES)]]
            top = trial is best
            label = f"best: trial {trial.get('trial')}" if top else (None if family in named else family)
            named.add(family if not top else "")
            axes.plot(
                line[:, 0],
                line[:, 1],
                color=colour,
                label=label,
                alpha=1 if top else 0.55,
                linewidth=2.8 if top else 1.3,
            )
            axes.plot(line[-1, 0], line[-1, 1], "o", color=colour, markersize=6 if top else 3.5)
        axes.set(xlabel="Iterations", ylabel=metric)
        axes.legend(loc="lower right")
        return svg(drawing, "histories", f"{metric} on the validation period over iterations, one line per trial")


def parallel_coordinates(trials: Sequence[Trial], family: str, metric: str) -> str | None:
    """The numeric parameters of one family's trials, an axis each, and the metric as the last axis.

    None with fewer than two trials or two parameters that vary.
    """
    drawn = [trial for trial in trials if trial.get("family") == family and trial.get("metric") is not None]
    names = [name for name in (drawn[0].get("params") or {} if drawn else {}) if _varies(drawn, name)]
    if len(drawn) < 2 or len(names) < 2:
        return None
    columns = [np.asarray([trial["params"][name] for trial in drawn], dtype=float) for name in names]
    columns.append(np.asarray([trial["metric"] for trial in drawn], dtype=float))
    heights = np.column_stack([_scaled(column) for column in columns])
    order = np.argsort(columns[-1])
    with figure(5.4, 3.0) as (drawing, axes):
        places = [float(place) for place in range(len(columns))]
        for rank, row in enumerate(order):
            top = rank == len(order) - 1
            axes.plot(
                places,
                heights[row],
                color=COLOURS["blue"] if top else COLOURS["muted"],
                alpha=1 if top else 0.25 + 0.45 * rank / len(order),
                linewidth=2.8 if top else 1.2,
                label="best of the family" if top else None,
            )
        axes.grid(False)
        for place, column in zip(places, columns, strict=True):
            axes.axvline(place, color=COLOURS["line"], linewidth=1)
            for height, value in ((1.06, column.max()), (-0.06, column.min())):
                axes.text(place, height, f"{value:.3g}", ha="center", va="center", fontsize=8.5, color=COLOURS["muted"])
        axes.set(ylim=(-0.14, 1.14), yticks=[], xticks=places)
        axes.set_xticklabels([*(_broken(name) for name in names), _broken(metric)], fontsize=8)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.margins(x=0.06)
        return svg(drawing, f"parallel-{family}", f"Parameters of the {family} trials and the {metric} they reached")


def _varies(trials: Sequence[Trial], name: str) -> bool:
    values = [(trial.get("params") or {}).get(name) for trial in trials]
    return all(isinstance(value, (int, float)) for value in values) and len(set(values)) > 1


def _scaled(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Between 0 and 1, on a log scale where the values span more than a factor of eight."""
    if values.min() > 0 and values.max() / values.min() > 8:
        values = np.log(values)
    span = np.ptp(values)
    return (values - values.min()) / span if span else np.full(len(values), 0.5)


def _broken(name: str) -> str:
    """The name in two lines where it is long."""
    words = name.replace("_", "_ ").split()
    half = (len(words) + 1) // 2
    return name if len(name) < 10 or len(words) < 2 else "".join(words[:half]) + "\n" + "".join(words[half:])
