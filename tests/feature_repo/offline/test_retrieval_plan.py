"""Every engine against the rule read literally, over random histories."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from feature_repo.offline.entity_rows import KeyTypeError
from feature_repo.offline.offline_store import AsofOfflineStore
from feature_repo.transforms.age import age_feature
from ray_cluster.cluster.ray_offline_store import RayAsofOfflineStore
from tests.feature_repo.offline.histories import FEATURES, NANOS, Case, Row, ViewCase, cases, config, registry

#: Engine and its settings; a limit of one byte splits every view into as many parts as there may be.
ENGINES: dict[str, tuple[type[AsofOfflineStore], dict[str, Any]]] = {
    "embedded": (AsofOfflineStore, {}),
    "partitioned": (AsofOfflineStore, {"memory_limit": "400"}),
    "ray": (RayAsofOfflineStore, {"parallelism": 4}),
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 * 10**6)
    yield
    ray.shutdown()


def check(engine: str, case: Case, root: Any) -> None:
    views = [each.write(root) for each in case.views]
    refs = [f"{view.name}:{name}" for view in views for name in (age_feature(view.name), *FEATURES)]
    requests = case.requests()
    store, options = ENGINES[engine]
    job = store.get_historical_features(config(root, **options), views, refs, requests, registry(), "p", True)
    table = job.to_arrow_with_times()
    assert table.num_rows == len(requests)
    assert table["request"].to_pylist() == list(range(len(requests)))
    plain = job.to_arrow()
    for view in case.views:
        found = {name: table[f"{view.name}__{name}"].to_pylist() for name in FEATURES}
        ages = table[f"{view.name}__{age_feature(view.name)}"].to_pylist()
        times = {
            name: table[f"{view.name}__{name}"].cast("int64").to_pylist() for name in ("event_timestamp", "known_at")
        }
        scale = 1 if table.schema.field(f"{view.name}__known_at").type.unit == "ns" else 1000
        for name in FEATURES:
            assert plain[f"{view.name}__{name}"].equals(table[f"{view.name}__{name}"])
        assert f"{view.name}__known_at" not in plain.column_names
        for place, (keys, at) in enumerate(zip(case.keys, case.times, strict=True)):
            row, expired = view.expected(keys, at)
            values = row.values if row and not expired else (None,) * len(FEATURES)
            assert tuple(found[name][place] for name in FEATURES) == values, (view.name, place)
            hours = view.expected_age(row, at) if row and at is not None and not expired else None
            assert ages[place] == hours, (view.name, place)
            assert times["event_timestamp"][place] == (row.event // scale if row else None)
            assert times["known_at"][place] == (row.known // scale if row else None)


@pytest.mark.parametrize("engine", ["embedded", "partitioned"])
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_equals_the_rule_read_literally(engine: str, tmp_path_factory: Any, case: Case) -> None:
    check(engine, case, tmp_path_factory.mktemp("store"))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_equals_the_rule_read_literally_on_ray(cluster: None, tmp_path_factory: Any, case: Case) -> None:
    check("ray", case, tmp_path_factory.mktemp("store"))


@pytest.mark.long
def test_a_process_that_is_no_driver_joins_the_environment_s_cluster(
    cluster: None, tmp_path: Any, monkeypatch: Any
) -> None:
    """Run outside the driver, with an environment that names the cluster; a worker never imports Feast."""
    import ray

    (tmp_path / "headrace.yaml").write_text(f"ray:\n  address: {ray.get_runtime_context().gcs_address}\n")
    code = (
        "import sys, numpy as np, polars as pl, ray\n"
        "from types import SimpleNamespace\n"
        "from feature_repo.offline.entity_rows import EntityRows\n"
        "from feature_repo.offline.history import History\n"
        "from feature_repo.offline.join import ViewJoin\n"
        "from ray_cluster.cluster.ray_offline_store import RayAsofOfflineStore\n"
        f"file = {str(tmp_path / 'v.parquet')!r}\n"
        "times = pl.Series([1, 2]).cast(pl.Datetime('us', 'UTC'))\n"
        "pl.DataFrame({'key': [1, 2], 'event': times, 'value': [10, 20]}).write_parquet(file)\n"
        "join = ViewJoin(History('v', (file,), ('key',), ('value',), 'event', 'event'), ('key',), ('value',))\n"
        "asked = EntityRows(pl.DataFrame({'key': [2, 1, 3]}), np.array([9, 0, 9]), 'us')\n"
        "config = SimpleNamespace(offline_store=SimpleNamespace(memory_limit='1GB', parallelism=3))\n"
        "assert not ray.is_initialized()\n"
        "print(RayAsofOfflineStore.joined(config, [join], asked)[0]['value'].to_list(), ray.is_initialized())\n"
    )
    environment = {**os.environ, "HEADRACE_ENV": str(tmp_path), "HEADRACE_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[20, None, None] False"], done.stderr


def test_a_task_imports_no_feast(cluster: None) -> None:
    import ray

    @ray.remote
    def loaded() -> bool:
        import ray_cluster.cluster.feature_tasks  # noqa: F401

        return "feast" in sys.modules

    assert not ray.get(loaded.remote())


def test_an_error_in_a_task_is_the_join_s_own(cluster: None, tmp_path: Any) -> None:
    case = Case(
        [ViewCase("v0", {"key": "key"}, True, 0, "us", [Row(("a",), NANOS, NANOS, (1.0, 1, "x", True, None))], 1)],
        [{"key": 1, "other": None, "part": None}],
        [NANOS],
        "naive",
        "us",
    )
    with pytest.raises(KeyTypeError, match="has integers, but feature view 'v0' has text"):
        check("ray", case, tmp_path)
