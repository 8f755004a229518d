"""Ask a live endpoint over HTTP whether it does what it should."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from configs.model import ModelSpec
from configs.settings import Settings
from ray_cluster.serving.serve_api import ServeError, facts_of

__all__ = ["SMOKE_TEST", "smoke_test"]

#: The id that smoke tests are logged under, unless it is an entity or field; monitoring leaves them out.
SMOKE_TEST = "smoke test"


def smoke_test(
    settings: Settings, spec: ModelSpec, row: Mapping[str, Any], version: int | None = None
) -> dict[str, Any]:
    """Ask the live endpoint over HTTP: one good request, and one that must be refused.

    Args:
        row: fields of a request; times may be datetimes, and NaN stands for null.
        version: which must answer; default whichever the endpoint says it runs.

    Returns:
        ``{"model", "version", "probability", "decision", "status", "milliseconds", "refusal"}``; probability and
        decision are None where the model abstained, as its YAML may ask where features have expired.

    Raises:
        ServeError: the endpoint does not answer, or answers anything else than it should.
    """
    import httpx

    from ray_cluster.serving.predictor import plain

    url = f"{settings.url('serve')}/models/{spec.name}/predict"
    expected = version if version is not None else (facts_of(settings, spec.name) or {}).get("version")
    content = {name: plain(value) for name, value in row.items()}
    if spec.requests.id not in spec.requests.inputs:
        content[spec.requests.id] = SMOKE_TEST
    wrong = {**content, "no_such_field": 1}
    try:
        with httpx.Client(timeout=30, trust_env=False) as client:
            started = time.monotonic()
            good = client.post(url, json=content)
            milliseconds = (time.monotonic() - started) * 1000
            bad = client.post(url, json=wrong)
    except httpx.HTTPError as error:
        raise ServeError(f"Smoke test of {spec.name}: {url} gave no answer ({error}); see `headrace status`.") from None
    if good.status_code != 200:
        raise ServeError(f"Smoke test of {spec.name}: expected HTTP 200, got {good.status_code}: {good.text[:500]}")
    answer = good.json()
    if answer["status"] != "abstained" and not 0 <= answer["probability"] <= 1:
        raise ServeError(f"Smoke test of {spec.name}: probability {answer['probability']} is outside [0, 1].")
    if answer["version"] != expected:
        raise ServeError(f"Smoke test of {spec.name}: version {answer['version']} answered, expected {expected}.")
    if bad.status_code != 422:
        raise ServeError(f"Smoke test of {spec.name}: a request with an unknown field got {bad.status_code}, not 422.")
    return {
        "model": spec.name,
        "version": answer["version"],
        "probability": answer["probability"],
        "decision": answer["decision"],
        "status": answer["status"],
        "milliseconds": round(milliseconds, 1),
        "refusal": bad.json()["detail"],
    }
