"""The offline store that runs its joins as Ray tasks: one per feature view and part of its entities.

Each task runs :func:`feature_repo.offline.join.join_part`, which the embedded store runs in its own process. It needs
the files and the keys and times of the request rows, not Feast. Feast loads this class by its path in
``feature_store.yaml``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from feature_repo.offline.offline_store import AsofOfflineStore, AsofOfflineStoreConfig
from ray_cluster.cluster.feature_tasks import join_parts

if TYPE_CHECKING:
    import polars as pl
    from feast.repo_config import RepoConfig

    from feature_repo.offline.entity_rows import EntityRows
    from feature_repo.offline.join import ViewJoin

__all__ = ["RayAsofOfflineStore", "RayAsofOfflineStoreConfig"]


class RayAsofOfflineStoreConfig(AsofOfflineStoreConfig):
    """The ``offline_store:`` block. ``parallelism``: target number of tasks; ``memory_limit`` is per task."""

    type: Literal["ray_cluster.cluster.ray_offline_store.RayAsofOfflineStore"] = (
        "ray_cluster.cluster.ray_offline_store.RayAsofOfflineStore"  # type: ignore[assignment]
    )
    parallelism: int = Field(8, ge=1)


class RayAsofOfflineStore(AsofOfflineStore):
    """:class:`AsofOfflineStore` on the environment's Ray cluster; every node must have access to the files."""

    @staticmethod
    def joined(config: RepoConfig, joins: Sequence[ViewJoin], asked: EntityRows) -> list[pl.DataFrame]:
        """The columns of each view for every request row, each part joined by a Ray task."""
        from feature_repo.offline.join import assembled, parts
        from feature_repo.offline.offline_store import size

        store: Any = config.offline_store
        at_least = -(-store.parallelism // max(1, len(joins)))
        counts = [parts(join, asked, size(store.memory_limit), at_least) for join in joins]
        with _driver():
            pieces = join_parts(joins, asked, counts)
        return [assembled(of_view, len(asked)) for of_view in pieces]


@contextmanager
def _driver() -> Iterator[None]:
    """Connect as a Ray driver: keep this process's connection if it has one, else use the environment's cluster."""
    import ray

    if ray.is_initialized():
        yield
        return
    from configs import load_settings
    from ray_cluster.cluster.connection import connected

    with connected(load_settings()):
        yield
