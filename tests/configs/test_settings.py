"""Settings of an environment: overlays, ports, databases, and passwords that nothing shows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import ConfigError, load_settings
from configs.settings import CONFIGS, Ports, Settings, environments

SECRET = "p4ssw0rd-of-nobody"
SERVERS = {
    "HEADRACE_POSTGRES_URL": f"postgresql://team:{SECRET}@db.example.org:5432",
    "HEADRACE_REDIS": f"cache.example.org:6379,password={SECRET}",
}


def environment(folder: Path, text: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "headrace.yaml").write_text(text)
    return str(folder)


def test_both_environments_load() -> None:
    assert environments() == ["local", "production"]
    local, production = load_settings("local", {}), load_settings("production", SERVERS)
    assert local.databases.kind == "embedded" and production.databases.kind == "postgresql"
    assert local.tables == production.tables and local.tables["flights"].key == ["flight_id"]
    assert local.home == CONFIGS.parent / ".headrace"
    assert load_settings(None, {}) == local
    assert load_settings(None, {"HEADRACE_ENV": "production", **SERVERS}) == production


def test_an_unknown_environment_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no environment 'prodution'. Did you mean 'production'\?") as caught:
        load_settings("prodution", {})
    assert "Known: local, production" in str(caught.value)


def test_an_environment_may_lie_anywhere_and_is_merged_over_the_base(tmp_path: Path) -> None:
    name = environment(tmp_path / "acme", "ports: { serve: 9000 }\nray: { num_cpus: 8 }\nhost: 10.0.0.1\n")
    found = load_settings(name, {})
    assert (found.environment, found.folder) == ("acme", tmp_path / "acme")
    assert found.ports["serve"] == 9000 and found.ports["mlflow"] == 5000  # merged key by key
    assert found.ray.num_cpus == 8 and found.ray.object_store_mb == 400
    assert found.url("serve") == "http://10.0.0.1:9000"
    assert found.feast_yaml == CONFIGS / "local" / "feature_store.yaml"
    assert found.variables()["HEADRACE_ENV"] == name
    assert load_settings(None, found.variables()) == found  # what a child process is given leads to the same settings
    (tmp_path / "acme" / "feature_store.yaml").write_text("project: acme")
    assert found.feast_yaml == tmp_path / "acme" / "feature_store.yaml"


def test_an_ipv6_host_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'::1' is an IPv6 address"):
        load_settings(environment(tmp_path / "acme", 'host: "::1"\n'), {})


def test_the_problems_of_an_environment_and_of_its_tables_are_reported_at_once(tmp_path: Path) -> None:
    name = environment(tmp_path / "acme", "host: '::1'\nray: { num_cpu: 2 }\n")
    (tmp_path / "acme" / "tables").mkdir()
    (tmp_path / "acme" / "tables" / "flights.yaml").write_text("gates: { rows: -1 }")
    with pytest.raises(ConfigError) as caught:
        load_settings(name, {})
    first, second, *rest = str(caught.value).splitlines()
    assert first.startswith("configs/tables/flights.yaml + acme/tables/flights.yaml: gates.rows = -1")
    assert second == "configs/base.yaml + acme/headrace.yaml: 2 problems." and len(rest) == 2


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings("local", {}).host = "0.0.0.0"  # type: ignore[misc]


@given(st.integers(0, 20000))
def test_the_offset_moves_every_port_alike(offset: int) -> None:
    plain, moved = load_settings("local", {}), load_settings("local", {"HEADRACE_PORT_OFFSET": str(offset)})
    for name in set(Ports.model_fields) - {"offset"}:
        assert moved.ports[name] == plain.ports[name] + offset
        assert plain.ports[name] == getattr(plain.ports, name)
    assert moved.url("serve").endswith(str(8000 + offset))
    assert moved.ray_address == f"127.0.0.1:{6380 + offset}"


@pytest.mark.parametrize("offset", ["-1", "20001", "many"])
def test_an_offset_out_of_range_is_refused(offset: str) -> None:
    with pytest.raises(ConfigError, match=r"ports\.offset = "):
        load_settings("local", {"HEADRACE_PORT_OFFSET": offset})


def test_ports_of_one_stack_differ() -> None:
    found = load_settings("local", {})
    ports = [found.ports[name] for name in set(Ports.model_fields) - {"offset"}]
    assert len(set(ports)) == len(ports)


def test_home_from_the_environment(tmp_path: Path) -> None:
    assert load_settings("local", {"HEADRACE_HOME": str(tmp_path)}).home == tmp_path
    assert load_settings("local", {"HEADRACE_HOME": "elsewhere"}).home == CONFIGS.parent / "elsewhere"


def test_an_existing_cluster_is_joined_by_its_address(tmp_path: Path) -> None:
    name = environment(tmp_path / "gpu", "ray: { address: 'ray-head:6379', num_gpus: 4 }")
    assert load_settings(name, {}).ray_address == "ray-head:6379"


def test_the_clock_stands_in_for_the_present(tmp_path: Path) -> None:
    assert load_settings("local", {}).now() == datetime(2013, 12, 17, tzinfo=UTC)
    real = load_settings(environment(tmp_path / "real", ""), {})
    assert real.clock is None
    before = datetime.now(UTC)
    assert before <= real.now() <= datetime.now(UTC)
    with pytest.raises(ConfigError, match="clock = "):
        load_settings(environment(tmp_path / "naive", "clock: '2013-12-17T00:00:00'"), {})


def test_embedded_databases_are_files_under_home(tmp_path: Path) -> None:
    found = load_settings("local", {"HEADRACE_HOME": str(tmp_path)})
    assert found.database_url("mlflow") == f"sqlite:///{tmp_path}/databases/mlflow.db"
    assert found.database_url("prefect") == f"sqlite+aiosqlite:///{tmp_path}/databases/prefect.db"


def test_postgresql_has_one_database_for_each_server() -> None:
    found = load_settings("production", {**SERVERS, "HEADRACE_DATABASE_PREFIX": "acme"})
    server = f"team:{SECRET}@db.example.org:5432"
    assert found.database_url("mlflow") == f"postgresql+psycopg://{server}/acme_mlflow"
    assert found.database_url("prefect") == f"postgresql+asyncpg://{server}/acme_prefect"
    assert found.feast_yaml == CONFIGS / "production" / "feature_store.yaml"
    assert found.variables()["HEADRACE_REGISTRY_URL"] == found.database_url("feast")
    assert load_settings("production", found.variables()) == found


@pytest.mark.parametrize("missing", list(SERVERS))
def test_production_without_its_servers_is_refused(missing: str) -> None:
    with pytest.raises(ConfigError, match=f"set {missing} ") as caught:
        load_settings("production", {name: value for name, value in SERVERS.items() if name != missing})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", [f"team:{SECRET}@db:5432", f"postgresql://team:{SECRET}@db/headrace", "nonsense"])
def test_a_server_address_of_another_form_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="HEADRACE_POSTGRES_URL is not of the form") as caught:
        load_settings("production", {**SERVERS, "HEADRACE_POSTGRES_URL": url})
    assert SECRET not in str(caught.value)


def everything_shown(settings: Settings) -> Any:
    yield from (repr(settings), str(settings), f"{settings}", repr(settings.databases), settings.model_dump_json())
    yield from (str(settings.model_dump()), str(settings.model_dump(mode="json")), repr(vars(settings)))
    yield str(settings.model_json_schema())


def test_passwords_are_never_shown() -> None:
    for text in everything_shown(load_settings("production", SERVERS)):
        assert SECRET not in text
    assert SECRET in load_settings("production", SERVERS).variables()["HEADRACE_POSTGRES_URL"]  # where it is needed


@pytest.mark.parametrize("key", ["postgres_url", "redis"])
def test_passwords_are_not_taken_from_files(tmp_path: Path, key: str) -> None:
    name = environment(tmp_path / "leaky", f"databases: {{ kind: postgresql, {key}: '{SECRET}' }}")
    with pytest.raises(ConfigError, match=f"databases.{key} may contain a password") as caught:
        load_settings(name, SERVERS)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("offset", ["x", "0"])
def test_no_error_repeats_a_password(tmp_path: Path, offset: str) -> None:
    name = environment(tmp_path / "odd", "databases: { kind: postgresql, prefix: 'Not Lower' }\nports: 7\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(name, {**SERVERS, "HEADRACE_PORT_OFFSET": offset})
    assert SECRET not in str(caught.value)


def test_telemetry_is_off_in_every_child_process() -> None:
    found = load_settings("local", {}).variables()
    off = {"FEAST_USAGE": "false", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    off |= {"RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1"}
    assert off.items() <= found.items()
