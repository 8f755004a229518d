"""The page of a label review: how many labels are suspect, and the most suspect ones with the evidence against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ray_cluster.reports.charts import COLOURS, figure, svg
from ray_cluster.reports.page import environment

__all__ = ["render_review"]


def render_review(facts: Mapping[str, Any], queue: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of :func:`ray_cluster.labels.label_review.review_labels`; every value is escaped.

    Args:
        facts: ``model``, ``description``, ``as_of``, ``rows``, ``positives``, ``overlay``, ``suspects``,
            ``of_positives``, ``entities``, ``start``, ``end``, ``probabilities`` (name -> values in [0, 1]), ``queue``.
        queue: the rows of the CSV file.
    """
    from markupsafe import Markup

    return (
        environment()
        .get_template("labels.html.j2")
        .render(facts=facts, queue=queue, chart=Markup(_probabilities(facts["probabilities"])))
    )


def _probabilities(of: Mapping[str, Sequence[float]]) -> str:
    """Probability of the positive outcome for each given label, on a log scale of rows."""
    with figure(7.2, 2.8) as (drawing, axes):
        edges = np.linspace(0, 1, 41)
        for colour, (name, values) in zip(("blue", "vermillion"), of.items(), strict=False):
            counts = np.histogram(np.asarray(values, dtype=float), edges)[0]
            axes.stairs(counts, edges, color=COLOURS[colour], fill=True, alpha=0.45, label=f"{name} ({len(values):,})")
        axes.set_yscale("symlog")
        axes.set(xlabel="Probability of 1 from models not fitted on the row", ylabel="Rows", xlim=(0, 1))
        axes.set_ylim(bottom=0)
        axes.set_yticks([0, *(10**power for power in range(7) if 10**power <= axes.get_ylim()[1])])
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.minorticks_off()
        axes.legend(loc="upper center")
        return svg(drawing, "probabilities", "Rows by probability of the positive outcome, for each given label")
