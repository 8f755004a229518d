"""Charts of an evaluation as SVG: ROC, precision-recall and calibration curves, score histograms, costs by threshold.

The charts are matplotlib figures with the colours of the page's style sheet.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ray_cluster.registry.evidence import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "SERIES",
    "figure",
    "svg",
    "cost_curve",
    "calibration",
    "precision_recall",
    "roc",
    "scores",
]

#: Name of the CSS variable -> the marker colour that represents it while drawing.
COLOURS: Mapping[str, str] = {
    name: f"#0a0b{number:02x}"
    for number, name in enumerate(
        ("ink", "muted", "line", "surface", "blue", "orange", "green", "vermillion", "purple", "sky"), start=1
    )
}
#: Order of the colours of series (Okabe and Ito's palette: safe for colour-blind readers).
SERIES = ("blue", "orange", "green", "purple", "vermillion", "sky")


@contextmanager
def figure(width: float = 4.6, height: float = 3.6) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure with one styled axes, in inches; the figure is closed afterwards; no display is needed."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": COLOURS["ink"],
        "axes.edgecolor": COLOURS["line"],
        "axes.facecolor": "none",
        "axes.labelcolor": COLOURS["muted"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": COLOURS["line"],
        "grid.linewidth": 0.7,
        "xtick.color": COLOURS["line"],
        "ytick.color": COLOURS["line"],
        "xtick.labelcolor": COLOURS["muted"],
        "ytick.labelcolor": COLOURS["muted"],
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "lines.linewidth": 1.8,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "legend.labelcolor": COLOURS["ink"],
        "figure.facecolor": "none",
    }
    with rc_context(style):
        drawing = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(drawing)
        yield drawing, drawing.add_subplot()


def svg(drawing: Figure, name: str, alt: str) -> str:
    """Return the figure as an SVG element for a page.

    Args:
        name: prefix of the element ids, so that the ids of two charts on one page differ.
        alt: what the chart shows, for readers who cannot see it.
    """
    from matplotlib import rc_context

    buffer, name = io.StringIO(), re.sub(r"[^A-Za-z0-9]+", "-", name)
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for variable, marker in COLOURS.items():
        text = text.replace(marker, f"var(--{variable})")
    opening = text[: text.index(">") + 1]
    box = re.search(r'viewBox="([^"]*)"', opening)
    start = f'<svg viewBox="{box[1] if box else "0 0 300 200"}" role="img" aria-label="{escape(alt)}">'
    return f"{start}<title>{escape(alt)}</title>{text[len(opening) :]}"


def cost_curve(evaluation: Evaluation) -> str | None:
    """Mean cost per row over the threshold, with the selected and the theoretical threshold, and the costs of flagging
    all or nothing; None if the threshold was not chosen by cost."""
    kept = evaluation.costs or {}
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
        axes.plot(min(evaluation.threshold, 1.0), kept["mean"], "o", label=_threshold(evaluation), **_dot())
        axes.set(xlabel="Threshold", ylabel="Mean cost per row", xlim=(0, min(1.0, float(thresholds.max()) * 1.05)))
        low = min([*curve["cost"], 0.0])
        axes.set_ylim(
            low * 1.05, 1.15 * max(kept["flag_none"], kept["mean"], min(kept["flag_all"], 3 * kept["flag_none"]))
        )
        axes.legend(loc="best")
        return svg(drawing, "costs", "Mean cost per held-out row at each threshold, and of flagging all and nothing")


Values = np.ndarray[Any, Any]


def roc(evaluation: Evaluation) -> str | None:
    """The ROC curve with the chance line and the operating point; None without a curve."""
    curve = _curve(evaluation, "roc", "x", "y")
    if curve is None:
        return None
    with figure() as (drawing, axes):
        axes.plot([0, 1], [0, 1], "--", color=COLOURS["muted"], linewidth=1, label="chance")
        axes.fill_between(curve[0], curve[1], color=COLOURS["blue"], alpha=0.1, linewidth=0)
        value = evaluation.metrics.get("roc_auc")
        axes.plot(*curve, color=COLOURS["blue"], label="model" if value is None else f"model, area {value:.3f}")
        point = _operating_point(evaluation)
        if point:
            axes.plot(point["false_positive_rate"], point["recall"], "o", **_dot(), label=_threshold(evaluation))
        axes.set(xlabel="False positive rate", ylabel="True positive rate", xlim=(0, 1), ylim=(0, 1.01))
        axes.legend(loc="lower right")
        return svg(drawing, "roc", "ROC curve of the held-out rows, above the diagonal of chance")


def precision_recall(evaluation: Evaluation) -> str | None:
    """The precision-recall curve with the base rate and the operating point; None without a curve."""
    curve = _curve(evaluation, "pr", "x", "y")
    if curve is None:
        return None
    with figure() as (drawing, axes):
        held_out = evaluation.periods.get("held_out", {})
        if held_out.get("rows"):
            rate = held_out["positives"] / held_out["rows"]
            axes.axhline(rate, linestyle="--", color=COLOURS["muted"], linewidth=1, label=f"base rate {rate:.3f}")
        value = evaluation.metrics.get("average_precision")
        label = "model" if value is None else f"model, average precision {value:.3f}"
        axes.fill_between(curve[0], curve[1], color=COLOURS["blue"], alpha=0.1, linewidth=0)
        axes.plot(*curve, color=COLOURS["blue"], label=label)
        point = _operating_point(evaluation)
        if point:
            axes.plot(point["recall"], point["precision"], "o", **_dot(), label=_threshold(evaluation))
        axes.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1), ylim=(0, 1.01))
        axes.legend(loc="upper right")
        return svg(drawing, "pr", "Precision against recall on the held-out rows, above the base rate")


def calibration(evaluation: Evaluation) -> str | None:
    """Observed share of positives against the predicted one, with points scaled by their bins, also before calibration
    if there was one; None without a curve."""
    curve = _curve(evaluation, "calibration", "predicted", "observed")
    if curve is None:
        return None
    curves, kept = evaluation.curves or {}, evaluation.calibration or {}
    rows = np.asarray(curves["calibration"].get("rows") or np.ones(len(curve[0])), dtype=float)
    before = _curve(evaluation, "calibration_before", "predicted", "observed")
    before = None if kept.get("method", "none") == "none" else before
    drawn = [curve, before] if before is not None else [curve]
    end = min(1.0, float(max(axis.max() for pair in drawn for axis in pair)) * 1.08 or 1.0)
    with figure() as (drawing, axes):
        axes.plot([0, end], [0, end], "--", color=COLOURS["muted"], linewidth=1, label="perfectly calibrated")
        if before is not None:
            said = _with_error("before calibration", kept.get("ece_before"))
            axes.plot(*before, "o:", color=COLOURS["orange"], linewidth=1.4, markersize=3.5, label=said)
        axes.plot(*curve, color=COLOURS["blue"], linewidth=1.2)
        sizes = 14 + 110 * rows / rows.max()
        axes.scatter(
            curve[0],
            curve[1],
            s=sizes,
            color=COLOURS["blue"],
            edgecolor=COLOURS["surface"],
            linewidth=1,
            zorder=3,
            label=_with_error("model", kept.get("ece_after")),
        )
        axes.set(xlabel="Predicted probability", ylabel="Observed share", xlim=(0, end), ylim=(0, end))
        axes.legend(loc="upper left", markerscale=0.6)
        return svg(drawing, "calibration", "Observed share of positives against the predicted probability, by bin")


def scores(evaluation: Evaluation) -> str | None:
    """Distribution of the scores of positives and negatives; from the calibration bins if there is no histogram."""
    curves = evaluation.curves or {}
    kept, bins = curves.get("scores"), curves.get("calibration") or {}
    if kept:
        edges = np.asarray(kept["edges"], dtype=float)
        up, down = (np.asarray(kept[side], dtype=float) for side in ("positives", "negatives"))
    elif bins.get("rows") and len(bins["rows"]) > 1:
        centres, rows = np.asarray(bins["predicted"], dtype=float), np.asarray(bins["rows"], dtype=float)
        edges = np.concatenate([[0.0], (centres[1:] + centres[:-1]) / 2, [min(1.0, centres[-1] * 1.1)]])
        up = rows * np.asarray(bins["observed"], dtype=float)
        down = rows - up
    else:
        return None
    with figure() as (drawing, axes):
        for side, counts, colour in (("negatives", down, "sky"), ("positives", up, "vermillion")):
            density = counts / (max(counts.sum(), 1) * np.diff(edges))
            axes.stairs(density, edges, fill=True, color=COLOURS[colour], alpha=0.3)
            axes.stairs(density, edges, color=COLOURS[colour], linewidth=1.6, label=f"{side} ({counts.sum():,.0f})")
        axes.axvline(evaluation.threshold, color=COLOURS["ink"], linewidth=1.2, label=_threshold(evaluation))
        axes.set(xlabel="Score", ylabel="Density", xlim=(float(edges[0]), float(edges[-1])))
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper right")
        return svg(drawing, "scores", "Distribution of the scores of held-out positives and negatives")


def _curve(evaluation: Evaluation, name: str, x: str, y: str) -> tuple[Values, Values] | None:
    found = (evaluation.curves or {}).get(name) or {}
    if not found.get(x):
        return None
    return np.asarray(found[x], dtype=float), np.asarray(found[y], dtype=float)


def _with_error(name: str, error: Any) -> str:
    return name if error is None else f"{name}, ECE {error:.4f}"


def _operating_point(evaluation: Evaluation) -> dict[str, float] | None:
    """Rates at the threshold, from precision, recall and the counts of the held-out period."""
    metrics, held_out = evaluation.metrics, evaluation.periods.get("held_out", {})
    precision, recall = metrics.get("precision"), metrics.get("recall")
    rows, positives = held_out.get("rows"), held_out.get("positives")
    if not precision or recall is None or not positives or rows == positives:
        return None
    true = recall * positives
    return {
        "precision": precision,
        "recall": recall,
        "false_positive_rate": (true / precision - true) / (rows - positives),
    }


def _dot() -> dict[str, Any]:
    return {"color": COLOURS["vermillion"], "markeredgecolor": COLOURS["surface"], "markersize": 7, "zorder": 4}


def _threshold(evaluation: Evaluation) -> str:
    return f"threshold {evaluation.threshold:.3f}"
