"""Which code the online values of each feature view were computed by, as the views' records say."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from configs.settings import Settings
from feature_repo.materialization.views import state

__all__ = ["view_versions"]

#: Seconds for which what was read is used again; a view's code changes with a release, not with a request.
_FRESH = 2.0


def view_versions(settings: Settings, views: Sequence[str]) -> Callable[[], Mapping[str, str | None]]:
    """A function that gives view -> fingerprint of its code, None where the view was never materialized."""
    held: tuple[float, Mapping[str, str | None]] = (float("-inf"), {})

    def read() -> Mapping[str, str | None]:
        nonlocal held
        if time.monotonic() - held[0] > _FRESH:
            found = {view: state(settings, view) for view in views}
            held = (time.monotonic(), {view: each.online_code if each else None for view, each in found.items()})
        return held[1]

    return read
