"""Gather what monitoring looks at: the live version's predictions, the outcomes known by now, its reference."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.files import read_json, write_json
from feature_repo.frames import labels
from feature_repo.request_ids import id_texts
from ray_cluster import registry
from ray_cluster.monitoring import MonitoringError, monitor
from ray_cluster.serving.prediction_log import read_predictions
from ray_cluster.serving.smoke import SMOKE_TEST

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["outcomes_of", "watch"]


def watch(settings: Settings, spec: ModelSpec, as_of: datetime) -> tuple[dict[str, Any], bool]:
    """Monitor the champion over ``spec.monitoring.window`` before ``as_of``.

    Of a champion that nobody asked yet the verdict is to wait. Returns the result
    (:meth:`ray_cluster.monitoring.MonitoringResult.to_dict`, with ``version``), and whether it is new: the same
    predictions, outcomes and policy give the result kept before.

    Raises:
        MonitoringError: there is no champion.
    """
    champion = registry.champion(settings, spec.name)
    if champion is None:
        raise MonitoringError(f"Model '{spec.name}' has no champion to monitor; run `headrace run lifecycle` first.")
    predictions = read_predictions(settings, spec.name, as_of - spec.monitoring.window, as_of)
    predictions = predictions[(predictions["version"] == champion.version) & (predictions["id"] != SMOKE_TEST)]
    outcomes = outcomes_of(settings, spec, predictions, as_of)
    digest = hashlib.blake2b(spec.monitoring.model_dump_json().encode(), digest_size=8)
    digest.update("".join(sorted(predictions["prediction_id"])).encode())
    digest.update(outcomes.to_csv(index=False).encode())
    digest.update(f"{champion.version} {as_of.isoformat()}".encode())
    path = settings.home / "monitoring" / spec.name / "latest.json"
    before = read_json(path)
    if before and before["key"] == digest.hexdigest():
        return before, False
    result = monitor(settings, spec, predictions, outcomes, registry.reference(settings, champion.run_id), as_of)
    document = {**result.to_dict(), "version": champion.version, "as_of": as_of.isoformat(), "key": digest.hexdigest()}
    write_json(path, document)
    return document, True


def outcomes_of(settings: Settings, spec: ModelSpec, predictions: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Outcomes known at ``as_of`` of logged predictions: columns ``id`` (text), ``label`` (0 or 1), ``known_at``."""
    outcomes = labels(settings, spec, as_of).rename(columns={spec.requests.id: "id", "label_known_at": "known_at"})
    outcomes["id"] = id_texts(outcomes["id"])
    return outcomes[outcomes["id"].isin(set(predictions["id"].dropna()))]
