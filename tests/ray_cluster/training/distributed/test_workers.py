"""XGBoost fitted by two Ray workers: as good as in one process, the same for a seed, and not shaken by a death."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import xgboost
from sklearn.metrics import average_precision_score

from configs.model import ModelSpec, load_model
from configs.reading import merge
from ray_cluster.training.distributed.devices import FitError
from ray_cluster.training.distributed.shares import ArrayShare, FileShare, deal
from ray_cluster.training.distributed.workers import fit_by_workers
from ray_cluster.training.families import assemble, fit_steps
from ray_cluster.training.families.fit_steps import NUMBERS, Columns

BASE = load_model("flight_delay", "local").model_dump()
BOOSTED = next(family for family in BASE["tuning"]["families"] if family["family"] == "xgboost")
PARAMS = {"max_depth": 4, "learning_rate": 0.2, "subsample": 0.8, "colsample_bytree": 0.7}
ROUNDS = 60


def spec(**fit: Any) -> ModelSpec:
    tuning = {"families": [BOOSTED], "cpus_per_trial": 0.5, "seed": 3}
    return ModelSpec.model_validate(merge(BASE, {"fit": {"workers": 2, **fit}, "tuning": tuning}))


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    import ray

    class Replica:
        """Holds a part of the CPU, as Serve does, and is idle."""

    root = str(Path(__file__).parents[4])
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=80_000_000,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": root}},
    )
    replica = ray.remote(num_cpus=0.3)(Replica).remote()
    ray.get(replica.__ray_ready__.remote())
    yield
    ray.shutdown()


def drawn(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Even and odd rows, which are the two workers' shares, have their signal in different columns."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 8)).astype("float32")
    odd = np.arange(rows) % 2 == 1
    x[:, 7] = odd
    signal = np.where(odd, 2 * x[:, 0] * x[:, 1], 1.5 * x[:, 2] + x[:, 3])
    return x, (signal + generator.normal(size=rows) > 1.5).astype(int)


TRAIN, TEST = drawn(12_000, 1), drawn(12_000, 2)


def shares(x: np.ndarray, y: np.ndarray, workers: int = 2) -> list[Any]:
    import ray

    return [ray.put(ArrayShare(*deal(rank, workers, x, y))) for rank in range(workers)]


def precision(classifier: Any) -> float:
    return float(average_precision_score(TEST[1], classifier.predict_proba(TEST[0])[:, 1]))


@pytest.fixture(scope="module")
def fitted() -> Any:
    return fit_by_workers(spec(), PARAMS, ROUNDS, shares(*TRAIN))


@pytest.fixture(scope="module")
def alone() -> Any:
    return xgboost.XGBClassifier(**PARAMS, n_estimators=ROUNDS, tree_method="hist", n_jobs=1, random_state=3).fit(
        *TRAIN
    )


def test_two_workers_fit_as_well_as_one_process_and_a_lost_share_would_show(fitted, alone):
    half = xgboost.XGBClassifier(**PARAMS, n_estimators=ROUNDS, n_jobs=1).fit(*deal(0, 2, *TRAIN))
    assert abs(precision(fitted) - precision(alone)) < 0.015
    assert precision(half) < precision(alone) - 0.1


def test_the_result_is_an_ordinary_classifier_that_survives_skops(fitted):
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    from ray_cluster.registry import TRUSTED

    assert type(fitted) is xgboost.XGBClassifier and fitted.classes_.tolist() == [0, 1]
    assert fitted.get_booster().num_boosted_rounds() == fitted.get_params()["n_estimators"] == ROUNDS
    assert fitted.get_params()["max_depth"] == 4 and fitted.feature_importances_.shape == (8,)
    pipeline = assemble(FunctionTransformer(), fitted)
    again = skops.io.loads(skops.io.dumps(pipeline), trusted=TRUSTED)
    np.testing.assert_array_equal(again.predict_proba(TEST[0]), pipeline.predict_proba(TEST[0]))


@pytest.mark.long
def test_a_killed_worker_costs_time_and_changes_nothing():
    rounds = 20 * ROUNDS  # long enough to be seen at work
    undisturbed = fit_by_workers(spec(), PARAMS, rounds, shares(*TRAIN))
    killed: list[int] = []

    def kill() -> None:
        until = time.monotonic() + 60
        while not killed and time.monotonic() < until:
            for process in psutil.Process().children(recursive=True):
                try:
                    if process.name().startswith("ray::Worker.bo"):
                        time.sleep(0.2)
                        process.kill()
                        killed.append(process.pid)
                        return
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    again = fit_by_workers(spec(), PARAMS, rounds, shares(*TRAIN))
    thread.join()
    assert killed and bytes(again.get_booster().save_raw()) == bytes(undisturbed.get_booster().save_raw())


def test_what_no_worker_can_fit_is_told_and_leaves_nothing_behind():
    import ray

    with pytest.raises(FitError, match=r"^A worker of the fit failed: .*max_depth.*\.$") as error:
        fit_by_workers(spec(), {"max_depth": "deep"}, ROUNDS, shares(*TRAIN))
    assert "\n" not in str(error.value) and "Stack" not in str(error.value)
    until = time.monotonic() + 20
    while ray.available_resources().get("CPU") != 0.7 and time.monotonic() < until:
        time.sleep(0.1)
    assert ray.available_resources()["CPU"] == 0.7  # all but the replica's


def test_files_that_xgboost_reads_one_after_the_other(tmp_path, alone):
    """One worker on bins in memory, two on bins on disk; both are what the arrays give, but for the bins' bounds."""
    import ray

    def files(rank: int, workers: int) -> tuple[tuple[str, str], ...]:
        found = []
        for number, rows in enumerate(np.array_split(np.arange(len(TRAIN[1])), 5)):
            pair = tuple(str(tmp_path / f"{kind}-{rank}-{workers}-{number}.npy") for kind in "xy")
            for path, values in zip(pair, deal(rank, workers, TRAIN[0][rows], TRAIN[1][rows]), strict=True):
                np.save(path, values)
            found.append(pair)
        return tuple(found)

    resident = fit_by_workers(
        spec(workers=1), PARAMS, ROUNDS, [ray.put(FileShare(files(0, 1), str(tmp_path / "cache"), paged=False))]
    )
    paged = fit_by_workers(
        spec(),
        PARAMS,
        ROUNDS,
        [ray.put(FileShare(files(rank, 2), str(tmp_path / f"cache-{rank}"), paged=True)) for rank in range(2)],
    )
    assert abs(precision(resident) - precision(alone)) < 0.015
    assert abs(precision(paged) - precision(alone)) < 0.015


@pytest.mark.long
def test_workers_that_have_different_categories_agree_on_them(tmp_path):
    """Even rows have the even codes, odd rows the odd ones; in memory, on disk, and with a direction."""
    import ray

    random = np.random.default_rng(5)
    code = 2 * random.integers(0, 15, 12_000) + np.arange(12_000) % 2
    x = np.column_stack([code, random.normal(size=(12_000, 3))]).astype("float32")
    effect = np.random.default_rng(6).permutation(np.linspace(-3, 3, 30))
    y = (effect[code] + 0.5 * x[:, 1] + random.normal(size=12_000) > 0).astype(int)
    columns = Columns((30, 0, 0, 0), (0, -1, 0, 0))
    params, (x_test, y_test) = {"max_depth": 2, "max_cat_to_onehot": 1, "learning_rate": 0.5}, (x[9000:], y[9000:])
    pairs = []
    for rank in range(2):
        pairs.append((str(tmp_path / f"x{rank}.npy"), str(tmp_path / f"y{rank}.npy")))
        for path, values in zip(pairs[-1], deal(rank, 2, x[:9000], y[:9000]), strict=True):
            np.save(path, values)

    def fit(shares: list[Any], given: Columns = columns) -> Any:
        return fit_by_workers(spec(workers=len(shares)), params, 8, [ray.put(share) for share in shares], "cpu", given)

    def measured(classifier: Any) -> float:
        return float(average_precision_score(y_test, classifier.predict_proba(x_test)[:, 1]))

    arrays = [ArrayShare(*deal(rank, 2, x[:9000], y[:9000])) for rank in range(2)]
    both = fit(arrays)
    assert both.feature_types == ["c", "q", "q", "q"]
    rising = x_test + np.array([0, 1, 0, 0], dtype="float32")
    assert (both.predict_proba(rising)[:, 1] <= both.predict_proba(x_test)[:, 1]).all()
    free, numbers = fit(arrays, Columns(columns.categories, (0,) * 4)), fit(arrays, NUMBERS)
    alone = fit_steps("xgboost", params, x[:9000], y[:9000], 8, 3, columns=Columns(columns.categories))
    assert abs(measured(free) - measured(alone)) < 0.01 and measured(numbers) < measured(alone) - 0.03
    for paged in (False, True):
        found = fit([FileShare(tuple(pairs), str(tmp_path / f"bins-{paged}"), paged)], Columns(columns.categories))
        assert abs(measured(found) - measured(alone)) < 0.01


@pytest.mark.skipif(
    not psutil.LINUX or not Path("/proc/driver/nvidia/version").exists(), reason="this machine has no NVIDIA GPU"
)
def test_on_a_gpu(alone):
    import ray

    ray.shutdown()
    ray.init(num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False)
    found = fit_by_workers(spec(workers=1), PARAMS, ROUNDS, shares(*TRAIN, workers=1), device="cuda")
    assert abs(precision(found) - precision(alone)) < 0.015
    assert found.get_params()["device"] != "cuda"  # it is served on machines without one
