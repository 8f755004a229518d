"""The gateway: status of all models over HTTP, and the Prometheus metrics of all nodes in one text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from configs.reading import nearest
from configs.settings import load_settings
from ray_cluster.serving.error_log import log_errors
from ray_cluster.serving.errors import install
from ray_cluster.serving.serve_api import GATEWAY

if TYPE_CHECKING:
    from ray.serve import Application

__all__ = [
    "merge_expositions",
    "Gateway",
    "ModelState",
    "build",
    "gateway_routes",
    "metrics",
    "model_states",
]


def merge_expositions(texts: Iterable[str]) -> str:
    """Merge texts: every metric family once, with its HELP and TYPE from the first text that has it.

    The text format allows one HELP and one TYPE per family and requires its samples to be adjacent
    (Prometheus exposition formats, text-based format 0.0.4).

    >>> print(merge_expositions(['# TYPE up gauge\\nup{node="a"} 1\\n', '# TYPE up gauge\\nup{node="b"} 1\\n']), end="")
    # TYPE up gauge
    up{node="a"} 1
    up{node="b"} 1
    """
    heads: dict[str, dict[str, str]] = {}
    samples: dict[str, list[str]] = {}
    for text in texts:
        family = ""
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                _, kind, family, *_ = line.split(" ", 3)
                heads.setdefault(family, {}).setdefault(kind, line)
                samples.setdefault(family, [])
            elif line and not line.startswith("#"):
                name = line.split("{", 1)[0].split(" ", 1)[0]
                samples.setdefault(family if family and name.startswith(family) else name, []).append(line)
    lines = [line for family, values in samples.items() for line in [*heads.get(family, {}).values(), *values]]
    return "\n".join(lines) + "\n" if lines else ""


#: Seconds for which an answer of the Serve controller is cached.
_FRESH = 0.5


@dataclass(frozen=True)
class ModelState:
    """Serve's status of one model's application, and the number of its replicas that answer requests."""

    status: str
    message: str
    replicas: int

    @property
    def ready(self) -> bool:
        """RUNNING, or in a rollout while replicas continue to answer."""
        return self.status == "RUNNING" or (self.status == "DEPLOYING" and self.replicas > 0)


class Gateway:
    """A replica of the gateway."""

    def __init__(self) -> None:
        from ray.util import get_node_ip_address

        from ray_cluster.cluster.ray_private import keep_on_loopback

        keep_on_loopback(get_node_ip_address())  # type: ignore[no-untyped-call]
        log_errors(load_settings(), GATEWAY)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The ASGI application; Serve calls this once, after the constructor."""
        return gateway_routes(model_states, metrics)


def build(args: dict[str, Any]) -> Application:
    """The gateway's Serve application; takes no arguments."""
    from ray import serve

    deployment: Any = serve.deployment(
        serve.ingress()(Gateway),
        name="Gateway",
        ray_actor_options={"num_cpus": 0.1},
        max_ongoing_requests=64,
        health_check_period_s=5,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=5,
    )
    return cast("Application", deployment.bind())


def gateway_routes(
    states: Callable[[], Awaitable[dict[str, ModelState]]], exposition: Callable[[], Awaitable[str]]
) -> FastAPI:
    """The gateway's HTTP interface to ``states`` (model → state) and ``exposition`` (Prometheus text)."""
    app = FastAPIOffline(title="Headrace", description="Model endpoints", version="1")
    install(app)

    @app.get("/", summary="The models served here")
    async def models() -> JSONResponse:
        listed = {
            name: {
                "status": state.status,
                "url": f"/models/{name}/",
                "predict": f"/models/{name}/predict",
                "docs": f"/models/{name}/docs",
            }
            for name, state in sorted((await states()).items())
        }
        return JSONResponse({"models": listed, "metrics": "/metrics", "docs": "/docs"})

    @app.get("/healthz", summary="The process is running")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Every model answers")
    async def readyz() -> JSONResponse:
        found = await states()
        waiting = {name: f"{state.status} {state.message}".strip() for name, state in found.items() if not state.ready}
        body = {"status": "waiting" if waiting else "ok", "models": sorted(found), "waiting": waiting}
        return JSONResponse(body, status_code=503 if waiting else 200)

    @app.get("/metrics", summary="Prometheus metrics of every node and replica")
    async def prometheus() -> PlainTextResponse:
        return PlainTextResponse(await exposition(), media_type="text/plain; version=0.0.4")

    @app.api_route("/models/{name}", methods=["GET", "POST"], include_in_schema=False)
    @app.api_route("/models/{name}/{rest:path}", methods=["GET", "POST"], include_in_schema=False)
    async def no_model(name: str, rest: str = "") -> None:
        known = sorted(await states())
        raise HTTPException(
            404, f"there is no model '{name[:80]}'.{nearest(name, known)} Served: {', '.join(known) or 'none'}"
        )

    return app


_held: tuple[float, dict[str, ModelState]] = (0.0, {})


async def model_states() -> dict[str, ModelState]:
    """State of every model's application, from the Serve controller; at most half a second old."""
    global _held  # noqa: PLW0603 - one process, one cached answer
    if time.monotonic() - _held[0] > _FRESH:
        _held = (time.monotonic(), await asyncio.to_thread(_ask_controller))
    return _held[1]


def _ask_controller() -> dict[str, ModelState]:
    from ray import serve

    states = {}
    for name, application in serve.status().applications.items():
        if name == GATEWAY:
            continue
        replicas = [
            sum(count for state, count in deployment.replica_states.items() if state in ("RUNNING", "UPDATING"))
            for deployment in application.deployments.values()
        ]
        states[name] = ModelState(str(application.status.value), application.message, min(replicas, default=0))
    return states


async def metrics() -> str:
    """The metrics that Ray exports on each live node, merged; a node that does not answer counts as down."""
    import httpx
    import ray

    nodes = [node for node in await asyncio.to_thread(ray.nodes) if node.get("Alive")]
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:

        async def fetch(node: dict[str, Any]) -> str | None:
            address = node["NodeManagerAddress"]
            host = f"[{address}]" if ":" in address else address
            try:
                answer = await client.get(f"http://{host}:{node['MetricsExportPort']}/metrics")
            except httpx.HTTPError:
                return None
            return answer.text if answer.is_success else None

        texts = await asyncio.gather(*(fetch(node) for node in nodes))
    up = "# HELP headrace_node_up Whether the node's metrics could be read\n# TYPE headrace_node_up gauge\n"
    for node, text in zip(nodes, texts, strict=True):
        up += f'headrace_node_up{{node="{node["NodeManagerAddress"]}"}} {int(text is not None)}\n'
    return merge_expositions([up, *(text for text in texts if text)])
