"""Charts of the tuning: each trial's metric over its iterations, and the trials' parameters side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ray_cluster.reports.charts import COLOURS, SERIES, figure, svg

__all__ = ["chosen_trial", "histories", "parallel_coordinates"]

Trial = Mapping[str, Any]


def chosen_trial(trials: Sequence[Trial]) -> Trial | None:
    """The chosen trial, the first one in the evidence; None if no trial has a metric."""
    return next((trial for trial in trials if trial.get("metric") is not None), None)


def histories(trials: Sequence[Trial], metric: str) -> str | None:
    """The metric over iterations, a line per trial in the colour of its family, the chosen one thick.

    A line ends at the best report of its trial, the one in the trial's row of the table; later reports were not used. A
    trial of a family that is fitted in one step is a diamond at its only report.
    """
    drawn = [trial for trial in trials if trial.get("history")]
    if not drawn:
        return None
    chosen, families = chosen_trial(drawn), _families(drawn)
    with figure(9.6, 3.3) as (drawing, axes):
        named: set[str] = set()
        for trial in sorted(drawn, key=lambda trial: trial is chosen):
            family = _family(trial)
            line = np.asarray([report for report in trial["history"] if report[0] <= trial["iterations"]], dtype=float)
            colour = COLOURS[SERIES[families.index(family) % len(SERIES)]]
            top, single = trial is chosen, len(trial["history"]) == 1 and line[0, 0] <= 1
            label = f"chosen: trial {trial.get('trial')}, {family}" if top else (None if family in named else family)
            named.add(family if not top else "")
            if single:
                axes.plot(line[:, 0], line[:, 1], "D", color=colour, label=label, markersize=7 if top else 4.5)
                continue
            axes.plot(
                line[:, 0],
                line[:, 1],
                color=colour,
                label=label,
                alpha=1 if top else 0.55,
                linewidth=2.8 if top else 1.3,
            )
            axes.plot(line[-1, 0], line[-1, 1], "o", color=colour, markersize=6 if top else 3.5)
        axes.set(xlabel="Iterations (boosting rounds, trees, epochs)", ylabel=metric)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return svg(drawing, "histories", f"{metric} on the validation period over iterations, one line per trial")


def parallel_coordinates(trials: Sequence[Trial], metric: str) -> str | None:
    """All trials in one chart: the family as the first axis, one axis per parameter, and the metric as the last axis;
    the chosen one thick.

    If a family does not have a parameter, its lines have a gap, bridged by dots. None if fewer than two trials have a
    metric, or no parameter varies.
    """
    drawn = [trial for trial in trials if trial.get("metric") is not None]
    names = _varying(drawn)
    if len(drawn) < 2 or not names:
        return None
    families = _families(drawn)
    labels = ["family", *names, metric]
    columns: list[list[Any]] = [
        [_family(trial) for trial in drawn],
        *([(trial.get("params") or {}).get(name) for trial in drawn] for name in names),
        [float(trial["metric"]) for trial in drawn],
    ]
    axes_of = [_axis(column) for column in columns]
    heights = np.column_stack([found for found, _ in axes_of])
    chosen = chosen_trial(drawn)
    order = sorted(range(len(drawn)), key=lambda row: (drawn[row] is chosen, columns[-1][row]))
    with figure(9.6, 3.6) as (drawing, axes):
        for rank, row in enumerate(order):
            top, there = drawn[row] is chosen, np.flatnonzero(~np.isnan(heights[row]))
            look: dict[str, Any] = {
                "color": COLOURS[SERIES[families.index(columns[0][row]) % len(SERIES)]],
                "alpha": 1 if top else 0.25 + 0.45 * rank / len(order),
                "linewidth": 2.8 if top else 1.3,
            }
            axes.plot(there, heights[row][there], **{**look, "linewidth": 0.7, "linestyle": ":"})
            axes.plot(np.arange(len(labels)), heights[row], **look)
            axes.plot(there, heights[row][there], "o", color=look["color"], alpha=look["alpha"], markersize=2.5)
        axes.grid(False)
        for place, (_, ticks) in enumerate(axes_of):
            axes.axvline(place, color=COLOURS["line"], linewidth=1, zorder=0)
            side: dict[str, Any] = {"ha": "center"} if len(ticks) == 2 and place else {"ha": "right"}
            for height, text in ticks:
                shift = 0.0 if side["ha"] == "right" else (0.06 if height > 0.5 else -0.06)
                axes.text(
                    place - (0.06 if side["ha"] == "right" else 0),
                    height + shift,
                    text,
                    va="center",
                    fontsize=8,
                    color=COLOURS["muted"],
                    **side,
                )
        axes.set(ylim=(-0.14, 1.14), yticks=[], xticks=range(len(labels)))
        axes.set_xticklabels([_broken(name) for name in labels], fontsize=7.5)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_xlim(-1.3, len(labels) - 0.6)
        return svg(drawing, "parallel", f"Families and parameters of the trials, and the {metric} that they reached")


def _family(trial: Trial) -> str:
    """The name of the family; for a user's estimator, its class."""
    return str(trial.get("family")).rpartition(":")[2]


def _families(trials: Sequence[Trial]) -> list[str]:
    return list(dict.fromkeys(_family(trial) for trial in trials))


def _varying(trials: Sequence[Trial]) -> list[str]:
    """Parameters with more than one value in some family; first the parameters of most families."""
    owners: dict[str, set[str]] = {}
    values: dict[str, set[str]] = {}
    for trial in trials:
        for name, value in (trial.get("params") or {}).items():
            owners.setdefault(name, set()).add(_family(trial))
            values.setdefault(name, set()).add(str(value))
    return sorted((name for name in owners if len(values[name]) > 1), key=lambda name: -len(owners[name]))


def _axis(values: Sequence[Any]) -> tuple[np.ndarray[Any, Any], list[tuple[float, str]]]:
    """Heights in [0, 1], NaN for missing values, and the labels of the axis: its ends, or each of its texts."""
    given = [value for value in values if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        numbers = np.asarray([np.nan if value is None else value for value in values], dtype=float)
        ends = [(1.0, f"{np.nanmax(numbers):.3g}"), (0.0, f"{np.nanmin(numbers):.3g}")]
        return _scaled(numbers), ends if len(set(given)) > 1 else [(0.5, ends[0][1])]
    words = list(dict.fromkeys(str(value) for value in given))
    place = {word: 0.5 if len(words) == 1 else 1 - at / (len(words) - 1) for at, word in enumerate(words)}
    heights = np.asarray([np.nan if value is None else place[str(value)] for value in values])
    return heights, [(height, word.replace("_", " ")) for word, height in place.items()]


def _scaled(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Between 0 and 1, on a log scale if the values span more than a factor of eight."""
    low, high = np.nanmin(values), np.nanmax(values)
    if low > 0 and high / low > 8:
        values, low, high = np.log(values), np.log(low), np.log(high)
    return (values - low) / (high - low) if high > low else np.where(np.isnan(values), np.nan, 0.5)


def _broken(name: str) -> str:
    """The name, broken into lines of one or two words if it is long."""
    words = name.replace("_", "_ ").split()
    half = (len(words) + 1) // 2
    return name if len(name) < 10 or len(words) < 2 else "".join(words[:half]) + "\n" + "".join(words[half:])
