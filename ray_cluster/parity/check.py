"""Check parity: retrieve the served features again, compare, store the result; enforce a bound before training."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from configs.durations import in_words
from configs.errors import HeadraceError
from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.materialization.view_files import state
from feature_repo.online.service import feature_service
from feature_repo.storage.files import read_json, write_json
from feature_repo.storage.secondary import Failure, secondary
from ray_cluster.parity.comparison import OnDemandView, Sources, as_requests, compare, summary
from ray_cluster.serving.prediction_log import read_predictions

__all__ = [
    "ParityBoundError",
    "newest",
    "parity_folder",
    "require",
    "ParityError",
    "check_parity",
]

logger = logging.getLogger(__name__)


class ParityBoundError(HeadraceError, RuntimeError):
    """Training would use features that differ from the served ones by more than the model's YAML allows."""


def parity_folder(settings: Settings, model: str) -> Path:
    """The folder of one model's parity results."""
    return settings.home / "parity" / model


def newest(settings: Settings, model: str, as_of: datetime, window: timedelta | None = None) -> dict[str, Any] | None:
    """The newest parity result for ``as_of`` or a time up to ``window`` before it; None if there is none."""
    best = None
    for path in parity_folder(settings, model).glob("*.json"):
        try:
            made = datetime.strptime(path.stem, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            continue
        if made <= as_of and (window is None or made >= as_of - window) and (best is None or made > best[0]):
            best = (made, path)
    found: dict[str, Any] | None = read_json(best[1]) if best else None
    return found


def require(settings: Settings, spec: ModelSpec, as_of: datetime) -> None:
    """Enforce ``parity:`` of the model's YAML for a training as of ``as_of``; does nothing if it is null.

    If no result is new enough, a warning is logged and training continues, because the first training precedes any
    traffic.

    Raises:
        ParityBoundError: the newest result is below the bound.
    """
    bound = spec.parity
    if bound is None:
        return
    result = newest(settings, spec.name, as_of, bound.window)
    if result is None:
        logger.warning(
            "no parity result of %s in the %s before %s UTC: training continues; "
            "`headrace run parity --model %s` creates one",
            spec.name,
            in_words(bound.window.total_seconds()),
            f"{as_of:%Y-%m-%d %H:%M}",
            spec.name,
        )
        return
    if result["share"] < bound.minimum:
        worst = result["features"][0]
        cause = next(iter(worst["causes"]), "other")
        raise ParityBoundError(
            f"Model '{spec.name}' is not trained: {result['share']:.2%} of the served values equal those retrieved "
            f"offline (as of {result['as_of'][:16]}), below the minimum of {bound.minimum:.2%}; the worst feature is "
            f"{worst['feature']} ({worst['share']:.2%}, mostly {cause}); fix this and run "
            f"`headrace run parity --model {spec.name}`, or change parity in the model's file."
        )


class ParityError(HeadraceError, ValueError):
    """There is nothing to compare; the message says what was searched."""


def check_parity(
    settings: Settings, spec: ModelSpec, as_of: datetime, window: timedelta, most: int
) -> tuple[dict[str, Any], Path | None]:
    """Compare at most ``most`` of the predictions with ``as_of`` in the ``window`` before ``as_of``.

    Returns the result (:func:`ray_cluster.parity.comparison.summary` with ``model``, ``as_of``, ``window`` in seconds,
    ``logged`` (predictions in the window), ``first``, ``last`` and ``versions``) and its page; if the page failed it is
    None and ``failures`` of the result says why. Both are stored under ``home/parity/<model>/<as_of>``. If there are
    more predictions, their random ids determine which are compared: always the same ones.

    Raises:
        ParityError: no prediction was logged in the window.
    """
    from ray_cluster.parity.causes import CAUSES
    from ray_cluster.reports.parity_page import write_parity_page

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
        from feature_repo.definitions.feature_store import retrieve

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
    failures: list[Failure] = []
    page = None
    with secondary("page of parity", failures):
        minimum = spec.parity.minimum if spec.parity else None
        page = write_parity_page(path.with_suffix(".html"), result, CAUSES, minimum)
    result["failures"] = failures
    write_json(path, result)
    return result, page


def _sources(settings: Settings, spec: ModelSpec) -> Sources:
    """The sources of the features of the model's service."""
    service = feature_service(settings, spec.feature_service)
    found: Mapping[str, Any] = {view: state(settings, view) for view in service.view_features}
    return Sources(
        views=service.view_features,
        ttls={view: service.views[view].ttl for view in service.view_features},
        codes={view: each.code if each else None for view, each in found.items()},
        on_demand={each.name: OnDemandView(list(each.outputs), each.stored) for each in service.on_demand},
    )
