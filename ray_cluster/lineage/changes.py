"""Changes since a model was trained: its recorded provenance compared with the current state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from configs.settings import Settings
from feature_repo.frames.fingerprints import changed_days, frame_files, table_contents
from feature_repo.frames.label_overrides import overlay_version
from feature_repo.materialization.view_files import state
from feature_repo.online.layout import FeatureServiceError
from feature_repo.transforms import VIEWS, code
from ray_cluster.lineage.environment import code_files, fit_files, git_state, library_versions, machine
from ray_cluster.lineage.provenance import erasures_now, on_demand_code

__all__ = ["Change", "changes_since"]

Kind = Literal["table", "labels", "view", "on-demand view", "erasures", "code", "library", "machine"]


@dataclass(frozen=True)
class Change:
    """One recorded fact that differs from the current state.

    ``affects``: ``frame`` if it can change the rows of a training, ``fit`` if it can change the model fitted on them,
    ``nothing`` if it can change neither. ``sentence`` has no full stop.
    """

    kind: Kind
    name: str
    sentence: str
    affects: Literal["frame", "fit", "nothing"]


def changes_since(settings: Settings, model: str, provenance: Mapping[str, Any]) -> list[Change]:
    """All differences between a run's record (``evidence/provenance.json``) and the current state, the data first."""
    return [
        *_tables(settings, provenance),
        *_labels(settings, model, provenance),
        *_erasures(settings, provenance),
        *_views(settings, provenance),
        *_on_demand(settings, provenance),
        *_code(settings, provenance),
        *_libraries(provenance),
        *_machine(provenance),
    ]


def _tables(settings: Settings, provenance: Mapping[str, Any]) -> Iterator[Change]:
    then = provenance["tables"]
    known = [table for table in then if table in settings.tables]
    now = table_contents(settings, known, datetime.fromisoformat(provenance["as_of"]))
    for table, before in then.items():
        after = now.get(table)
        if after is None:
            why = "it is empty now" if table in known else "the table no longer exists"
            yield Change("table", table, f"{why} (it had {before['rows']:,} rows)", "frame")
        elif after["known"] != before["known"]:
            days = changed_days(before["days"], after["days"])
            rows = after["rows"] - before["rows"]
            where = "" if days == ["all"] else f" on {_days(days)}"
            count = (
                f", {abs(rows):,} row{'' if abs(rows) == 1 else 's'} {'more' if rows > 0 else 'fewer'}" if rows else ""
            )
            yield Change("table", table, f"the rows known then are different now{where}{count}", "frame")
        elif after["stored"] != before["stored"]:
            yield Change("table", table, "new rows became known since; the rows known then are unchanged", "nothing")


def _days(days: list[str]) -> str:
    if len(days) <= 3:
        return ", ".join(days)
    return f"{len(days)} days from {days[0]} to {days[-1]}"


def _labels(settings: Settings, model: str, provenance: Mapping[str, Any]) -> Iterator[Change]:
    then, now = provenance["dataset"].get("label_overlay", 0), overlay_version(settings, model)
    if then != now:
        sentence = f"version {then} of the corrections then, {now} now; the earlier version is still available"
        yield Change("labels", model, sentence, "nothing")


def _erasures(settings: Settings, provenance: Mapping[str, Any]) -> Iterator[Change]:
    if provenance.get("erasures") != erasures_now(settings):
        yield Change("erasures", "forgotten", "entities were erased since; their past rows were removed too", "frame")


def _views(settings: Settings, provenance: Mapping[str, Any]) -> Iterator[Change]:
    for view, before in provenance["views"].items():
        if view not in VIEWS:
            yield Change("view", view, "the view no longer exists", "frame")
            continue
        held = state(settings, view)
        if before["query"] != code(view):
            yield Change(
                "view", view, f"its query changed since ({before['query'][:8]}, now {code(view)[:8]})", "frame"
            )
        elif held is None or not held.files:
            yield Change("view", view, "it is empty now; run `headrace run materialize`", "frame")
        elif held.code != before.get("computed_by"):
            yield Change("view", view, "another query computed its rows; run `headrace run materialize`", "frame")


def _on_demand(settings: Settings, provenance: Mapping[str, Any]) -> Iterator[Change]:
    try:
        now = on_demand_code(settings, provenance["feature_service"])
    except FeatureServiceError as error:
        yield Change("on-demand view", provenance["feature_service"], str(error).rstrip("."), "frame")
        return
    for view, before in provenance["on_demand"].items():
        if now.get(view) != before:
            yield Change("on-demand view", view, "its function changed since", "frame")


def _code(settings: Settings, provenance: Mapping[str, Any]) -> Iterator[Change]:
    then, git = provenance["code"], provenance["git"]
    now, present = code_files(settings.root), git_state(settings.root).facts
    differ = sorted(path for path in {*then, *now} if then.get(path) != now.get(path))
    if git["commit"] != present["commit"] or present["dirty"] or git["dirty"]:
        was = f"commit {git['commit'][:10]}{', dirty' if git['dirty'] else ''}"
        is_now = f"{present['commit'][:10]}{', dirty' if present['dirty'] else ''}"
        files = f"{len(differ)} files differ" if differ else "no file that decides a training differs"
        yield Change("code", "commit", f"{was}, now {is_now}; {files}", "nothing")
    if found := [path for path in differ if path in frame_files()]:
        yield Change("code", "of the frame", _listed(found), "frame")
    if found := [path for path in differ if path in fit_files()]:
        yield Change("code", "of the training", _listed(found), "fit")


def _listed(paths: list[str]) -> str:
    more = f" and {len(paths) - 6} more" if len(paths) > 6 else ""
    return f"{', '.join(paths[:6])}{more} changed"


def _libraries(provenance: Mapping[str, Any]) -> Iterator[Change]:
    then, now = provenance["libraries"], library_versions()
    for name in sorted({*then, *now}):
        if then.get(name) != now.get(name):
            sentence = f"{then.get(name) or 'not installed'} then, {now.get(name) or 'not installed'} now"
            yield Change("library", name, sentence, "fit")


def _machine(provenance: Mapping[str, Any]) -> Iterator[Change]:
    now = machine()
    for name, before in provenance["machine"].items():
        if now.get(name) != before:
            yield Change("machine", name, f"{before} then, {now.get(name)} now", "fit")
