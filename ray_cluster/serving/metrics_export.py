"""Prometheus metrics of the replicas; exported by Ray on every node, forwarded by the gateway."""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray_cluster.serving.expiry import ExpiredValue
    from ray_cluster.serving.predictor import Observed

__all__ = ["Measures"]

_SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
_HOUR, _DAY = 3600.0, 86400.0
_AGES = [60.0, 600.0, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 28 * _DAY, 90 * _DAY]
#: Ages are measured on at most this many evenly spaced rows of a batch, and gauges are set at most once in _PAUSE
#: seconds: each costs 4 µs, and a batch may have a thousand rows in six views.
_MOST, _PAUSE = 20, 1.0


class Measures:
    """Counters of one replica, each tagged with the model.

    ====================================  =========  =================================================================
    ``headrace_requests``                 counter    requests, by HTTP ``status``
    ``headrace_request_seconds``          histogram  from the last byte of the body to the answer, in seconds
    ``headrace_rows``                     counter    rows predicted
    ``headrace_lookup_seconds``           histogram  reading features for one batch, in seconds
    ``headrace_missing_features``         counter    null inputs among the rows predicted
    ``headrace_model_version``            gauge      the version loaded
    ``headrace_view_known_until_seconds`` gauge      by ``view``: as-of time of the online values' materialization, in
                                                     seconds since 1970 (``time()`` minus this is its real age)
    ``headrace_view_lag_seconds``         gauge      by ``view``: the latest requested ``as_of`` minus that time
    ``headrace_value_age_seconds``        histogram  by ``view``: age at ``as_of`` of the values served, in seconds,
                                                     from at most 20 rows of each batch
    ``headrace_expired_values``           counter    by ``view``: values that had expired
    ``headrace_abstained_rows``           counter    rows that got no probability because a value had expired
    ``headrace_refused_rows``             counter    rows of requests refused because a value had expired
    ====================================  =========  =================================================================
    """

    def __init__(self, model: str, replica: str) -> None:
        from ray.util.metrics import Counter, Gauge, Histogram

        tags = {"model": model}
        self._tags = tags
        self._replica = {**tags, "replica": replica}
        self._requests = Counter("headrace_requests", "Requests, by HTTP status", ("model", "status"))
        self._seconds = Histogram("headrace_request_seconds", "Time to answer a request", _SECONDS, ("model",))
        self._rows = Counter("headrace_rows", "Rows predicted", ("model",))
        self._lookup = Histogram("headrace_lookup_seconds", "Time to read features for a batch", _SECONDS, ("model",))
        self._missing = Counter("headrace_missing_features", "Null model inputs", ("model",))
        self._version = Gauge("headrace_model_version", "Version loaded", ("model", "replica"))
        by_view = ("model", "view")
        self._known_until = Gauge(
            "headrace_view_known_until_seconds",
            "As-of time of the materialization of the online values, in seconds since 1970",
            ("model", "replica", "view"),
        )
        self._lag = Gauge(
            "headrace_view_lag_seconds",
            "Latest requested as_of minus the as-of time of the materialization",
            ("model", "replica", "view"),
        )
        self._ages = Histogram("headrace_value_age_seconds", "Age of the values served, at as_of", _AGES, by_view)
        self._expired = Counter("headrace_expired_values", "Values older than their view's TTL", by_view)
        self._abstained = Counter(
            "headrace_abstained_rows", "Rows with no probability because of expired values", ("model",)
        )
        self._refused = Counter("headrace_refused_rows", "Rows of requests refused for expired values", ("model",))
        self._set = float("-inf")

    def answered(self, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.inc(1, {**self._tags, "status": str(status)})
        self._seconds.observe(max(seconds, 1e-9), self._tags)

    def predicted(self, observed: Observed) -> None:
        """Count one batch."""
        self._lookup.observe(max(observed.seconds, 1e-9), self._tags)
        self._rows.inc(observed.rows, self._tags)
        if observed.missing:
            self._missing.inc(observed.missing, self._tags)
        if observed.abstained:
            self._abstained.inc(observed.abstained, self._tags)
        for view, count in observed.expired.items():
            self._expired.inc(count, {**self._tags, "view": view})
        step = max(1, -(-observed.rows // _MOST))
        for number, view in enumerate(observed.views):
            tags = {**self._tags, "view": view}
            for age in observed.ages[::step, number].tolist():
                if not isnan(age):  # the row has a value
                    self._ages.observe(max(age, 1e-9), tags)
        if time.monotonic() - self._set > _PAUSE:
            self._set = time.monotonic()
            for view, until in observed.known_until.items():
                if until is not None:
                    self._known_until.set(until.timestamp(), {**self._replica, "view": view})
                    self._lag.set(observed.lag[view], {**self._replica, "view": view})

    def refused(self, rows: int, expired: Sequence[tuple[int, ExpiredValue]]) -> None:
        """Count one request that was refused because of expired values."""
        self._refused.inc(rows, self._tags)
        for view, count in Counts(value.view for _, value in expired).items():
            self._expired.inc(count, {**self._tags, "view": view})

    def loaded(self, version: int) -> None:
        """Set the version that answers from now on."""
        self._version.set(version, self._replica)
