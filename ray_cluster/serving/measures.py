"""What the replicas count, in the words of Prometheus; exported by Ray on every node, forwarded by the gateway."""

from __future__ import annotations

__all__ = ["Measures"]

_SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]


class Measures:
    """Counters of one replica, each tagged with the model.

    =================================  =========  ==================================================
    ``headrace_requests``              counter    requests, by HTTP ``status``
    ``headrace_request_seconds``       histogram  from the last byte in to the answer, in seconds
    ``headrace_rows``                  counter    rows predicted
    ``headrace_lookup_seconds``        histogram  reading features for one batch, in seconds
    ``headrace_missing_features``      counter    null inputs among the rows predicted
    ``headrace_model_version``         gauge      the version loaded
    =================================  =========  ==================================================
    """

    def __init__(self, model: str) -> None:
        from ray.util.metrics import Counter, Gauge, Histogram

        tags = {"model": model}
        self._tags = tags
        self._requests = Counter("headrace_requests", "Requests, by HTTP status", ("model", "status"))
        self._seconds = Histogram("headrace_request_seconds", "Time to answer a request", _SECONDS, ("model",))
        self._rows = Counter("headrace_rows", "Rows predicted", ("model",))
        self._lookup = Histogram("headrace_lookup_seconds", "Time to read features for a batch", _SECONDS, ("model",))
        self._missing = Counter("headrace_missing_features", "Null model inputs", ("model",))
        self._version = Gauge("headrace_model_version", "Version loaded", ("model", "replica"))

    def answered(self, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.inc(1, {**self._tags, "status": str(status)})
        self._seconds.observe(max(seconds, 1e-9), self._tags)

    def predicted(self, lookup_seconds: float, missing: int, rows: int) -> None:
        """Count one batch."""
        self._lookup.observe(max(lookup_seconds, 1e-9), self._tags)
        self._rows.inc(rows, self._tags)
        if missing:
            self._missing.inc(missing, self._tags)

    def loaded(self, version: int, replica: str) -> None:
        """Note the version that answers from now on."""
        self._version.set(version, {**self._tags, "replica": replica})
