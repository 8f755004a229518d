"""Approval: whether a person must say yes before a version that passed the gate becomes champion."""

from __future__ import annotations

from datetime import timedelta

from configs.reading import Duration, Frozen

__all__ = ["Approval"]


class Approval(Frozen):
    """Who may approve, and how long the register flow waits for one of them.

    Attributes:
        required: a version that passed the gate waits until somebody approves or rejects it.
        approvers: the names that count; everybody's when empty.
        timeout: after it the flow run ends; the version goes on waiting, and `headrace models approve` still works.
    """

    required: bool = False
    approvers: list[str] = []
    timeout: Duration = timedelta(days=7)
