"""Status of the stack: tables gathered from each server; a server that is down adds a note, not an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from configs.settings import Settings
from flows.stack.probing import request
from flows.stack.servers import health

__all__ = ["Section", "sections"]

_DAY = 86400
#: ``age`` is that of the newest online value; a view is stale if it is older than its TTL, because all values are then.
_VIEW = ("view", "rows", "latest event", "online as of", "TTL", "age", "state")


@dataclass(frozen=True)
class Section:
    """A table: its title, its columns and rows; ``note`` says why there are no rows."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str = ""


def sections(settings: Settings) -> list[Section]:
    """Services, models, features, parity and flow runs, in that order."""
    first = _services(settings)
    models = ("model", "version", "aliases", "live version", "endpoint")
    ready = {row[0] for row in first.rows if row[1] == "ready"}
    return [
        first,
        _tried("Models", models, _models, settings, "mlflow" in ready),
        _tried("Features", _VIEW, _features, settings, True),
        _tried("Parity", ("model", "as of", "predictions", "equal values", "worst feature"), _parity, settings, True),
        _tried("Last flow runs", ("flow run", "state", "started", "seconds"), _runs, settings, "prefect" in ready),
    ]


def _tried(
    title: str,
    columns: tuple[str, ...],
    gather: Callable[[Settings], list[tuple[str, ...]]],
    settings: Settings,
    possible: bool,
) -> Section:
    if not possible:
        return Section(title, columns, [], "the server is not running: run `headrace up`")
    try:
        rows = gather(settings)
    except Exception as error:
        return Section(title, columns, [], f"cannot be read: {' '.join(str(error).split())[:200]}")
    return Section(title, columns, rows, "" if rows else "none yet")


def _services(settings: Settings) -> Section:
    rows: list[tuple[str, ...]] = []
    for each in health(settings):
        memory = f"{each.memory / 1024**2:.0f} MB" if each.pid else ""
        rows.append((each.service.name, each.state, str(each.pid or ""), memory, each.service.address))
    return Section("Services", ("service", "state", "process", "memory", "address"), rows)


def _models(settings: Settings) -> list[tuple[str, ...]]:
    from configs import model_names
    from ray_cluster.registry import versions
    from ray_cluster.serving.rollout import live

    running = live(settings)
    rows: list[tuple[str, ...]] = []
    for model in model_names():
        endpoint = running.get(model, {})
        answers = f"{endpoint['status'].lower()}, {endpoint['replicas']} replicas" if endpoint else "not deployed"
        known = versions(settings, model)
        for facts in known:
            here = facts.version == endpoint.get("version")
            marks = ("live", answers) if here else ("", "")
            rows.append((model, str(facts.version), ", ".join(facts.aliases), *marks))
        if not known:
            rows.append((model, "none", "", "", answers))
    return rows


def _features(settings: Settings) -> list[tuple[str, ...]]:
    from configs.durations import in_words
    from feature_repo.materialization.view_files import freshness
    from feature_repo.online import open_values
    from feature_repo.online.layout import layouts

    states = freshness(settings)
    if not states:
        return []
    known, now = layouts(settings), settings.now()
    held = [(state, known.get(state.view)) for state in states]
    store = open_values(settings)
    try:
        marks = store.known_until([layout for _, layout in held if layout])
    finally:
        store.close()
    rows: list[tuple[str, ...]] = []
    for state, layout in held:
        until = _time(state.online_until)
        newest = min((time for time in (_time(state.latest_event), until) if time), default=None)
        age = (now - newest).total_seconds() if until and newest else None
        ttl = layout.ttl if layout else 0.0
        said = "never" if until is None or age is None else "stale" if ttl and age > ttl else "fresh"
        if age is not None and age < 0:  # a replay went past the settings' clock
            age, said = None, "ahead"
        mark = marks.get(state.view)
        if layout is None:
            said = "not in features.py"
        elif mark != until:
            said += f"; the online store says {_minutes(mark) if mark else 'never'}"
        rows.append(
            (
                state.view,
                f"{state.rows:,}",
                _minutes(_time(state.latest_event)),
                _minutes(until) or "never",
                in_words(ttl) if ttl else "none",
                "" if age is None else in_words(age if age < 10 * _DAY else age // _DAY * _DAY),
                said,
            )
        )
    return rows


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _minutes(time: datetime | None) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}" if time else ""


def _parity(settings: Settings) -> list[tuple[str, ...]]:
    from configs import model_names
    from ray_cluster.parity.check import newest

    rows: list[tuple[str, ...]] = []
    for model in model_names():
        result = newest(settings, model, datetime.max.replace(tzinfo=UTC))  # also from a replay past the clock
        if result:
            worst = result["features"][0]
            cause = next(iter(worst["causes"]), "")
            shown = f"{worst['feature']} {worst['share']:.2%}, {cause}" if cause else "none differs"
            made = _minutes(_time(result["as_of"]))
            rows.append((model, made, f"{result['rows']:,}", f"{result['share']:.3%}", shown))
    return rows


def _runs(settings: Settings) -> list[tuple[str, ...]]:
    begun = {"start_time": {"is_null_": False}, "parent_task_run_id": {"is_null_": True}}  # the steps of a flow are not
    content = {"sort": "START_TIME_DESC", "limit": 10, "flow_runs": begun}
    _, runs = request("POST", f"{settings.url('prefect')}/api/flow_runs/filter", content)
    return [
        (run["name"], run["state_name"] or "", (run["start_time"] or "")[:19], f"{run['total_run_time']:.1f}")
        for run in runs
    ]
