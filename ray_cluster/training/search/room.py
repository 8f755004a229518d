"""How many trials a node of the cluster has room for, and whether it can ever have room for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from configs.errors import HeadraceError
from configs.tuning import Tuning

__all__ = ["ResourcesError", "Room", "check_resources", "room"]


class ResourcesError(HeadraceError, RuntimeError):
    """The cluster will never have room for a trial; one sentence with what it has and what was asked for."""


@dataclass(frozen=True)
class Room:
    """Trials side by side on one node, and the CPUs and GPUs that they hold together."""

    slots: int
    cpus: float
    gpus: float


def room(free: Mapping[str, float], tuning: Tuning) -> Room:
    """Room on a node with these free resources.

    CPUs are rounded: Serve's replicas and proxies hold fractions that are idle most of the time, and a trial may be
    short of up to half of its CPUs for them rather than leave the rest of a CPU unused.
    """
    cpus, gpus = free.get("CPU", 0.0), free.get("GPU", 0.0)
    slots = int(cpus / tuning.cpus_per_trial + 0.5)
    if tuning.gpus_per_trial:
        whole = gpus if gpus < 1 else gpus // 1  # Ray gives out a part of one, or whole ones
        slots = min(slots, int(whole / tuning.gpus_per_trial + 1e-9))
    held = slots * tuning.gpus_per_trial
    return Room(slots, min(cpus, slots * tuning.cpus_per_trial), held if held <= 1 else float(-(-held // 1)))


def check_resources(nodes: Mapping[str, Mapping[str, float]], tuning: Tuning, model: str) -> None:
    """See that some node could hold a trial when nothing else runs on it.

    Args:
        nodes: node -> all that it has.

    Raises:
        ResourcesError: none could.
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
