"""Ray Serve's declarative configuration: created from settings and models, stored as YAML, sent to the dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from configs.errors import HeadraceError
from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.storage.files import write_text
from ray_cluster.serving.app import DEPLOYMENT, AppArgs

__all__ = [
    "GATEWAY",
    "ServeError",
    "application",
    "configuration",
    "details",
    "facts_of",
    "keep",
    "put",
    "shared_variables",
]

#: The name of the gateway's application; no model's name has a hyphen.
GATEWAY = "headrace-gateway"


class ServeError(HeadraceError, RuntimeError):
    """A request to Ray Serve failed; the message says which, and where to find the cause."""


def shared_variables(settings: Settings) -> dict[str, str]:
    """The replicas' environment variables in Serve's configuration: all of ``settings.variables()`` with no secret.

    Serve shows an application's environment in its dashboard. Replicas get passwords from the environment in which Ray
    was started.
    """
    databases = settings.databases
    secrets = [each.get_secret_value() for each in (databases.postgres_url, databases.redis) if each is not None]
    secrets += [each.split("://", 1)[-1].rstrip("/") for each in secrets]
    return {
        name: value
        for name, value in settings.variables().items()
        if name != "RAY_ADDRESS" and not any(secret in value for secret in secrets)
    }


def application(settings: Settings, spec: ModelSpec, version: int, **paths: str) -> dict[str, Any]:
    """One model's entry in the configuration; ``paths`` may replace the ``reader`` and ``loader`` of its AppArgs."""
    return {
        "name": spec.name,
        "route_prefix": f"/models/{spec.name}",
        "import_path": "ray_cluster.serving.app:build",
        "runtime_env": _runtime_env(settings),
        "args": AppArgs.of(spec, **paths).model_dump(mode="json"),
        "deployments": [
            {
                "name": DEPLOYMENT,
                "num_replicas": spec.serving.replicas,
                "max_queued_requests": spec.serving.max_queued_requests,
                "ray_actor_options": {"num_cpus": spec.serving.cpus_per_replica},
                "user_config": {"version": version},
            }
        ],
    }


def _gateway(settings: Settings) -> dict[str, Any]:
    return {
        "name": GATEWAY,
        "route_prefix": "/",
        "import_path": "ray_cluster.serving.gateway:build",
        "runtime_env": _runtime_env(settings),
    }


def _runtime_env(settings: Settings) -> dict[str, Any]:
    environment = dict(settings.ray.runtime_env)
    return {**environment, "env_vars": {**environment.get("env_vars", {}), **shared_variables(settings)}}


def configuration(settings: Settings, applications: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The whole configuration: HTTP options, the gateway, and ``applications`` by name."""
    others = [dict(each) for name, each in sorted(applications.items()) if name != GATEWAY]
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": settings.host, "port": settings.ports["serve"], "request_timeout_s": 60},
        "applications": [_gateway(settings), *others],
    }


def details(settings: Settings, timeout: float = 30) -> dict[str, Any]:
    """The applications of Serve: application name → its entry in the dashboard's response.

    Raises:
        ServeError: the dashboard does not answer.
    """
    import httpx

    url = f"{settings.url('ray_dashboard')}/api/serve/applications/"
    try:
        answer = httpx.get(url, timeout=timeout, trust_env=False)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json().get("applications", {})
    except (httpx.HTTPError, ValueError) as error:
        raise ServeError(
            f"Ray's dashboard at {url} gave no answer ({error}); start the stack with `headrace up`."
        ) from None
    return found


def facts_of(settings: Settings, model: str) -> dict[str, Any] | None:
    """The endpoint's own facts, or None. Each call opens a new connection, so that any replica may answer."""
    import httpx

    try:
        answer = httpx.get(f"{settings.url('serve')}/models/{model}/", timeout=3, trust_env=False)
        content: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError):
        return None
    return content if answer.is_success and content.get("name") == model else None


def put(settings: Settings, config: Mapping[str, Any]) -> None:
    """Send the configuration to Serve, which starts new applications, updates changed ones and stops missing ones.

    Raises:
        ServeError: the dashboard does not answer, or Serve refuses the configuration.
    """
    import httpx

    url = f"{settings.url('ray_dashboard')}/api/serve/applications/"
    try:
        answer = httpx.put(url, json=config, timeout=settings.start_timeout, trust_env=False)
    except httpx.HTTPError as error:
        raise ServeError(
            f"Ray's dashboard at {url} did not take the configuration ({type(error).__name__}: {error}); "
            "see `headrace status`."
        ) from None
    if not answer.is_success:
        raise ServeError(f"Ray Serve refused the configuration: {last_line(answer.text)} (HTTP {answer.status_code}).")


def keep(settings: Settings, config: Mapping[str, Any]) -> None:
    """Write the configuration to ``serve/config.yaml`` under home, atomically; ``serve deploy`` can read it."""
    path = settings.home / "serve" / "config.yaml"
    comment = "# Written by every deploy; `serve deploy` and `serve status` work with it.\n"
    write_text(path, comment + yaml.safe_dump(dict(config), sort_keys=False))


def last_line(text: str) -> str:
    """The last non-empty line of a traceback or message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500].rstrip(".") if lines else "no reason given"
