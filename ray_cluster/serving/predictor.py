"""Compute predictions for request rows: read the features, score them, add their origin, log them."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from configs.errors import HeadraceError
from configs.model import Expired, Requests
from feature_repo.frames.expired_values import check
from feature_repo.frames.request_ids import id_text
from ray_cluster.serving.expiry import ExpiredValue, expired_values, hold_to
from ray_cluster.serving.prediction_log import PredictionLine, PredictionLog
from ray_cluster.serving.schema import RequestSchema

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["Observed", "Prediction", "Predictor", "Reader", "Vectors", "Version", "VersionError", "plain"]


class Vectors(Protocol):
    """Result of a reader, row for row: model inputs, and per feature view the event time (or NaT) and whether the value
    had expired; for all rows, per view, the as-of time of the online store's materialization (or None)."""

    @property
    def features(self) -> pd.DataFrame: ...
    @property
    def event_times(self) -> pd.DataFrame: ...
    @property
    def expired(self) -> pd.DataFrame: ...
    @property
    def known_until(self) -> Mapping[str, datetime | None]: ...


class Reader(Protocol):
    """Read feature vectors from the online store; implemented by ``feature_repo.online.reader.OnlineReader``.

    ``view_keys`` and ``view_features``: feature view -> its join keys and features; ``ttls``: view -> seconds, 0 for no
    expiry.
    """

    features: list[str]
    view_keys: dict[str, list[str]]
    view_features: dict[str, list[str]]
    ttls: dict[str, float]

    def read(self, rows: pd.DataFrame, as_of: pd.Series) -> Vectors: ...


class Version(Protocol):
    """A registered version in memory; implemented by ``ray_cluster.registry.LoadedVersion``."""

    @property
    def version(self) -> int: ...
    @property
    def pipeline(self) -> Any: ...
    @property
    def threshold(self) -> float: ...
    @property
    def features(self) -> list[str]: ...


class VersionError(HeadraceError, RuntimeError):
    """The version cannot answer this application's requests; the message says why."""


@dataclass(frozen=True)
class Prediction:
    """One answered row. ``line`` is stored in the log; the other fields are only returned."""

    line: PredictionLine
    status: str
    unknown_entities: list[str]
    missing_features: int
    expired: list[ExpiredValue] = field(default_factory=list)


@dataclass(frozen=True)
class Observed:
    """Measurements of one batch: ``ages`` has the seconds (or NaN) per row and view, in the order of ``views``; ``lag``
    has the seconds from a view's materialization (as-of time) to the latest ``as_of`` of the batch."""

    seconds: float
    rows: int
    missing: int
    abstained: int
    views: list[str]
    ages: np.ndarray
    expired: dict[str, int]
    known_until: Mapping[str, datetime | None]
    lag: dict[str, float]


class Predictor:
    """Answer rows with one version at a time. Blocking; used from a single worker thread.

    Args:
        model: the model's name.
        schema: the model's request schema.
        reader: reads the feature vectors.
        log: where every prediction is written before it is returned.
        now: the clock, for the default ``as_of``.
        observe: called with the measurements of every batch.
        expired: the policy on expired values, per feature view.
        view_versions: returns the fingerprint of the code that computed each view's online values, for the log.

    Raises:
        ConfigError: ``expired`` names a view or feature that the reader does not return.
    """

    def __init__(
        self,
        model: str,
        schema: RequestSchema,
        reader: Reader,
        log: PredictionLog,
        now: Callable[[], datetime],
        observe: Callable[[Observed], None] = lambda observed: None,
        expired: Mapping[str, Expired] | None = None,
        view_versions: Callable[[], Mapping[str, str | None]] = dict,
    ) -> None:
        self.model = model
        self._schema = schema
        self._requests: Requests = schema.requests
        self._reader = reader
        self._log = log
        self._now = now
        self._observe = observe
        self._expired: Mapping[str, Expired] = expired or {}
        self._view_versions = view_versions
        check(model, self._expired, reader.view_features, reader.ttls)
        #: Replaced by :meth:`swap`; a batch uses one version from its first row to its last.
        self.live: Version | None = None

    def swap(self, version: Version) -> None:
        """Make ``version`` the live one, after it has scored the model's example request.

        Raises:
            VersionError: it needs features that the reader does not return, or it cannot score them.
        """
        missing = [name for name in version.features if name not in self._reader.features]
        if missing:
            raise VersionError(
                f"Version {version.version} of {self.model} needs the features {', '.join(missing)}, which the feature "
                "service does not have; apply the feature definitions it was trained with, or train again."
            )
        rows, _ = (
            self._schema.read(json.dumps(self._schema.example()).encode()) if self._has_examples() else ([], False)
        )
        if rows:
            try:
                self._score(version, rows, {})  # stale features are no reason to refuse a version
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
        """Score rows from :meth:`RequestSchema.read`, and log them.

        Raises:
            ExpiredValueError: a row has an expired value that the model refuses; nothing is logged then.
            RuntimeError: no version was loaded yet, or a score is not a probability.
        """
        version = self.live
        if version is None:
            raise VersionError(f"No version of {self.model} is loaded.")
        predictions, observed = self._score(version, rows, self._expired)
        self._log.append([prediction.line for prediction in predictions])
        self._observe(observed)
        return predictions

    def as_of(self, row: Mapping[str, Any]) -> datetime:
        """As-of time of a row's features: the request's, else ``lead`` before its event, never in the future."""
        if row.get("as_of") is not None:
            asked: datetime = row["as_of"]
            return asked
        now, event = self._now(), row.get(self._requests.event_time)
        return now if event is None else min(now, event - self._requests.lead)

    def _score(
        self, version: Version, rows: Sequence[dict[str, Any]], policies: Mapping[str, Expired]
    ) -> tuple[list[Prediction], Observed]:
        """Predictions for rows, not logged yet, and the measurements of the batch."""
        import numpy as np
        import pandas as pd

        served_at = datetime.now(UTC).isoformat()
        moments = [self.as_of(row) for row in rows]
        at = pd.Series(pd.to_datetime(moments, utc=True))
        started = time.perf_counter()
        vectors = self._reader.read(self._frame(rows), at)
        seconds = time.perf_counter() - started
        views = [str(view) for view in vectors.event_times.columns]
        ages = at.to_numpy("datetime64[ns]")[:, None] - vectors.event_times.to_numpy("datetime64[ns]")
        ages = ages / np.timedelta64(1, "s")
        inputs = vectors.features[version.features]
        found: list[list[ExpiredValue]] = [[]] * len(rows)
        abstains = [False] * len(rows)
        if vectors.expired.to_numpy().any():
            aged = dict(zip(views, ages.T, strict=True))
            found = expired_values(vectors.expired, aged, rows, policies, self._reader.ttls, self._reader.view_keys)
            inputs = inputs.copy()
            abstains = hold_to(policies, inputs, vectors.expired, found)
        missing = inputs.isna().sum(axis=1).to_numpy()
        values = [{name: plain(value) for name, value in row.items()} for row in inputs.to_dict("records")]
        times = [{view: _iso(value) for view, value in row.items()} for row in vectors.event_times.to_dict("records")]
        known = {view: _iso(moment) for view, moment in vectors.known_until.items()}
        threshold = float(version.threshold)
        view_versions = dict(self._view_versions())
        predictions = []
        for number, (row, score) in enumerate(zip(rows, self._scores(version, inputs, abstains), strict=True)):
            line = PredictionLine(
                prediction_id=uuid.uuid4().hex,
                model=self.model,
                version=version.version,
                id=id_text(row.get(self._requests.id)),
                as_of=moments[number].astimezone(UTC).isoformat(),
                served_at=served_at,
                entities={name: plain(row[name]) for name in self._requests.entities},
                fields={name: plain(row[name]) for name in self._requests.fields},
                features=values[number],
                event_times=times[number],
                score=score,
                decision=None if score is None else bool(score >= threshold),
                threshold=threshold,
                known_until=known,
                expired={
                    each.view: {"age": each.age, "ttl": each.ttl, "policy": each.policy} for each in found[number]
                },
                view_versions=view_versions,
            )
            status, unknown = self._status(row, times[number])
            if abstains[number]:
                status = "abstained"
            predictions.append(Prediction(line, status, unknown, int(missing[number]), found[number]))
        latest = max(moments)
        observed = Observed(
            seconds,
            len(rows),
            int(missing.sum()),
            sum(abstains),
            views,
            ages,
            dict(Counter(each.view for row_found in found for each in row_found)),
            vectors.known_until,
            {view: (latest - until).total_seconds() for view, until in vectors.known_until.items() if until},
        )
        return predictions, observed

    def _frame(self, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
        """Entities and fields of the rows, as a reader's input."""
        import pandas as pd

        columns = [*self._requests.entities, *self._requests.fields]
        frame = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in columns})
        for name in self._schema.times:
            frame[name] = pd.to_datetime(frame[name], utc=True)
        return frame

    def _scores(self, version: Version, inputs: pd.DataFrame, abstains: Sequence[bool]) -> list[float | None]:
        """A probability for each row, None for rows with no probability."""
        import numpy as np

        asked = inputs[[not each for each in abstains]] if any(abstains) else inputs
        if not len(asked):
            return [None] * len(inputs)
        scores = np.asarray(version.pipeline.predict_proba(asked), dtype=float)[:, 1]
        if not ((scores >= 0) & (scores <= 1)).all():
            raise VersionError(f"Version {version.version} of {self.model} returned scores outside [0, 1].")
        left = iter(scores.tolist())
        return [None if each else next(left) for each in abstains]

    def _status(self, row: Mapping[str, Any], seen: Mapping[str, str | None]) -> tuple[str, list[str]]:
        """ok, partial or unknown, and the request's entities that are in none of their feature views."""
        held = [time is not None for time in seen.values()]
        if not held or all(held):
            return "ok", []
        given = [name for name in self._requests.entities if row[name] is not None]
        if not any(held):
            return "unknown", given
        views = {name: [view for view, keys in self._reader.view_keys.items() if name in keys] for name in given}
        unknown = [name for name in given if views[name] and not any(seen.get(view) for view in views[name])]
        return "partial", unknown


def plain(value: Any) -> Any:
    """A value as JSON: numpy scalars unwrapped, times as ISO text, null for numbers that are not finite."""
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
