"""What is live: rows for people, gathered from each server; a server that is down leaves a note, not an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from configs.settings import Settings
from flows.stack.probing import request
from flows.stack.stack import health

__all__ = ["Section", "sections"]


@dataclass(frozen=True)
class Section:
    """A table: its title, its columns and rows; ``note`` says why there are none."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str = ""


def sections(settings: Settings) -> list[Section]:
    """Services, models, features and flow runs, in that order."""
    first = _services(settings)
    models = ("model", "version", "aliases", "live version", "endpoint")
    ready = {row[0] for row in first.rows if row[1] == "ready"}
    return [
        first,
        _tried("Models", models, _models, settings, "mlflow" in ready),
        _tried("Features", ("view", "rows", "latest event", "online until"), _features, settings, True),
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
        return Section(title, columns, [], "the server is not up: run `headrace up`")
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
    from feature_repo.store import freshness

    return [
        (state.view, f"{state.rows:,}", state.latest_event or "", state.online_until or "never")
        for state in freshness(settings)
    ]


def _runs(settings: Settings) -> list[tuple[str, ...]]:
    content = {"sort": "START_TIME_DESC", "limit": 10, "flow_runs": {"start_time": {"is_null_": False}}}
    _, runs = request("POST", f"{settings.url('prefect')}/api/flow_runs/filter", content)
    return [
        (run["name"], run["state_name"] or "", (run["start_time"] or "")[:19], f"{run['total_run_time']:.1f}")
        for run in runs
    ]
