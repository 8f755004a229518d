"""What a report is made from: plain JSON values, as the registry, the tables and monitoring keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ReportContent"]

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class ReportContent:
    """The evidence behind one page. Every part but ``title`` and ``model`` may be missing: the page then says so.

    Attributes:
        version, run_id, as_of: the registered version, the run that made it, and the moment it was made for.
        steps: ``{name, seconds, note}`` in order.
        ingest: per table ``{table, rows_in, rows_out, quarantined, later, fingerprint, profiled, columns}``, columns
            as :func:`feature_repo.tables.profile.profile_table` gives them, of ``profiled`` rows.
        evaluation, trials, sampling, dataset, decision: as kept with the run; ``evaluation["curves"]`` may hold
            ``scores`` (``{edges, positives, negatives}``: counts of held-out rows per bin of the score).
        monitoring: ``MonitoringResult.to_dict()``.
        endpoint: ``{url, curl}``. links: name -> address, for the part "What to click next".
        metric: what tuning and the gate go by.
        versions: library -> version, for the provenance.
    """

    title: str
    model: str
    description: str = ""
    version: int | None = None
    run_id: str | None = None
    as_of: str | None = None
    steps: Sequence[Facts] = ()
    ingest: Sequence[Facts] = ()
    evaluation: Facts | None = None
    trials: Sequence[Facts] = ()
    sampling: Facts | None = None
    dataset: Facts | None = None
    decision: Facts | None = None
    monitoring: Facts | None = None
    endpoint: Facts | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    metric: str = "average_precision"
    versions: Mapping[str, str] = field(default_factory=dict)
