"""A canonical digest of a fitted pipeline: equal exactly if everything that determines its scores is equal.

A serialised file cannot be used: zip archives contain times, skops and pickle contain the identity of objects, and both
change when the model does not. Here an XGBoost model is represented by its UBJSON, an array by dtype, shape and bytes,
and an object by its class and its attributes in the order of their names.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["model_digest"]

#: Attributes that describe how a model was fitted and do not affect scores: threads, verbosity, random generators.
_BESIDE = {
    "n_jobs",
    "n_threads",
    "verbose",
    "verbosity",
    "callbacks",
    "_feature_subsample_rng",
    "_random_state",
    "warm_start",
}


def model_digest(pipeline: Any) -> dict[str, str]:
    """Digest of each step of a scikit-learn pipeline, and of the whole pipeline as ``model``.

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> fit = lambda rows: model_digest(make_pipeline(StandardScaler()).fit(rows))
    >>> fit([[1.0], [2.0]]) == fit([[1.0], [2.0]]), fit([[1.0], [2.0]]) == fit([[1.0], [2.5]])
    (True, False)
    """
    steps = {str(name): _digest(step) for name, step in pipeline.steps}
    return {**steps, "model": hashlib.blake2b(str(sorted(steps.items())).encode(), digest_size=16).hexdigest()}


def _digest(value: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, value, ())
    return digest.hexdigest()


def _feed(digest: Any, value: Any, above: tuple[int, ...]) -> None:
    """Update the digest with one value: its kind and its content."""
    if id(value) in above:  # an object that contains itself
        digest.update(b"above")
    elif value is None or isinstance(value, bool | int | str | bytes | type):
        shown = f"{value.__module__}.{value.__qualname__}" if isinstance(value, type) else repr(value)
        digest.update(f"{type(value).__name__} {shown};".encode())
    elif isinstance(value, float):
        digest.update(b"float" + struct.pack("<d", math.nan if math.isnan(value) else value))
    elif isinstance(value, np.ndarray):
        _array(digest, value, above)
    elif isinstance(value, np.generic):
        _array(digest, np.asarray(value), above)
    elif isinstance(value, Mapping):
        digest.update(f"mapping {len(value)};".encode())
        for key in sorted(value, key=repr):
            _feed(digest, key, above)
            _feed(digest, value[key], (*above, id(value)))
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)};".encode())
        for each in value:
            _feed(digest, each, (*above, id(value)))
    elif isinstance(value, set | frozenset):
        _feed(digest, sorted(value, key=repr), above)
    else:
        _object(digest, value, above)


def _array(digest: Any, array: np.ndarray[Any, Any], above: tuple[int, ...]) -> None:
    digest.update(f"array {array.dtype.kind} {array.shape};".encode())
    if array.dtype.names:  # field by field: the bytes between them are arbitrary
        for name in array.dtype.names:
            _array(digest, array[name], above)
    elif array.dtype == object:
        _feed(digest, array.tolist(), above)
    else:
        digest.update(np.ascontiguousarray(array).tobytes())


def _object(digest: Any, value: Any, above: tuple[int, ...]) -> None:
    """An estimator, or any other object, by its class and attributes."""
    kind = type(value)
    digest.update(f"{kind.__module__}.{kind.__qualname__};".encode())
    if kind.__name__ == "Booster" and hasattr(value, "save_raw"):
        digest.update(bytes(value.save_raw(raw_format="ubj")))
        return
    if hasattr(value, "__qualname__"):  # a function
        digest.update(str(value.__qualname__).encode())
        return
    state = getattr(value, "__dict__", None) or (value.__getstate__() if hasattr(value, "__getstate__") else None)
    if isinstance(state, dict):
        state = {name: held for name, held in state.items() if name not in _BESIDE}
    _feed(digest, state, (*above, id(value)))
