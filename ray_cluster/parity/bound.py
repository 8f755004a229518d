"""Whether a model may be trained: is the newest parity result no worse than the model's YAML asks for?"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.expired import in_words
from feature_repo.files import read_json

__all__ = ["ParityBoundError", "newest", "parity_folder", "require"]

logger = logging.getLogger(__name__)


class ParityBoundError(RuntimeError):
    """Training would use features that differ from the served ones by more than the model's YAML allows."""


def parity_folder(settings: Settings, model: str) -> Path:
    """Where the parity results of one model are kept."""
    return settings.home / "parity" / model


def newest(settings: Settings, model: str, as_of: datetime, window: timedelta | None = None) -> dict[str, Any] | None:
    """The newest parity result made for ``as_of`` or a moment up to ``window`` before it; None where there is none."""
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
    """Hold a training as of ``as_of`` to ``parity:`` of the model's YAML; says nothing where that is null.

    Where no result is new enough a warning is logged and training goes on, as the first one comes before any traffic.

    Raises:
        ParityBoundError: the newest result is below the bound.
    """
    bound = spec.parity
    if bound is None:
        return
    result = newest(settings, spec.name, as_of, bound.window)
    if result is None:
        logger.warning(
            "no parity result of %s in the %s before %s UTC: training goes on without; "
            "`headrace run parity --model %s` makes one",
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
            f"{worst['feature']} ({worst['share']:.2%}, mostly {cause}); mend that and run "
            f"`headrace run parity --model {spec.name}`, or change parity in the model's file."
        )
