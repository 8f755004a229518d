"""Look for what would stop the stack from working, before it does."""

from __future__ import annotations

import importlib.util
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from configs import ConfigError, Settings, load_model, load_settings, model_names
from flows.stack.ports import is_free, owner
from flows.stack.processes import read_record
from flows.stack.services import services

__all__ = ["Check", "examine"]

LEAST_FREE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Check:
    """One thing looked at: ``found`` says what it is like, ``mend`` what to do when it is not ``ok``."""

    name: str
    ok: bool
    found: str
    mend: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Look at everything that the environment needs; each check is yielded as it is made."""
    yield _python()
    yield _packages()
    yield from _configuration(settings)
    yield _disk(settings)
    yield from _ports(settings)
    if settings.databases.kind == "postgresql":
        yield _postgresql(settings)
        yield _redis(settings)
    for name in settings.sources:
        yield _source(settings, name)


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Check("Python", sys.version_info[:2] == (3, 11), version, "use Python 3.11: `uv venv --python 3.11`")


def _packages() -> Check:
    try:
        wanted = metadata.requires("headrace") or []
    except metadata.PackageNotFoundError:
        return Check("packages", False, "the project is not installed", "run `uv sync` (or `pip install -e .`)")
    missing = []
    for line in wanted:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        if name and "extra ==" not in line:
            try:
                metadata.version(name[0])
            except metadata.PackageNotFoundError:
                missing.append(name[0])
    found = f"missing: {', '.join(missing)}" if missing else "all installed"
    return Check("packages", not missing, found, "run `uv sync` (or `pip install -e .`)")


def _configuration(settings: Settings) -> Iterator[Check]:
    files = [("settings", f"configs/{settings.environment}/headrace.yaml")]
    files += [(name, f"configs/models/{name}.yaml") for name in model_names()]
    for name, file in files:
        try:
            _ = load_settings(str(settings.folder)) if name == "settings" else load_model(name)
            yield Check(file, True, "valid")
        except ConfigError as error:
            yield Check(file, False, str(error), "correct the file")
    yield Check(
        "feature_store.yaml",
        settings.feast_yaml.is_file(),
        str(settings.feast_yaml),
        "copy configs/local/feature_store.yaml there",
    )


def _disk(settings: Settings) -> Check:
    folder = next(folder for folder in [settings.home, *settings.home.parents] if folder.is_dir())
    free = shutil.disk_usage(folder).free
    return Check("disk", free >= LEAST_FREE_BYTES, f"{free / 1024**3:.1f} GiB free in {folder}", "free at least 2 GiB")


def _ports(settings: Settings) -> Iterator[Check]:
    for service in services(settings):
        record = read_record(settings, service.name)
        if record and record.process():
            yield Check(f"ports of {service.name}", True, "in use by this stack, which is up")
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
    assert settings.databases.redis is not None
    host, _, rest = settings.databases.redis.get_secret_value().partition(":")
    port = rest.split(",")[0] or "6379"
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except (OSError, ValueError) as error:
        return Check("Redis", False, f"{host}:{port}: {error}", "start it, or correct HEADRACE_REDIS (host:port)")
    return Check("Redis", True, f"{host}:{port} answers")


def _source(settings: Settings, name: str) -> Check:
    source = settings.sources[name]
    title, mend = f"source {name}", f"correct sources.{name} in configs/base.yaml or configs/{settings.environment}/"
    if source.kind == "python":
        module = source.location.partition(":")[0]
        try:
            ok = importlib.util.find_spec(module) is not None
        except ImportError:
            ok = False
        return Check(title, ok, source.location if ok else f"no module {module}", mend)
    if source.kind == "sql":
        import os

        ok = bool(os.environ.get(source.url_env or ""))
        return Check(title, ok, f"{source.url_env} is {'set' if ok else 'not set'}", f"export {source.url_env}=...")
    found = _files(settings, source.location)
    return Check(title, bool(found), f"{len(found)} files at {source.location}", mend)


def _files(settings: Settings, location: str) -> list[Path]:
    path = Path(location) if Path(location).is_absolute() else settings.root / location
    if path.exists():
        return [path]
    return sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
