"""The settings of one environment: ``configs/base.yaml`` with ``configs/<environment>/headrace.yaml`` over it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, SecretStr, field_validator
from pydantic.json_schema import SkipJsonSchema

from configs.promotion import Approval
from configs.reading import ConfigError, Frozen, collected, merge, nearest, raise_all, read_yaml, validated
from configs.table import Table, load_tables
from configs.tuning import Prices

__all__ = [
    "CONFIGS",
    "Databases",
    "Demo",
    "Features",
    "Ports",
    "RaySettings",
    "Schedule",
    "Settings",
    "environment_folder",
    "environments",
    "load_settings",
]

#: The folder of this file; the repository root is its parent.
CONFIGS = Path(__file__).resolve().parent


class Ports(Frozen):
    """TCP ports on ``host``."""

    offset: int = Field(
        0,
        ge=0,
        le=20000,
        description="Added to each port, so that two stacks can run at the same time; or HEADRACE_PORT_OFFSET.",
    )
    prefect: int = Field(description="Prefect's server and UI.")
    mlflow: int = Field(description="MLflow's server and UI.")
    evidently: int = Field(description="Evidently's UI.")
    serve: int = Field(description="The endpoints of Ray Serve.")
    ray: int = Field(description="Ray's head (GCS).")
    ray_dashboard: int = Field(description="Ray's dashboard and jobs API.")
    ray_agent: int = Field(description="Agent of Ray's dashboard on the node.")
    ray_metrics: int = Field(description="Ray's metrics of the node.")
    ray_dashboard_metrics: int = Field(description="Metrics of Ray's dashboard.")
    serve_metrics: int = Field(description="Metrics of HAProxy, in front of the endpoints.")
    serve_stats: int = Field(description="Statistics page of HAProxy.")
    serve_fallback: int = Field(description="Serve's own proxy, which HAProxy uses while a model has no replica.")
    serve_fallback_grpc: int = Field(description="The same proxy for gRPC.")
    serve_replicas: int = Field(description="First of 1000 ports for the replicas behind HAProxy.")

    def __getitem__(self, name: str) -> int:
        return int(getattr(self, name)) + self.offset


class Databases(Frozen):
    """Databases of the servers' state. The URLs contain passwords and are read from the environment only."""

    kind: Literal["embedded", "postgresql"] = Field(
        "embedded",
        description=(
            "`embedded` uses SQLite files under `home`. `postgresql` needs HEADRACE_POSTGRES_URL "
            "(`postgresql://user:password@host:port`) and HEADRACE_REDIS (`host:port`), and creates the databases "
            "`<prefix>_prefect`, `<prefix>_mlflow` and `<prefix>_feast`."
        ),
    )
    prefix: str = Field(
        "headrace",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Prefix of the names of PostgreSQL databases. HEADRACE_DATABASE_PREFIX overrides it.",
    )
    postgres_url: SkipJsonSchema[SecretStr | None] = Field(
        None, description="HEADRACE_POSTGRES_URL; refused in a file."
    )
    redis: SkipJsonSchema[SecretStr | None] = Field(None, description="HEADRACE_REDIS; refused in a file.")


class RaySettings(Frozen):
    """The Ray cluster: one on this machine, or an existing one."""

    address: str | None = Field(
        None,
        description="Address of an existing cluster, `host:port`, which is joined. Null starts one on this machine.",
    )
    num_cpus: float | None = Field(None, gt=0, description="CPUs of the cluster on this machine. Null means all.")
    num_gpus: float = Field(0, ge=0, description="GPUs of the cluster on this machine.")
    object_store_mb: int = Field(400, ge=80, description="Size of Ray's object store on this machine, in MiB.")
    runtime_env: dict[str, Any] = Field({}, description="Ray's runtime environment of every job and replica.")


class Features(Frozen):
    """Settings of computing and materializing feature views."""

    engine: Literal["local", "ray"] = Field(
        "local",
        description="`local`: in the flow's process, one view at a time; `ray`: one Ray task per view, in parallel.",
    )
    memory_limit: str = Field(
        "2GB",
        pattern=r"^[1-9]\d*(\.\d+)? ?(MB|GB|TB|MiB|GiB|TiB)$",
        description="Memory of DuckDB, per view; above it DuckDB spills to files under `home`.",
    )


class Schedule(Frozen):
    """A schedule of one flow."""

    cron: str = Field(description="Cron expression, in UTC.")
    parameters: dict[str, Any] = Field({}, description="Parameters of the flow.")
    active: bool = Field(True, description="Whether the schedule creates runs.")


class Demo(Frozen):
    """The replay of ``headrace demo``: a training, then traffic."""

    model: str = Field(description="The model that is trained and receives the traffic.")
    as_of: AwareDatetime = Field(
        description="The model is trained on what was known at this time; the traffic starts there."
    )
    until: AwareDatetime = Field(description="End of the traffic.")
    moments: Annotated[list[int], Field(min_length=1)] = Field(
        description="Hours of each day (UTC) at which predictions are made."
    )


class Settings(Frozen):
    """Settings that vary between environments. Created by :func:`load_settings`, then passed down."""

    environment: SkipJsonSchema[str] = Field(description="Name of the environment: that of its folder.")
    folder: SkipJsonSchema[Path] = Field(description="Folder of the environment.")
    home: Path = Field(
        description=(
            "Folder of data, databases and logs. A relative one starts at the repository. HEADRACE_HOME overrides it."
        )
    )
    host: str = Field("127.0.0.1", description="Address at which the servers listen: a name or an IPv4 address.")
    clock: AwareDatetime | None = Field(
        None, description="The time that flows take as now. Null means the current time."
    )
    ports: Ports = Field(description="TCP ports of the servers.")
    databases: Databases = Field(description="Databases of the servers' state.")
    ray: RaySettings = Field(description="The Ray cluster.")
    features: Features = Field(Features(), description="Computing and materializing feature views.")
    prices: Prices = Field(Prices(), description="Prices for `cost` in a model's `tuning.budget`.")
    approval: Approval = Field(Approval(), description="Whether a person must approve a new champion.")
    tables: SkipJsonSchema[dict[str, Table]] = Field(description="The raw tables, each from its own file.")
    schedules: dict[str, Schedule] = Field({}, description="Flow: its schedule. `headrace up` serves them.")
    demo: Demo = Field(description="The replay of `headrace demo`.")
    start_timeout: float = Field(120, gt=0, description="Seconds that a server may take to answer.")

    @field_validator("host")
    @classmethod
    def _no_ipv6(cls, host: str) -> str:
        if ":" in host:
            raise ValueError(
                f"'{host}' is an IPv6 address, which Ray's ports do not accept; give a name or an IPv4 address"
            )
        return host

    def now(self) -> datetime:
        """The default ``as_of``: the ``clock`` setting if there is one, else the current time, in UTC."""
        return (self.clock or datetime.now(UTC)).astimezone(UTC)

    def url(self, service: str) -> str:
        """Base address of one of the HTTP services in :class:`Ports`."""
        return f"http://{self.host}:{self.ports[service]}"

    @property
    def one_machine(self) -> bool:
        """Whether only this machine reaches the stack: ``host`` is a loopback address and no cluster is joined."""
        return self.host in ("127.0.0.1", "localhost") and self.ray.address is None

    @property
    def root(self) -> Path:
        """The repository root."""
        return CONFIGS.parent

    @property
    def ray_address(self) -> str:
        """Address of the Ray cluster's GCS, ``host:port``."""
        return self.ray.address or f"{self.host}:{self.ports['ray']}"

    @property
    def feast_yaml(self) -> Path:
        """Feast's own settings file: the environment's, else the default for its kind of databases."""
        own = self.folder / "feature_store.yaml"
        kind = "local" if self.databases.kind == "embedded" else "production"
        return own if own.exists() else CONFIGS / kind / "feature_store.yaml"

    def database_url(self, name: Literal["prefect", "mlflow", "feast"]) -> str:
        """SQLAlchemy URL of one server's database (asynchronous driver for Prefect, which requires it)."""
        if self.databases.kind == "embedded":
            driver = "sqlite+aiosqlite" if name == "prefect" else "sqlite"
            return f"{driver}:///{self.home / 'databases' / f'{name}.db'}"
        assert self.databases.postgres_url is not None
        driver = "postgresql+asyncpg" if name == "prefect" else "postgresql+psycopg"
        server = self.databases.postgres_url.get_secret_value().split("://", 1)[1].rstrip("/")
        return f"{driver}://{server}/{self.databases.prefix}_{name}"

    def variables(self) -> dict[str, str]:
        """Environment variables for child processes and for the tools' own command lines.

        They point Prefect, MLflow, Ray and Feast at this environment, and switch off telemetry
        and update checks of every library in the stack.
        """
        home = self.home
        variables = {
            "HEADRACE_ENV": self.environment if self.folder.parent == CONFIGS else str(self.folder),
            "HEADRACE_HOME": str(home),
            "HEADRACE_ROOT": str(self.root),
            "HEADRACE_PORT_OFFSET": str(self.ports.offset),
            "HEADRACE_DATABASE_PREFIX": self.databases.prefix,
            "HEADRACE_FEATURES": str(home / "features"),
            "HEADRACE_REGISTRY_URL": self.database_url("feast"),
            "FEAST_FS_YAML_FILE_PATH": str(self.feast_yaml),
            "FEAST_USAGE": "false",
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_API_URL": f"{self.url('prefect')}/api",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "feature_repo,ray_cluster",
            "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_API_HOST": self.host,
            "MLFLOW_TRACKING_URI": self.url("mlflow"),
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # bundles are skops and JSON; a pickle can run any code
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "MLFLOW_LOGGING_LEVEL": "WARNING",
            "RAY_AIR_NEW_OUTPUT": "0",
            "RAY_ADDRESS": self.ray_address,
            "RAY_API_SERVER_ADDRESS": self.url("ray_dashboard"),
            "RAY_DASHBOARD_ADDRESS": self.url("ray_dashboard"),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray replaces a loopback address by one that other machines can reach, unless its clusters are limited to
            # one machine, as they are by default on macOS and Windows.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0" if self.one_machine else "1",
            "DO_NOT_TRACK": "1",
        }
        if self.databases.redis is not None:
            variables["HEADRACE_REDIS"] = self.databases.redis.get_secret_value()
        if self.databases.postgres_url is not None:
            variables["HEADRACE_POSTGRES_URL"] = self.databases.postgres_url.get_secret_value()
        return variables


def environments() -> list[str]:
    """Names of the environments that have a folder with a ``headrace.yaml`` under ``configs/``."""
    return sorted(path.parent.name for path in CONFIGS.glob("*/headrace.yaml"))


def environment_folder(environment: str | None = None, variables: Mapping[str, str] | None = None) -> Path:
    """Folder of an environment, by name (under ``configs/``) or by path; default HEADRACE_ENV, else ``local``.

    Raises:
        ConfigError: there is none; the message has the nearest name.
    """
    variables = os.environ if variables is None else variables
    name = environment or variables.get("HEADRACE_ENV") or "local"
    folder = Path(name).resolve() if os.sep in name else CONFIGS / name
    if not (folder / "headrace.yaml").is_file():
        raise ConfigError(
            f"There is no environment '{name}'.{nearest(name, environments())} "
            f"Known: {', '.join(environments())} (a folder with headrace.yaml, under configs/ or at a given path)."
        )
    return folder


def load_settings(environment: str | None = None, variables: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of one environment.

    Args:
        environment: its name or folder; default the variable HEADRACE_ENV, else ``local``.
        variables: used instead of ``os.environ``. HEADRACE_HOME, HEADRACE_PORT_OFFSET, HEADRACE_POSTGRES_URL,
            HEADRACE_REDIS and HEADRACE_DATABASE_PREFIX override the files.

    Raises:
        ConfigError: unknown environment; or unknown keys and invalid values, of the environment and of all tables.
    """
    variables = os.environ if variables is None else variables
    folder = environment_folder(environment, variables)
    name = folder.name
    files = [CONFIGS / "base.yaml", folder / "headrace.yaml"]
    content = merge(read_yaml(files[0]), read_yaml(files[1]))
    written = content.get("databases")
    for key, variable in (("postgres_url", "HEADRACE_POSTGRES_URL"), ("redis", "HEADRACE_REDIS")):
        if isinstance(written, Mapping) and key in written:
            raise ConfigError(
                f"{name}/headrace.yaml: databases.{key} may contain a password; remove it and set {variable}."
            )
    if "tables" in content:
        raise ConfigError(
            f"{name}/headrace.yaml: 'tables' are separate files; write configs/tables/<name>.yaml, or "
            f"{name}/tables/<name>.yaml for this environment only."
        )
    overrides: dict[str, Any] = {"environment": name, "folder": folder}
    if offset := variables.get("HEADRACE_PORT_OFFSET"):
        overrides["ports"] = {"offset": offset}
    databases = {
        key: variables[variable]
        for key, variable in (
            ("postgres_url", "HEADRACE_POSTGRES_URL"),
            ("redis", "HEADRACE_REDIS"),
            ("prefix", "HEADRACE_DATABASE_PREFIX"),
        )
        if variables.get(variable)
    }
    content = merge(content, merge(overrides, {"databases": databases}))
    home = Path(variables.get("HEADRACE_HOME") or content.get("home") or ".headrace")
    content["home"] = home if home.is_absolute() else CONFIGS.parent / home
    problems: list[ConfigError] = []
    content["tables"] = {}
    with collected(problems):
        content["tables"] = load_tables(CONFIGS / "tables", folder / "tables")
    with collected(problems):
        settings = validated(Settings, content, " + ".join(f"{path.parent.name}/{path.name}" for path in files))
    raise_all(problems)
    if settings.databases.kind == "postgresql":
        for variable, value in (
            ("HEADRACE_POSTGRES_URL", settings.databases.postgres_url),
            ("HEADRACE_REDIS", settings.databases.redis),
        ):
            if value is None:
                raise ConfigError(
                    f"Environment '{name}' keeps its state in PostgreSQL and Redis: set {variable} "
                    "(postgresql://user:password@host:port and host:port)."
                )
        url = settings.databases.postgres_url
        if url is not None and not re.fullmatch(r"postgres(ql)?://[^/]+/?", url.get_secret_value()):
            raise ConfigError(
                "HEADRACE_POSTGRES_URL is not of the form postgresql://user:password@host:port, without a database's "
                "name at the end; correct it."
            )
    return settings
