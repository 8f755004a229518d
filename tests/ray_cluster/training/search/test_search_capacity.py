"""Capacity for trials on a node: never more than its CPUs rounded, never more GPUs than it has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.tuning import Tuning
from ray_cluster.cluster.capacity import ResourcesError, capacity, check_resources


def tuning(cpus: float = 1.0, gpus: float = 0.0) -> Tuning:
    content = {"rows": 1000, "budget": {"trials": 1}, "families": [{"family": "logistic_regression"}]}
    return Tuning.model_validate({**content, "cpus_per_trial": cpus, "gpus_per_trial": gpus})


@given(st.floats(0, 64), st.floats(0, 8), st.floats(0.1, 8), st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]))
def test_capacity_holds_what_it_says(cpus: float, gpus: float, cpus_each: float, gpus_each: float) -> None:
    here = capacity({"CPU": cpus, "GPU": gpus}, tuning(cpus_each, gpus_each))
    assert here.cpus <= cpus and here.gpus <= gpus + 1e-6
    assert here.slots * cpus_each <= cpus + cpus_each / 2 + 1e-6
    assert here.slots * gpus_each <= gpus + 1e-6
    assert here.gpus <= 1 or here.gpus == int(here.gpus)  # Ray gives out parts of one GPU, or whole ones


def test_serves_fractions_do_not_cost_a_slot() -> None:
    assert capacity({"CPU": 1.7}, tuning()).slots == 2
    assert capacity({"CPU": 1.7}, tuning()).cpus == 1.7
    assert capacity({"CPU": 1.4}, tuning()).slots == 1
    assert capacity({"CPU": 0.4}, tuning()).slots == 0
    assert capacity({"CPU": 8, "GPU": 1}, tuning(1, 0.5)).slots == 2


def test_what_the_cluster_can_never_hold_is_one_sentence() -> None:
    nodes = {"a": {"CPU": 2.0}, "b": {"CPU": 4.0}}
    check_resources(nodes, tuning(4), "m")
    with pytest.raises(ResourcesError) as raised:
        check_resources(nodes, tuning(1, 1), "m")
    assert str(raised.value) == (
        "Model 'm', tuning.gpus_per_trial = 1: the Ray cluster has none GPUs; lower it, or start a node that has them "
        "(ray.num_gpus in the settings)."
    ).replace("has none GPUs", "has no GPU")
    with pytest.raises(ResourcesError, match="cpus_per_trial = 8: no node of the Ray cluster has more than 4 CPUs"):
        check_resources(nodes, tuning(8), "m")
