"""CPUs to ask Ray for beside Serve, whose replicas and proxies hold fractions of CPUs and are idle most of the time."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

__all__ = ["cpus_each", "free_resources", "share"]


def free_resources() -> Mapping[str, Mapping[str, float]]:
    """Node -> resource -> how much of it nobody holds now."""
    from ray._private.state import available_resources_per_node

    return available_resources_per_node()  # type: ignore[no-any-return, no-untyped-call]


def share(cpus: float, workers: int = 1) -> float:
    """CPUs that each of ``workers`` asks Ray for, side by side, where ``cpus`` are meant; see :func:`cpus_each`."""
    return cpus_each([node.get("CPU", 0.0) for node in free_resources().values()], cpus, workers)


def cpus_each(free: Collection[float], cpus: float, workers: int) -> float:
    """The most that ``workers`` get of nodes with so many ``free`` CPUs, between half of ``cpus`` and all of them.

    Whoever asks for all of them waits forever on a node that Serve holds a tenth of. Half is asked for where even that
    is not free: others are at work, and will be done.
    """
    asked = {cpus, *(room / number for room in free for number in range(1, workers + 1))}
    fitting = [each for each in asked if cpus / 2 <= each <= cpus and _hold(free, each) >= workers]
    return math.floor(max(fitting, default=cpus / 2) * 10_000) / 10_000  # Ray counts in these steps


def _hold(free: Collection[float], each: float) -> int:
    return sum(int(room / each + 1e-9) for room in free)
