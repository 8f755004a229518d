"""What happened to a version after it was trained: who did what, when and why, oldest first."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.settings import Settings
from ray_cluster.registry.connection import connect

__all__ = ["history", "remember"]

_FILE = "evidence/history.json"


def history(settings: Settings, run_id: str) -> list[dict[str, Any]]:
    """The events of the version that a run became: ``{at, what, by, why, …}``."""
    client = connect(settings)
    if not any(each.path == _FILE for each in client.list_artifacts(run_id, "evidence")):
        return []
    with tempfile.TemporaryDirectory() as folder:
        text = Path(client.download_artifacts(run_id, _FILE, folder)).read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)
    return found


def remember(settings: Settings, run_id: str, what: str, by: str, why: str = "", **more: Any) -> None:
    """Add an event, unless it is the last one already (a step that is done again after a kill)."""
    events = history(settings, run_id)
    if events and (events[-1]["what"], events[-1]["by"], events[-1]["why"]) == (what, by, why):
        return
    events.append({"at": datetime.now(UTC).isoformat(), "what": what, "by": by, "why": why, **more})
    connect(settings).log_text(run_id, json.dumps(events, indent=1, default=str), _FILE)
