"""The self-contained page of one parity result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.durations import in_words
from feature_repo.storage.files import write_text
from ray_cluster.reports.charts import COLOURS, SERIES, figure, svg
from ray_cluster.reports.formats import FILTERS

__all__ = ["render_parity", "write_parity_page"]

_FOLDER = Path(__file__).parent
#: Colours of the causes that a page shows, in the order of the causes; further causes share the last colour.
_COLOURS = (*SERIES, "muted", "ink")


def write_parity_page(path: Path, result: Mapping[str, Any], causes: Mapping[str, str], minimum: float | None) -> Path:
    """Write the page of a result (:func:`ray_cluster.parity.check.check_parity`) and return its path.

    ``causes``: cause -> sentence that explains it, in the order of the page. ``minimum``: the bound of the model's
    file, if it has one.
    """
    write_text(path, render_parity(result, causes, minimum))
    return path


def render_parity(result: Mapping[str, Any], causes: Mapping[str, str], minimum: float | None) -> str:
    """The page; every value is escaped."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update({**FILTERS, "share": share, "in_words": in_words})
    shown = [name for name in causes if name in result["causes"]]
    colours = {name: _COLOURS[min(place, len(_COLOURS) - 1)] for place, name in enumerate(shown)}
    chart = _days(result["days"], colours)
    return environment.get_template("parity.html.j2").render(
        result=result,
        minimum=minimum,
        short=minimum is not None and result["share"] < minimum,
        causes=causes,
        colours=colours,
        most=max(result["causes"].values(), default=1),
        chart=None if chart is None else Markup(chart),
        style=Markup((_FOLDER / "templates" / "report.css").read_text(encoding="utf-8")),
        script=Markup((_FOLDER / "templates" / "report.js").read_text(encoding="utf-8")),
    )


def share(value: float) -> str:
    """A share as a percentage that shows 100 % only if it is exactly 1.

    >>> share(1.0), share(0.99999), share(0.5)
    ('100%', '99.99%', '50.00%')
    """
    return "100%" if value == 1 else f"{int(value * 10_000) / 100:.2f}%"


def _days(days: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> str | None:
    """Differences per day as stacked bars, by cause; None if there are none or only one day."""
    if not colours or len(days) < 2:
        return None
    with figure(width=9.2, height=2.6) as (drawing, axes):
        bottom = [0.0] * len(days)
        for name, colour in colours.items():
            heights = [100 * day["causes"].get(name, 0) / day["count"] for day in days]
            axes.bar(range(len(days)), heights, bottom=bottom, color=COLOURS[colour], label=name, width=0.8)
            bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
        step = max(1, len(days) // 10)
        axes.set_xticks(range(0, len(days), step), [day["day"][5:] for day in days][::step])
        axes.set(ylabel="Differing views, %")
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return svg(drawing, "days", "Share of views that differ, by day and cause")
