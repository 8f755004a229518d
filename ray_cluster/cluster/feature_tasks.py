"""Ray tasks on feature views: join parts of views to entity rows, and compute views and materialize them.

Neither Ray nor Feast is imported at the top: a worker starts fast, and the module can be imported without Ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from configs.settings import Settings
from feature_repo.materialization.online_write import ViewUpdate, materialize_view
from feature_repo.offline.entity_rows import EntityRows
from feature_repo.offline.join import Piece, ViewJoin, join_part
from feature_repo.online.layout import layouts
from ray_cluster.cluster.capacity import share
from ray_cluster.cluster.connection import wait

__all__ = [
    "join_parts",
    "materialize_views",
]


def join_parts(joins: Sequence[ViewJoin], asked: EntityRows, counts: Sequence[int]) -> list[list[Piece]]:
    """The joined columns of each view, by part; ``counts``: number of parts that each view's entities are split into.

    Raises:
        Exception: the errors of the join itself, such as a KeyTypeError, as without Ray.
    """
    import ray
    from ray.exceptions import RayTaskError

    held = ray.put(asked)
    task: Any = ray.remote(join_part)
    references = [
        [task.remote(join, held, part, count) for part in range(count)]
        for join, count in zip(joins, counts, strict=True)
    ]
    try:
        results = iter(wait([reference for of_view in references for reference in of_view]))
    except RayTaskError as error:
        raise error.cause from None
    return [[next(results) for _ in of_view] for of_view in references]


def materialize_views(
    settings: Settings, views: Sequence[str], as_of: datetime, since: datetime | None = None
) -> dict[str, ViewUpdate]:
    """Call :func:`feature_repo.materialization.online_write.materialize_view` for each view, as Ray tasks.

    A view that fails does not stop the others; then the first error is raised, as it would be without Ray. A worker
    that dies is replaced, and the task continues from its last step.

    Raises:
        MissingDataError, FeatureError, OnlineError: as in ``materialize_view``.
    """
    import ray
    from ray.exceptions import RayTaskError

    layouts(settings)  # calls Feast if features.py changed: once here instead of in every worker
    task: Any = ray.remote(num_cpus=share(1))(materialize_view)
    try:
        found = wait([task.remote(settings, view, as_of, since) for view in views])
    except RayTaskError as error:
        raise error.cause from None
    return dict(zip(views, found, strict=True))
