"""Ray tasks that join parts of feature views to request rows. No Feast here, so that a worker starts fast."""

from __future__ import annotations

from collections.abc import Sequence

import ray

from feature_repo.offline.asked import Asked
from feature_repo.offline.join import Piece, ViewJoin, join_part
from ray_cluster.cluster import wait

__all__ = ["join_parts"]


def join_parts(joins: Sequence[ViewJoin], asked: Asked, counts: Sequence[int]) -> list[list[Piece]]:
    """The pieces of each view, by part; ``counts``: into how many parts each view's entities are split.

    Raises:
        Exception: what the join itself raises, such as a KeyTypeError, as it does without Ray.
    """
    held = ray.put(asked)
    references = [
        [_join.remote(join, held, part, count) for part in range(count)]
        for join, count in zip(joins, counts, strict=True)
    ]
    try:
        results = iter(wait([reference for of_view in references for reference in of_view]))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    return [[next(results) for _ in of_view] for of_view in references]


@ray.remote
def _join(join: ViewJoin, asked: Asked, part: int, parts: int) -> Piece:
    return join_part(join, asked, part, parts)
