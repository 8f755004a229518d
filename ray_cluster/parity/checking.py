"""Re-retrieve what a model's endpoint served in a window, compare, and keep the result as JSON and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.files import write_json
from feature_repo.materialization.views import state
from feature_repo.online.service import feature_service
from ray_cluster.parity.bound import parity_folder
from ray_cluster.parity.measuring import OnDemandView, Sources, as_requests, compare, summary
from ray_cluster.serving.prediction_log import read_predictions

__all__ = ["ParityError", "check_parity"]


class ParityError(ValueError):
    """There is nothing to compare; one sentence says what was looked for."""


def check_parity(
    settings: Settings, spec: ModelSpec, as_of: datetime, window: timedelta, most: int
) -> tuple[dict[str, Any], Path]:
    """Compare at most ``most`` of the predictions with ``as_of`` in the ``window`` before ``as_of``.

    Returns the result (:func:`ray_cluster.parity.measuring.summary` with ``model``, ``as_of``, ``window`` in seconds,
    ``logged`` (predictions in the window), ``first``, ``last`` and ``versions``) and its page. Both are kept under
    ``home/parity/<model>/<as_of>``. Which ones are compared of more is decided by their random ids: always the same.

    Raises:
        ParityError: no prediction was logged in the window.
    """
    from ray_cluster.report.parity import write_parity_page

    log = read_predictions(settings, spec.name, as_of - window, as_of)
    if log.empty:
        raise ParityError(
            f"Model '{spec.name}' logged no prediction in {window.total_seconds() / 86400:g} days before "
            f"{as_of:%Y-%m-%d %H:%M} UTC; send it traffic, or choose another as_of or hours."
        )
    taken = log.sort_values("prediction_id").head(most).sort_values(["as_of", "prediction_id"], ignore_index=True)
    lines: list[dict[str, Any]] = taken.astype(object).to_dict("records")
    asked = as_requests(taken, spec.requests)
    sources = _sources(settings, spec)

    def retrieved(rows: Any) -> list[dict[str, Any]]:
        from feature_repo.store import retrieve

        frame = retrieve(settings, spec.feature_service, rows, at="as_of", event_times=True)
        records: list[dict[str, Any]] = frame.astype(object).to_dict("records")
        return records

    def then(view: str, numbers: Sequence[int], moments: Sequence[datetime]) -> list[dict[str, Any]]:
        import pandas as pd

        return retrieved(
            asked.iloc[list(numbers)].reset_index(drop=True).assign(as_of=pd.to_datetime(moments, utc=True))
        )

    result: dict[str, Any] = {
        "model": spec.name,
        "as_of": as_of.isoformat(),
        "window": window.total_seconds(),
        "logged": len(log),
        "first": taken["as_of"].iloc[0].isoformat(),
        "last": taken["as_of"].iloc[-1].isoformat(),
        "versions": {str(version): int(rows) for version, rows in taken["version"].value_counts().sort_index().items()},
        **summary(lines, compare(lines, retrieved(asked), sources, then)),
    }
    path = parity_folder(settings, spec.name) / f"{as_of:%Y%m%dT%H%M%SZ}.json"
    page = write_parity_page(path.with_suffix(".html"), result, spec.parity.minimum if spec.parity else None)
    write_json(path, result)
    return result, page


def _sources(settings: Settings, spec: ModelSpec) -> Sources:
    """Where the features of the model's service come from."""
    service = feature_service(settings, spec.feature_service)
    found: Mapping[str, Any] = {view: state(settings, view) for view in service.view_features}
    return Sources(
        views=service.view_features,
        ttls={view: service.views[view].ttl for view in service.view_features},
        codes={view: each.code if each else None for view, each in found.items()},
        on_demand={each.name: OnDemandView(list(each.outputs), each.stored) for each in service.on_demand},
    )
