"""CPUs and GPUs to request from Ray in addition to Serve's, whose reservations are fractions and mostly idle."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from configs.errors import HeadraceError
from configs.tuning import Tuning
from ray_cluster.cluster.ray_private import free_resources

__all__ = [
    "Capacity",
    "ResourcesError",
    "all_resources",
    "capacity",
    "check_resources",
    "cpus_each",
    "share",
    "this_node",
]


class ResourcesError(HeadraceError, RuntimeError):
    """The cluster can never run a trial; the message has the available and the requested resources."""


def all_resources() -> Mapping[str, Mapping[str, float]]:
    """Node -> resource -> total amount."""
    import ray

    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]


def this_node() -> str:
    """The resource that identifies this process's node."""
    import ray

    here = all_resources()[ray.get_runtime_context().get_node_id()]
    return next(name for name in here if name.startswith("node:") and name != "node:__internal_head__")


def share(cpus: float, workers: int = 1) -> float:
    """CPUs to request from Ray for each of ``workers`` concurrent workers with ``cpus`` each; see :func:`cpus_each`."""
    return cpus_each([node.get("CPU", 0.0) for node in free_resources().values()], cpus, workers)


def cpus_each(free: Collection[float], cpus: float, workers: int) -> float:
    """The most CPUs per worker, between half of ``cpus`` and ``cpus``, that fit ``workers`` on nodes with ``free``.

    A request for all CPUs would wait forever on a node where Serve reserves a tenth of one. If even half is not free,
    half is requested: other jobs use the CPUs, and will release them.
    """
    asked = {cpus, *(room / number for room in free for number in range(1, workers + 1))}
    fitting = [each for each in asked if cpus / 2 <= each <= cpus and _hold(free, each) >= workers]
    return math.floor(max(fitting, default=cpus / 2) * 10_000) / 10_000  # Ray counts in these steps


def _hold(free: Collection[float], each: float) -> int:
    return sum(int(room / each + 1e-9) for room in free)


@dataclass(frozen=True)
class Capacity:
    """Concurrent trials on one node, and the CPUs and GPUs that they reserve together."""

    slots: int
    cpus: float
    gpus: float


def capacity(free: Mapping[str, float], tuning: Tuning) -> Capacity:
    """Number of trials that fit on a node with these free resources, and their CPUs and GPUs.

    CPUs are rounded: Serve's replicas and proxies reserve fractions that are mostly idle, and a trial may have up to
    half a CPU less than requested, so that the rest of a CPU is not unused.
    """
    cpus, gpus = free.get("CPU", 0.0), free.get("GPU", 0.0)
    slots = int(cpus / tuning.cpus_per_trial + 0.5)
    if tuning.gpus_per_trial:
        whole = gpus if gpus < 1 else gpus // 1  # Ray assigns a fraction of one GPU, or whole GPUs
        slots = min(slots, int(whole / tuning.gpus_per_trial + 1e-9))
    held = slots * tuning.gpus_per_trial
    return Capacity(slots, min(cpus, slots * tuning.cpus_per_trial), held if held <= 1 else float(-(-held // 1)))


def check_resources(nodes: Mapping[str, Mapping[str, float]], tuning: Tuning, model: str) -> None:
    """Check that some node could run a trial if nothing else runs on it.

    Args:
        nodes: node -> its total resources.

    Raises:
        ResourcesError: no node could.
    """
    most = {name: max((node.get(name, 0.0) for node in nodes.values()), default=0.0) for name in ("CPU", "GPU")}
    for name, asked, key in (
        ("GPU", tuning.gpus_per_trial, "gpus_per_trial"),
        ("CPU", tuning.cpus_per_trial, "cpus_per_trial"),
    ):
        if asked > most[name]:
            has = f"no node of the Ray cluster has more than {most[name]:g} {name}s"
            if not most[name]:
                has = f"the Ray cluster has no {name}"
            raise ResourcesError(
                f"Model '{model}', tuning.{key} = {asked:g}: {has}; lower it, or start a node that has them"
                f"{' (ray.num_gpus in the settings)' if name == 'GPU' else ''}."
            )
