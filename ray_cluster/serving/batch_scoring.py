"""Score many rows at once with Ray Data."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from configs.durations import in_words
from configs.errors import HeadraceError
from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.frames.expired_values import AsServed, retrieve_as_served
from feature_repo.frames.training_frame import PREDICTION_TIME, FrameError, model_inputs, requests
from feature_repo.storage.files import replacing
from feature_repo.storage.float32 import finite
from ray_cluster import registry
from ray_cluster.cluster.connection import connected

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ScoringError", "abstentions", "score_batch"]


class ScoringError(HeadraceError, RuntimeError):
    """The model does not score the rows; the message says why."""


def score_batch(settings: Settings, spec: ModelSpec, as_of: datetime, horizon: timedelta) -> tuple[Path, int, int]:
    """Score the events of the next ``horizon`` with the champion, on features as known at ``as_of``.

    Returns the Parquet file (id, entities, fields, ``prediction_time``, ``probability``, ``decision``, ``version``),
    the number of rows and the version. Expired values are treated as in the endpoint: if the model's YAML says
    abstain, probability and decision are null and a column ``reason`` says why.

    Raises:
        FrameError: no event is within the horizon.
        ScoringError: a value of a view had expired and the model refuses it; nothing is written.
    """
    lead = spec.requests.lead
    rows = requests(settings, spec, as_of - lead, as_of - lead + horizon, as_of)
    if rows.empty:
        raise FrameError(
            f"Model '{spec.name}': table '{spec.requests.table}' has no row with {spec.requests.event_time} in the "
            f"{horizon} after {as_of:%Y-%m-%d %H:%M} UTC; choose another as_of or ingest more rows."
        )
    loaded = registry.load_version(settings, spec.name)
    served = retrieve_as_served(settings, spec, rows.assign(known=as_of), at="known")
    reasons = abstentions(spec, served)
    frame = served.rows[reasons.isna()].reset_index(drop=True)
    frame[loaded.features] = finite(model_inputs(frame[loaded.features]))
    scored = frame[[spec.requests.id]].assign(probability=0.0)
    if len(frame):
        with connected(settings):
            import ray

            def score(batch):  # type: ignore[no-untyped-def]
                probability = loaded.pipeline.predict_proba(batch[loaded.features])[:, 1]
                return batch[[spec.requests.id]].assign(probability=probability)

            ray.data.DataContext.get_current().enable_progress_bars = False
            dataset = ray.data.from_pandas([frame[i : i + 20_000] for i in range(0, len(frame), 20_000)])
            scored = dataset.map_batches(score, batch_format="pandas", batch_size=10_000).to_pandas()
    result = rows.merge(scored, on=spec.requests.id, how="left", validate="1:1")
    result["decision"] = result["probability"] >= loaded.threshold
    if "abstain" in spec.expired.values():
        result["decision"] = result["decision"].astype("boolean").mask(result["probability"].isna())
        result["reason"] = reasons.to_numpy()
    result = result.assign(version=loaded.version, **{PREDICTION_TIME: as_of})
    path = settings.home / "scores" / spec.name / f"{as_of:%Y%m%dT%H%M%SZ}.parquet"
    with replacing(path) as temporary:
        result.to_parquet(temporary, index=False)
    return path, len(result), loaded.version


def abstentions(spec: ModelSpec, served: AsServed) -> pd.Series[str]:
    """Why a row gets no probability; null for rows that get one.

    Raises:
        ScoringError: a value of a view had expired and the model refuses it.
    """
    import pandas as pd

    reasons = pd.Series(None, index=served.rows.index, dtype=object)
    for view, policy in spec.expired.items():
        if policy not in ("abstain", "refuse"):
            continue
        expired, ttl = served.expired[view], in_words(served.ttls[view])
        if policy == "refuse" and expired.any():
            oldest = in_words(float(served.ages[view][expired].max()))
            raise ScoringError(
                f"View '{view}' has expired values for {int(expired.sum()):,} of {len(expired):,} rows (the oldest "
                f"{oldest}, its TTL {ttl}), and model '{spec.name}' refuses expired values of it; get newer rows with "
                "`headrace run ingest` and `headrace run materialize`, or change expired in the model's file."
            )
        sentences = served.ages[view][expired].map(
            lambda age, view=view, ttl=ttl: f"The value of view '{view}' is {in_words(age)} old, past its TTL of {ttl}."
        )
        reasons = reasons.where(~expired | reasons.notna(), sentences)
    return reasons
