"""Dependencies of a model: the feature views of its service, and their raw tables."""

from __future__ import annotations

import hashlib
from pathlib import Path

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.online.layout import FeatureServiceError
from feature_repo.storage.feast_import import import_feast
from feature_repo.storage.files import read_json, write_json
from feature_repo.transforms import VIEWS

__all__ = ["entity_join_keys", "model_tables", "service_views"]


def service_views(settings: Settings, service: str) -> list[str]:
    """The computed feature views of a feature service, in its order.

    Cached next to the features, because reading features.py imports Feast, which takes seconds.

    Raises:
        FeatureServiceError: features.py has no such service.
    """
    definitions = Path(__file__).parents[1] / "features.py"
    fingerprint = hashlib.blake2b(definitions.read_bytes(), digest_size=8).hexdigest()
    path = settings.home / "features" / "services.json"
    held = read_json(path)
    if not held or held["definitions"] != fingerprint:
        from feast import FeatureService

        from feature_repo import features

        services = [value for value in vars(features).values() if isinstance(value, FeatureService)]
        held = {
            "definitions": fingerprint,
            "services": {
                each.name: [view.name for view in each.feature_view_projections if view.name in VIEWS]
                for each in services
            },
        }
        write_json(path, held)
    if service not in held["services"]:
        raise FeatureServiceError.of(service, list(held["services"]))
    return list(held["services"][service])


def model_tables(settings: Settings, spec: ModelSpec, references: bool = False) -> list[str]:
    """The raw tables of a model's rows, labels and features, sorted.

    With ``references`` also the tables that these tables refer to.
    """
    used = {spec.requests.table, spec.label.table}
    used |= {table for view in service_views(settings, spec.feature_service) for table in VIEWS[view].tables}
    while references:
        targets = {
            target.partition(".")[0]
            for table in used
            if table in settings.tables
            for target in settings.tables[table].references.values()
        }
        if targets <= used:
            break
        used |= targets
    return sorted(used)


def entity_join_keys() -> dict[str, str]:
    """Name of each Feast entity in features.py -> its join key."""
    import_feast()
    from feast import Entity

    from feature_repo import features

    return {each.name: each.join_key for each in vars(features).values() if isinstance(each, Entity)}
