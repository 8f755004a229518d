"""Gather the provenance of one training, as it is stored with its run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.definitions.dependencies import model_tables, service_views
from feature_repo.frames.fingerprints import table_contents
from feature_repo.materialization.view_files import state
from feature_repo.storage.files import read_json
from feature_repo.transforms import VIEWS, code
from ray_cluster.lineage.environment import (
    code_files,
    git_state,
    library_versions,
    machine,
    masked_settings,
    without_secrets,
)

__all__ = ["Provenance", "erasures_now", "gather", "on_demand_code", "view_facts"]

#: Path of the working tree's diff below a run.
PATCH = "provenance/uncommitted.patch"


@dataclass(frozen=True)
class Provenance:
    """``document`` is JSON, stored as ``evidence/provenance.json``; ``tags`` are the run's; ``files`` path -> text."""

    document: dict[str, Any]
    tags: dict[str, str]
    files: dict[str, str]


def gather(
    settings: Settings,
    spec: ModelSpec,
    as_of: datetime,
    dataset: Mapping[str, Any],
    digest: Mapping[str, str],
    champion: Mapping[str, Any] | None,
    context: Mapping[str, str],
    started: datetime,
    device: str,
) -> Provenance:
    """The provenance of a model.

    Args:
        dataset: ``fingerprint``, ``columns`` (name -> fingerprint) and ``rows`` of the training frame.
        digest: of the fitted model (:func:`ray_cluster.lineage.model_digest.model_digest`).
        champion: ``version`` and ``run_id`` of the champion at the time of the training.
        context: tags that identify the flow run.
        started: when the training started.
        device: cpu or cuda, the device of the final fit.
    """
    git, finished = git_state(settings.root), datetime.now(UTC)
    views = view_facts(settings, service_views(settings, spec.feature_service))
    document = {
        "dataset": dict(dataset),
        "as_of": as_of.isoformat(),
        "tables": table_contents(settings, model_tables(settings, spec), as_of),
        "feature_service": spec.feature_service,
        "views": views,
        "on_demand": on_demand_code(settings, spec.feature_service),
        "model_digest": dict(digest),
        "seeds": {"tuning": spec.tuning.seed},
        "threads": max(1, int(spec.tuning.cpus_per_trial)),
        "device": device,
        "git": git.facts,
        "code": code_files(settings.root),
        "libraries": library_versions(),
        "machine": machine(),
        "settings": masked_settings(settings),
        "flow": {name.removeprefix("headrace."): value for name, value in context.items()},
        "parents": {"champion": champion, "monitoring": _verdict(settings, spec.name, as_of)},
        "environment": settings.environment,
        "erasures": erasures_now(settings),
        "started": started.isoformat(),
        "finished": finished.isoformat(),
        "seconds": round((finished - started).total_seconds(), 3),
    }
    tags = {
        "headrace.views": " ".join(f"{view}={facts['query']}" for view, facts in views.items()),
        "headrace.model_digest": digest["model"],
        "headrace.git_branch": str(git.facts["branch"]),
        "mlflow.source.git.commit": str(git.facts["commit"]),
        "headrace.environment": settings.environment,
    }
    if champion:
        tags |= {"headrace.parent_version": str(champion["version"]), "headrace.parent_run": str(champion["run_id"])}
    files = {PATCH: without_secrets(settings, git.patch)} if git.patch else {}
    return Provenance(document, tags, files)


def view_facts(settings: Settings, views: list[str]) -> dict[str, dict[str, Any]]:
    """Per computed feature view: ``query`` (fingerprint of its query), and of its stored rows ``computed_by`` (the
    query that computed them), ``content`` (fingerprint of its files), ``rows``, ``tables`` (as it read them) and
    ``latest_event``."""
    found: dict[str, dict[str, Any]] = {}
    for view in views:
        held = state(settings, view)
        found[view] = {"query": code(view), "reads": sorted(VIEWS[view].tables)}
        if held:
            content = hashlib.blake2b(json.dumps(held.files, sort_keys=True).encode(), digest_size=8).hexdigest()
            found[view] |= {
                "computed_by": held.code,
                "content": content,
                "rows": held.rows,
                "tables": held.tables,
                "latest_event": held.latest_event,
            }
    return found


def on_demand_code(settings: Settings, service: str) -> dict[str, str]:
    """On-demand view of the service -> fingerprint of its function, from Feast's registry."""
    from feature_repo.definitions.feature_store import open_store

    store = open_store(settings)
    used = {projection.name for projection in store.get_feature_service(service).feature_view_projections}
    return {
        view.name: hashlib.blake2b(
            str(getattr(view.feature_transformation, "udf_string", "")).encode(), digest_size=8
        ).hexdigest()
        for view in store.list_on_demand_feature_views()
        if view.name in used
    }


def _verdict(settings: Settings, model: str, as_of: datetime) -> dict[str, Any] | None:
    """The monitoring result that requested this training: the newest, if it says retrain and has this as-of time."""
    found = read_json(settings.home / "monitoring" / model / "latest.json")
    if not found or found["decision"]["action"] != "retrain" or found["as_of"] != as_of.isoformat():
        return None
    return {
        "key": found["key"],
        "as_of": found["as_of"],
        "version": found["version"],
        "reasons": found["decision"]["reasons"],
    }


def erasures_now(settings: Settings) -> str | None:
    """Fingerprint of the list of erased entities; None if nothing was ever erased."""
    path: Path = settings.home / "erasures.json"
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest() if path.is_file() else None
