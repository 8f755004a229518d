"""Import Feast in two seconds of a CPU instead of five: without the type checks in the constructors of its objects.

Feast decorates these classes with ``typeguard.typechecked``, which parses and compiles each class again at import. The
checks are for who writes features.py: where it has changed, Feast is imported with them, because
:func:`feature_repo.definitions.feature_store.apply` imports it before this does. Elsewhere the definitions have passed
them.
"""

from __future__ import annotations

import sys
from threading import Lock
from typing import Any

__all__ = ["import_feast"]

_lock = Lock()


def import_feast() -> None:
    """Import Feast without its type checks, unless it is imported already."""
    if "feast" in sys.modules:
        return
    import typeguard

    with _lock:
        checked = typeguard.typechecked
        typeguard.typechecked = _unchecked
        try:
            import feast  # noqa: F401
        finally:
            typeguard.typechecked = checked


def _unchecked(target: Any = None, **_: Any) -> Any:
    return _unchecked if target is None else target
