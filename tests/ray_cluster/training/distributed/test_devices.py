"""What the cluster must have for a final fit, and on what it runs."""

from __future__ import annotations

from typing import Any

import pytest

from configs.model import ModelSpec, load_model
from configs.reading import merge
from ray_cluster.training.distributed.devices import FitError, again_on, check_cluster, device_of, gpus_of

BASE = load_model("flight_delay", "local").model_dump()
BOOSTED = next(family for family in BASE["tuning"]["families"] if family["family"] == "xgboost")


def spec(families: list[Any] | None = None, **fit: Any) -> ModelSpec:
    return ModelSpec.model_validate(merge(BASE, {"fit": fit, "tuning": {"families": families or [BOOSTED]}}))


@pytest.mark.parametrize(
    ("device", "workers", "gpus", "expected"),
    [("auto", 1, 0, "cpu"), ("auto", 1, 1, "cuda"), ("auto", 2, 1, "cpu"), ("auto", 2, 2, "cuda"),
     ("cpu", 1, 4, "cpu"), ("cuda", 1, 1, "cuda")],
)  # fmt: skip
def test_a_gpu_is_taken_where_each_worker_gets_one(device, workers, gpus, expected):
    assert device_of(spec(device=device, workers=workers), {"CPU": 8, "GPU": gpus}) == expected


def test_another_family_stays_on_the_cpu_by_itself():
    several = spec(BASE["tuning"]["families"])
    assert device_of(several, {"GPU": 4}, ["hist_gradient_boosting"]) == "cpu"
    assert device_of(several, {"GPU": 4}, ["xgboost", "hist_gradient_boosting"]) == "cuda"


@pytest.mark.parametrize(
    ("device", "then", "gpus", "expected"),
    [("auto", "cpu", 4, "cpu"), ("auto", "cuda", 1, "cuda"), ("auto", "cuda", 0, "cpu"), ("cuda", "cuda", 0, "cpu")],
)
def test_a_fit_is_made_again_where_it_ran(device, then, gpus, expected):
    assert again_on(spec(device=device), then, {"CPU": 2, "GPU": gpus}) == expected


def test_gpus_of_a_worker():
    assert (
        gpus_of(spec(workers=2), "cuda") == 1 and gpus_of(spec(), "cuda") == 1 and gpus_of(spec(workers=2), "cpu") == 0
    )


def test_cuda_without_a_gpu_is_one_sentence():
    with pytest.raises(FitError) as error:
        check_cluster(spec(device="cuda", workers=2), {"CPU": 8, "GPU": 1})
    assert str(error.value) == (
        "models/flight_delay.yaml: fit.device = cuda needs 2 GPU in the Ray cluster, and it has 1; "
        "start a node with GPUs, or set fit.device: auto."
    )
    check_cluster(spec(device="cuda", workers=2), {"CPU": 8, "GPU": 2})


def test_more_workers_than_the_cluster_can_hold_is_one_sentence():
    with pytest.raises(FitError, match=r"fit.workers = 4 with tuning.cpus_per_trial = 1 needs 4 CPUs .* it has 2; "):
        check_cluster(spec(workers=4), {"CPU": 2})
    check_cluster(spec(workers=2), {"CPU": 2})
