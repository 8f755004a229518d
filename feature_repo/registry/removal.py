"""Take away what a feature view left behind once it is no longer defined: its files and its online values."""

from __future__ import annotations

import shutil

from configs.settings import Settings
from feature_repo.files import locked
from feature_repo.online.layout import ViewLayout
from feature_repo.online.values import open_values
from feature_repo.registry.plan import ViewDefinition

__all__ = ["remove_view"]


def remove_view(settings: Settings, view: ViewDefinition, project: str) -> int:
    """Remove one view's feature files, its record and its online values; how many online values went.

    Waits until nobody computes or materializes the view. Again, it removes what a kill left.
    """
    folder = settings.home / "features"
    with locked(settings.home, f"view-{view.name}"):
        removed = open_values(settings).clear(
            ViewLayout(project, view.name, tuple(name for name, _ in view.keys), (), view.ttl)
        )
        shutil.rmtree(folder / view.name, ignore_errors=True)
        for name in (f"{view.name}.parquet", f"{view.name}.json"):
            (folder / name).unlink(missing_ok=True)
    return removed
