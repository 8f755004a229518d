"""What the page of one raw table is made from: its declaration, its manifest, its profiles, its quarantine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from configs.table import Table

__all__ = ["TableContent"]

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class TableContent:
    """The facts behind one page. What is None or empty is told in a sentence.

    Attributes:
        name, spec: the table and its declaration. manifest: the fields of the ingest's manifest.
        profile, before: as :func:`feature_repo.tables.profile.profile_table` gives them, now and at the ingest before
            the content last changed.
        change: :func:`feature_repo.tables.change.compare` of the two. alerts: sentences, the gravest first.
        gates: ``{gate, bound, found, held}``, bound and found as text, held None where it cannot be told.
        refused: rows of the quarantine as texts, ``reason`` among them. mentions: rule or column -> refused rows whose
            reason names it.
        others: the other tables that have a page.
    """

    name: str
    spec: Table
    manifest: Facts
    profile: Facts
    before: Facts | None = None
    change: Facts | None = None
    alerts: Sequence[str] = ()
    gates: Sequence[Facts] = ()
    refused: Sequence[Facts] = ()
    mentions: Mapping[str, int] = field(default_factory=dict)
    others: Sequence[str] = ()
