"""Check for problems that would stop the stack from working."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from configs import Settings, load_model, load_settings, model_names
from configs.errors import HeadraceError
from flows.parameters import check_call
from flows.stack.probing import is_free, owner
from flows.stack.processes import read_record
from flows.stack.services import services

__all__ = ["Check", "examine"]

LEAST_FREE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Check:
    """One check: ``found`` is the state, ``fix`` is what to do if it is not ``ok``."""

    name: str
    ok: bool
    found: str
    fix: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Check everything that the environment needs; each check is yielded when it is done."""
    yield _python()
    yield _packages()
    yield from _configuration(settings)
    yield from _definitions(settings)
    yield from _schedules(settings)
    yield _disk(settings)
    yield from _ports(settings)
    if settings.databases.kind == "postgresql":
        yield _postgresql(settings)
        yield _redis(settings)
    for name in settings.tables:
        yield _source(settings, name)


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Check("Python", sys.version_info[:2] == (3, 11), version, "use Python 3.11: `uv venv --python 3.11`")


def _packages() -> Check:
    try:
        wanted = metadata.requires("headrace") or []
    except metadata.PackageNotFoundError:
        return Check("packages", False, "the project is not installed", "run the install line of the README")
    missing = []
    for line in wanted:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        if name and "extra ==" not in line:
            try:
                metadata.version(name[0])
            except metadata.PackageNotFoundError:
                missing.append(name[0])
    found = f"missing: {', '.join(missing)}" if missing else "all installed"
    return Check("packages", not missing, found, "run the install line of the README")


def _configuration(settings: Settings) -> Iterator[Check]:
    """The files can be read, and each model's file fits the tables and the definitions."""
    from ray_cluster.training.model_check import problems

    file = f"configs/{settings.environment}/headrace.yaml"
    try:
        load_settings(str(settings.folder))
        yield Check(file, True, "valid")
    except HeadraceError as error:
        yield Check(file, False, str(error), "correct the file")
    for name in model_names():
        file = f"configs/models/{name}.yaml"
        try:
            found = problems(settings, load_model(name, str(settings.folder)))
        except HeadraceError as error:
            found = [str(error)]
        yield from [Check(file, False, each, "correct the file") for each in found] or [Check(file, True, "valid")]
    yield Check(
        "feature_store.yaml",
        settings.feast_yaml.is_file(),
        str(settings.feast_yaml),
        "copy configs/local/feature_store.yaml there",
    )


def _definitions(settings: Settings) -> Iterator[Check]:
    """The views fit the tables, and features.py is as it was applied."""
    from feature_repo.definitions.apply import is_current
    from feature_repo.definitions.checks import view_problems
    from feature_repo.definitions.registry_lock import recorded

    file = "feature_repo/features.py"
    try:
        found = list(view_problems(settings))
    except HeadraceError as error:
        found = [str(error)]
    for each in found:
        yield Check(file, False, each, "then run `headrace plan`")
    if recorded(settings.database_url("feast")) is None:
        yield Check(file, True, "not applied yet; `headrace apply` or the first materialization does it")
    elif is_current(settings):
        yield Check(file, True, "applied")
    else:
        yield Check(file, False, "changed since it was applied", "run `headrace plan`, then `headrace apply`")


def _schedules(settings: Settings) -> Iterator[Check]:
    """Each schedule names a flow, arguments that it takes, a model that exists, and a cron time."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    for name, planned in settings.schedules.items():
        try:
            check_call(name, planned.parameters)
            if (model := planned.parameters.get("model")) is not None:
                load_model(str(model), str(settings.folder))
            CronSchedule(cron=planned.cron)
            yield Check(f"schedule {name}", True, planned.cron)
        except HeadraceError as error:
            yield Check(f"schedule {name}", False, str(error), "correct schedules in headrace.yaml")
        except ValidationError:
            found = f"cron = '{planned.cron}' is no cron time; expected five fields, as in '5 2 * * *'"
            yield Check(f"schedule {name}", False, found, "correct schedules in headrace.yaml")


def _disk(settings: Settings) -> Check:
    folder = next(folder for folder in [settings.home, *settings.home.parents] if folder.is_dir())
    free = shutil.disk_usage(folder).free
    return Check("disk", free >= LEAST_FREE_BYTES, f"{free / 1024**3:.1f} GiB free in {folder}", "free at least 2 GiB")


def _ports(settings: Settings) -> Iterator[Check]:
    for service in services(settings):
        record = read_record(settings, service.name)
        if record and record.process():
            yield Check(f"ports of {service.name}", True, "in use by this stack, which is running")
            continue
        taken = [f"{port} by {owner(port)}" for port in service.ports if not is_free(settings.host, port)]
        if service.ports:
            found = f"taken: {', '.join(taken)}" if taken else f"{', '.join(map(str, service.ports))} free"
            yield Check(
                f"ports of {service.name}", not taken, found, "end that process, or set HEADRACE_PORT_OFFSET=100"
            )


def _postgresql(settings: Settings) -> Check:
    import psycopg

    assert settings.databases.postgres_url is not None
    url = settings.databases.postgres_url.get_secret_value().rstrip("/")
    try:
        with psycopg.connect(f"{url}/postgres", connect_timeout=3) as connection:
            version = connection.info.server_version // 10000
    except psycopg.Error as error:
        return Check("PostgreSQL", False, " ".join(str(error).split()), "start it, or correct HEADRACE_POSTGRES_URL")
    return Check("PostgreSQL", True, f"version {version}")


def _redis(settings: Settings) -> Check:
    from redis import Redis, RedisError

    from feature_repo.online.redis_values import redis_address
    from feature_repo.online.values import OnlineError

    assert settings.databases.redis is not None
    try:
        at = redis_address(settings.databases.redis.get_secret_value())
    except OnlineError as error:
        return Check("Redis", False, str(error), "correct HEADRACE_REDIS")
    options = {"socket_timeout": 3.0, "socket_connect_timeout": 3.0, **at.options}
    try:
        with Redis(at.host, at.port, **options) as client:
            memory = client.info("memory")
    except RedisError as error:
        return Check("Redis", False, f"{at}: {error}", "start it, or correct HEADRACE_REDIS (host:port)")
    policy, most = memory.get("maxmemory_policy", "noeviction"), memory.get("maxmemory", 0)
    return Check(
        "Redis",
        not most or policy == "noeviction",
        f"{at} answers; when its memory is full: {policy}",
        "set maxmemory-policy to noeviction: otherwise Redis drops features silently",
    )


def _source(settings: Settings, name: str) -> Check:
    from feature_repo.tables.conditions import ConditionError, prove
    from feature_repo.tables.sources import SourceError, probe

    table = settings.tables[name]
    fix = f"correct configs/tables/{name}.yaml or that of configs/{settings.environment}/"
    try:
        prove(table, name)
        return Check(f"table {name}", True, probe(name, table))
    except (SourceError, ConditionError) as error:
        return Check(f"table {name}", False, str(error), fix)
