"""Facts about the court of samplers, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray_cluster.report.formats import words

__all__ = ["contender_bars", "sampling_facts"]

Facts = Mapping[str, Any]


def contender_bars(document: Facts) -> list[dict[str, Any]]:
    """The contenders with the gains' intervals as places in percent of one axis: ``low_at``, ``gain_at``, ``high_at``
    and ``zero_at``; those that were not compared (``none``, ``threshold``, or with an error) have no places."""
    rows = list(document.get("contenders") or [])
    compared = [row for row in rows if row.get("low") is not None and row["contender"] not in ("none", "threshold")]
    ends = [0.0, *(float(row[key]) for row in compared for key in ("low", "high"))]
    low, high = min(ends), max(ends)
    pad = (high - low) * 0.08 or 0.01
    span = high - low + 2 * pad

    def place(value: float) -> float:
        return 100 * (float(value) - low + pad) / span

    return [
        {**row, **({f"{key}_at": place(row[key]) for key in ("low", "gain", "high")} if row in compared else {})}
        | {"zero_at": place(0.0), "later": (row.get("held_out") or {}).get(document["decision"]["evidence"]["metric"])}
        for row in rows
    ]


def sampling_facts(document: Facts | None) -> dict[str, Any]:
    """What the part about rare positives needs: ``bars``, ``decision``, ``kept``, ``metric`` in words, ``checked``."""
    if not document:
        return {}
    decision = document["decision"]
    return {
        "bars": contender_bars(document),
        "decision": decision,
        "kept": document["kept"],
        "metric": words(decision["evidence"]["metric"]),
        "checked": [row for row in document["contenders"] if row.get("checks")],
    }
