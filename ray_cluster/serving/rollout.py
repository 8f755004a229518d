"""Smoke-test a live endpoint over HTTP, and roll versions out, back and off."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.frames.expired_values import check_model
from feature_repo.storage.files import locked
from ray_cluster.serving.serve_api import (
    GATEWAY,
    ServeError,
    application,
    configuration,
    details,
    facts_of,
    keep,
    last_line,
    put,
)

__all__ = [
    "SMOKE_TEST",
    "smoke_test",
    "Rollout",
    "ServeError",
    "deploy",
    "live",
    "restore",
    "undeploy",
]

#: The id of smoke tests in the log, unless the id is an entity or field; monitoring ignores them.
SMOKE_TEST = "smoke test"


def smoke_test(
    settings: Settings, spec: ModelSpec, row: Mapping[str, Any], version: int | None = None
) -> dict[str, Any]:
    """Send the live endpoint one valid request, and one that it must refuse.

    Args:
        row: fields of a request; times may be datetimes, and NaN means null.
        version: the version that must answer; default: the one that the endpoint reports.

    Returns:
        ``{"model", "version", "probability", "decision", "status", "milliseconds", "refusal"}``; probability and
        decision are None where the model abstained, as its YAML may specify for expired features.

    Raises:
        ServeError: the endpoint does not answer, or its response is not the expected one.
    """
    import httpx

    from ray_cluster.serving.predictor import plain

    url = f"{settings.url('serve')}/models/{spec.name}/predict"
    expected = version if version is not None else (facts_of(settings, spec.name) or {}).get("version")
    content = {name: plain(value) for name, value in row.items()}
    if spec.requests.id not in spec.requests.inputs:
        content[spec.requests.id] = SMOKE_TEST
    wrong = {**content, "no_such_field": 1}
    try:
        with httpx.Client(timeout=30, trust_env=False) as client:
            started = time.monotonic()
            good = client.post(url, json=content)
            milliseconds = (time.monotonic() - started) * 1000
            bad = client.post(url, json=wrong)
    except httpx.HTTPError as error:
        raise ServeError(f"Smoke test of {spec.name}: {url} gave no answer ({error}); see `headrace status`.") from None
    if good.status_code != 200:
        raise ServeError(f"Smoke test of {spec.name}: expected HTTP 200, got {good.status_code}: {good.text[:500]}")
    answer = good.json()
    if answer["status"] != "abstained" and not 0 <= answer["probability"] <= 1:
        raise ServeError(f"Smoke test of {spec.name}: probability {answer['probability']} is outside [0, 1].")
    if answer["version"] != expected:
        raise ServeError(f"Smoke test of {spec.name}: version {answer['version']} answered, expected {expected}.")
    if bad.status_code != 422:
        raise ServeError(f"Smoke test of {spec.name}: a request with an unknown field got {bad.status_code}, not 422.")
    return {
        "model": spec.name,
        "version": answer["version"],
        "probability": answer["probability"],
        "decision": answer["decision"],
        "status": answer["status"],
        "milliseconds": round(milliseconds, 1),
        "refusal": bad.json()["detail"],
    }


#: Seconds between two checks of a rollout.
_POLL = 0.25


@dataclass(frozen=True)
class Rollout:
    """Result of a deploy. ``previous`` is the version that answered before, None for a new application."""

    model: str
    version: int
    previous: int | None
    action: Literal["deployed", "unchanged"]
    seconds: float
    url: str


def deploy(
    settings: Settings,
    spec: ModelSpec,
    version: int,
    *,
    reader: str | None = None,
    loader: str | None = None,
    timeout: float | None = None,
) -> Rollout:
    """Make ``version`` answer at ``/models/<name>`` and wait until every replica does.

    Nothing is changed if it already answers with the same configuration. If the version is refused or does not start,
    the previous configuration is restored; the old version answers throughout.

    Args:
        reader, loader: import paths that replace those of :class:`ray_cluster.serving.app.AppArgs`.
        timeout: seconds to wait; default ``settings.start_timeout``.

    Raises:
        ServeError: the stack is not running, Serve refuses, or the version does not answer in time.
        ConfigError: the model's ``expired`` names a view or feature that its feature service does not have.
    """
    started = time.monotonic()
    check_model(settings, spec)
    paths = {name: path for name, path in (("reader", reader), ("loader", loader)) if path is not None}
    with locked(settings.home, "serve"):
        running = details(settings)
        wanted = application(settings, spec, version, **paths)
        mine = running.get(spec.name)
        before = facts_of(settings, spec.name) if mine else None
        previous = before["version"] if before else None
        url = f"{settings.url('serve')}/models/{spec.name}"
        healthy = mine is not None and mine["status"] == "RUNNING" and not (before or {}).get("refused")
        if mine and healthy and previous == version and GATEWAY in running and _same(mine, wanted):
            return Rollout(spec.name, version, previous, "unchanged", time.monotonic() - started, url)
        applications = _declared(running)
        config = configuration(settings, {**applications, spec.name: wanted})
        put(settings, config)
        try:
            _wait(settings, spec, version, started + (timeout or settings.start_timeout))
        except ServeError:
            put(settings, configuration(settings, applications))
            raise
        keep(settings, config)
    return Rollout(spec.name, version, previous, "deployed", time.monotonic() - started, url)


def undeploy(settings: Settings, model: str) -> bool:
    """Remove a model's application; False if there was none."""
    with locked(settings.home, "serve"):
        applications = _declared(details(settings))
        found = applications.pop(model, None) is not None
        if found:
            config = configuration(settings, applications)
            put(settings, config)
            keep(settings, config)
    return found


def restore(settings: Settings) -> list[str]:
    """Send the stored configuration again, as after a restart of Ray; returns the names of its models.

    Applications that are already running are not changed. Does not wait until the applications run.
    """
    path = settings.home / "serve" / "config.yaml"
    with locked(settings.home, "serve"):
        kept = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
        applications = {each["name"]: each for each in kept.get("applications", [])} | _declared(details(settings))
        put(settings, configuration(settings, applications))
    return sorted(name for name in applications if name != GATEWAY)


def live(settings: Settings) -> dict[str, dict[str, Any]]:
    """Live models: model → status, message, version, threshold, replicas, refused, url. Empty if Serve is down."""
    try:
        running = details(settings, timeout=3)
    except ServeError:
        return {}
    found = {}
    for name, each in sorted(running.items()):
        if name == GATEWAY:
            continue
        facts = facts_of(settings, name) or {}
        replicas = [
            replica["state"] for deployment in each["deployments"].values() for replica in deployment["replicas"]
        ]
        found[name] = {
            "status": each["status"],
            "message": last_line(each["message"]) if each["message"] else "",
            "version": facts.get("version"),
            "threshold": facts.get("threshold"),
            "refused": facts.get("refused"),
            "replicas": replicas.count("RUNNING"),
            "url": f"{settings.url('serve')}/models/{name}",
        }
    return found


def _wait(settings: Settings, spec: ModelSpec, version: int, deadline: float) -> None:
    """Wait until Serve reports RUNNING and, for twice as many responses as replicas, ``version``."""
    needed, seen, status, message = 2 * spec.serving.replicas, 0, "NOT_STARTED", ""
    while time.monotonic() < deadline:
        entry = details(settings).get(spec.name)
        status, message = (entry["status"], entry["message"]) if entry else ("NOT_STARTED", "")
        if status in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise ServeError(f"Version {version} of {spec.name} did not start ({status}): {last_line(message)}.")
        while status == "RUNNING" and time.monotonic() < deadline:
            facts = facts_of(settings, spec.name)
            refused = (facts or {}).get("refused")
            if refused and refused["version"] == version:
                raise ServeError(f"Version {version} of {spec.name} was refused: {refused['reason'].rstrip('.')}.")
            if not facts or facts["version"] != version:
                seen = 0
                break
            seen += 1
            if seen >= needed:
                return
        time.sleep(_POLL)
    said = f": {last_line(message)}" if message else ""
    raise ServeError(
        f"Version {version} of {spec.name} did not answer in time (Serve says {status}{said}); "
        "see the Serve page of Ray's dashboard."
    )


def _declared(running: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The configurations of the running applications, by name, as they were sent."""
    return {
        name: each["deployed_app_config"]
        for name, each in running.items()
        if each.get("deployed_app_config") and each["status"] != "DELETING"
    }


def _same(running: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether an application runs exactly the wanted configuration; Serve returns the configuration as it was sent."""
    declared = running.get("deployed_app_config") or {}
    return all(declared.get(key) == value for key, value in wanted.items())
