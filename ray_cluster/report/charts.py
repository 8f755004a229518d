"""The look of the charts: matplotlib figures as SVG that takes its colours from the page's style sheet.

Figures are drawn in marker colours which are then replaced by CSS variables, so one chart fits the light and the dark
page; text stays text, in the page's font.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "SERIES", "figure", "svg"]

#: Name of the CSS variable -> the marker colour that stands for it while drawing.
COLOURS: Mapping[str, str] = {
    name: f"#0a0b{number:02x}"
    for number, name in enumerate(
        ("ink", "muted", "line", "surface", "blue", "orange", "green", "vermillion", "purple", "sky"), start=1
    )
}
#: Order in which series take their colours (Okabe and Ito's palette: safe for colour-blind readers).
SERIES = ("blue", "orange", "green", "purple", "vermillion", "sky")


@contextmanager
def figure(width: float = 4.6, height: float = 3.6) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure with one styled axes, in inches; it is closed afterwards, and no display is needed."""
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
    """Return the figure as an SVG element to put into a page.

    Args:
        name: prefix of the element ids, so that two charts of one page do not share any.
        alt: what the chart shows, for readers who do not see it.
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
