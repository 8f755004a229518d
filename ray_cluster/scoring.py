"""Score many rows at once with Ray Data."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.files import replacing
from feature_repo.frames import PREDICTION_TIME, FrameError, model_inputs, requests
from feature_repo.store import retrieve
from ray_cluster import registry
from ray_cluster.cluster import connected

__all__ = ["score_batch"]


def score_batch(settings: Settings, spec: ModelSpec, as_of: datetime, horizon: timedelta) -> tuple[Path, int, int]:
    """Score the events of the next ``horizon`` with the champion, on features as known at ``as_of``.

    Returns the Parquet file (id, entities, fields, ``prediction_time``, ``probability``, ``decision``, ``version``),
    the number of rows and the version.

    Raises:
        FrameError: no event falls into the horizon.
    """
    lead = spec.requests.lead
    rows = requests(settings, spec, as_of - lead, as_of - lead + horizon, as_of)
    if rows.empty:
        raise FrameError(
            f"Model '{spec.name}': table '{spec.requests.table}' has no row with {spec.requests.event_time} in the "
            f"{horizon} after {as_of:%Y-%m-%d %H:%M} UTC; choose another as_of or ingest more."
        )
    loaded = registry.load_version(settings, spec.name)
    frame = retrieve(settings, spec.feature_service, rows.assign(known=as_of), at="known")
    frame[loaded.features] = model_inputs(frame[loaded.features])
    with connected(settings):
        import ray

        def score(batch):  # type: ignore[no-untyped-def]
            probability = loaded.pipeline.predict_proba(batch[loaded.features])[:, 1]
            return batch[[spec.requests.id]].assign(probability=probability)

        ray.data.DataContext.get_current().enable_progress_bars = False
        dataset = ray.data.from_pandas([frame[i : i + 20_000] for i in range(0, len(frame), 20_000)])
        scored = dataset.map_batches(score, batch_format="pandas", batch_size=10_000).to_pandas()
    result = rows.merge(scored, on=spec.requests.id, validate="1:1")
    result["decision"] = result["probability"] >= loaded.threshold
    result = result.assign(version=loaded.version, **{PREDICTION_TIME: as_of})
    path = settings.home / "scores" / spec.name / f"{as_of:%Y%m%dT%H%M%SZ}.parquet"
    with replacing(path) as temporary:
        result.to_parquet(temporary, index=False)
    return path, len(result), loaded.version
