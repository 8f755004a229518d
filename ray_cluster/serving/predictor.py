"""From request rows to predictions: read the features, score them, say where the score came from, log it."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from configs.model import Requests
from ray_cluster.serving.prediction_log import PredictionLog
from ray_cluster.serving.schema import RequestSchema

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Prediction", "Predictor", "Reader", "Vectors", "Version", "VersionError", "plain"]


class Vectors(Protocol):
    """What a reader returns, row for row: model inputs, and per feature view the event time or NaT."""

    features: pd.DataFrame
    event_times: pd.DataFrame


class Reader(Protocol):
    """Reads feature vectors from the online store; ``feature_repo.store.OnlineReader`` is the real one.

    A reader that also has ``view_keys`` (feature view → its join keys) lets answers name unknown entities one by one.
    """

    features: list[str]

    def read(self, rows: pd.DataFrame, as_of: pd.Series) -> Vectors: ...


class Version(Protocol):
    """A registered version in memory; ``ray_cluster.registry.LoadedVersion`` is the real one."""

    @property
    def version(self) -> int: ...
    @property
    def pipeline(self) -> Any: ...
    @property
    def threshold(self) -> float: ...
    @property
    def features(self) -> list[str]: ...


class VersionError(RuntimeError):
    """A version that cannot answer this application's requests; one sentence says why."""


@dataclass(frozen=True)
class Prediction:
    """One answered row. ``line`` is what the log holds; the rest is only said."""

    line: dict[str, Any]
    status: str
    unknown_entities: list[str]
    missing_features: int


class Predictor:
    """Answers rows with one version at a time. Blocking; used from a single worker thread.

    Args:
        model: the model's name.
        schema: the model's request schema.
        reader: reads the feature vectors.
        log: where every prediction is written before it is returned.
        now: the clock, for the default ``as_of``.
        observe: told ``(lookup seconds, missing features, rows)`` of every batch.
    """

    def __init__(
        self,
        model: str,
        schema: RequestSchema,
        reader: Reader,
        log: PredictionLog,
        now: Callable[[], datetime],
        observe: Callable[[float, int, int], None] = lambda seconds, missing, rows: None,
    ) -> None:
        self.model = model
        self._schema = schema
        self._requests: Requests = schema.requests
        self._reader = reader
        self._view_keys: Mapping[str, list[str]] = getattr(reader, "view_keys", {})
        self._log = log
        self._now = now
        self._observe = observe
        #: Replaced as a whole by :meth:`swap`; a batch uses one version from its first row to its last.
        self.live: Version | None = None

    def swap(self, version: Version) -> None:
        """Make ``version`` the live one, after it scored the model's example request.

        Raises:
            VersionError: it needs features that the reader does not give, or it cannot score them.
        """
        missing = [name for name in version.features if name not in self._reader.features]
        if missing:
            raise VersionError(
                f"Version {version.version} of {self.model} needs the features {', '.join(missing)}, which the feature "
                "service does not give; apply the feature definitions it was trained with, or train again."
            )
        rows, _ = (
            self._schema.read(json.dumps(self._schema.example()).encode()) if self._has_examples() else ([], False)
        )
        if rows:
            try:
                self._score(version, rows)
            except Exception as error:
                raise VersionError(
                    f"Version {version.version} of {self.model} cannot score the example request: "
                    f"{type(error).__name__}: {error}"
                ) from error
        self.live = version

    def _has_examples(self) -> bool:
        fields = {**self._requests.entities, **self._requests.fields}.values()
        return all(field.example is not None or not field.required for field in fields)

    def predict(self, rows: Sequence[dict[str, Any]]) -> list[Prediction]:
        """Score rows as :meth:`RequestSchema.read` gives them, and log them.

        Raises:
            RuntimeError: no version was loaded yet, or a score is not a probability.
        """
        version = self.live
        if version is None:
            raise RuntimeError(f"No version of {self.model} is loaded.")
        predictions, seconds = self._score(version, rows)
        self._log.append([prediction.line for prediction in predictions])
        self._observe(seconds, sum(prediction.missing_features for prediction in predictions), len(rows))
        return predictions

    def as_of(self, row: Mapping[str, Any]) -> datetime:
        """When the features of a row are read: as the request says, else ``lead`` before its event, never after now."""
        if row.get("as_of") is not None:
            asked: datetime = row["as_of"]
            return asked
        now, event = self._now(), row.get(self._requests.event_time)
        return now if event is None else min(now, event - self._requests.lead)

    def _score(self, version: Version, rows: Sequence[dict[str, Any]]) -> tuple[list[Prediction], float]:
        """Predictions for rows, not logged yet, and the seconds that reading their features took."""
        import numpy as np
        import pandas as pd

        served_at = datetime.now(UTC).isoformat()
        moments = [self.as_of(row) for row in rows]
        columns = [*self._requests.entities, *self._requests.fields]
        frame = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in columns})
        for name in self._schema.times:
            frame[name] = pd.to_datetime(frame[name], utc=True)
        started = time.perf_counter()
        vectors = self._reader.read(frame, pd.Series(pd.to_datetime(moments, utc=True)))
        seconds = time.perf_counter() - started
        features = vectors.features[version.features]
        scores = np.asarray(version.pipeline.predict_proba(features), dtype=float)[:, 1]
        if not ((scores >= 0) & (scores <= 1)).all():
            raise RuntimeError(f"Version {version.version} of {self.model} gave scores outside [0, 1].")
        missing = features.isna().sum(axis=1).to_numpy()
        values = [{name: plain(value) for name, value in row.items()} for row in features.to_dict("records")]
        times = [{view: _iso(value) for view, value in row.items()} for row in vectors.event_times.to_dict("records")]
        threshold = float(version.threshold)
        predictions = []
        for row, moment, score, inputs, seen, nulls in zip(rows, moments, scores, values, times, missing, strict=True):
            line = {
                "prediction_id": uuid.uuid4().hex,
                "model": self.model,
                "version": version.version,
                "id": row.get(self._requests.id),
                "as_of": moment.astimezone(UTC).isoformat(),
                "served_at": served_at,
                "entities": {name: plain(row[name]) for name in self._requests.entities},
                "fields": {name: plain(row[name]) for name in self._requests.fields},
                "features": inputs,
                "event_times": seen,
                "score": float(score),
                "decision": bool(score >= threshold),
                "threshold": threshold,
            }
            status, unknown = self._status(row, seen)
            predictions.append(Prediction(line, status, unknown, int(nulls)))
        return predictions, seconds

    def _status(self, row: Mapping[str, Any], seen: Mapping[str, str | None]) -> tuple[str, list[str]]:
        """ok, partial or unknown, and the entities given that no feature view of theirs has seen."""
        held = [time is not None for time in seen.values()]
        if not held or all(held):
            return "ok", []
        given = [name for name in self._requests.entities if row[name] is not None]
        if not any(held):
            return "unknown", given
        views = {name: [view for view, keys in self._view_keys.items() if name in keys] for name in given}
        unknown = [name for name in given if views[name] and not any(seen.get(view) for view in views[name])]
        return "partial", unknown


def plain(value: Any) -> Any:
    """A value as JSON can hold it: numpy scalars unwrapped, times as ISO text, null for what is not a finite number."""
    if value is None:
        return None
    if hasattr(value, "item") and not hasattr(value, "isoformat"):
        value = value.item()
    if hasattr(value, "isoformat"):
        return _iso(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) else str(value)


def _iso(value: Any) -> str | None:
    """ISO text of a UTC time; None for None and NaT."""
    import pandas as pd

    return None if pd.isna(value) else str(value.isoformat())
