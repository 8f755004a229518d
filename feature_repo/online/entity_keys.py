"""Join key values as one readable text: ``EWR|LAX``, ``#42`` for a whole number; it can be decoded again.

Percent signs, bars, null characters and a leading hash are written %25, %7C, %00 and %23. No key starts with a null
character, which is reserved for the stores' own records.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from configs.errors import HeadraceError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["KeyValueError", "arrow_keys", "component", "decode_key", "encode_key"]

_SPECIAL = re.compile(r"[%|\x00]|^#")
_ESCAPED = re.compile(r"%([0-9A-F]{2})")


class KeyValueError(HeadraceError, ValueError):
    """A value cannot be a join key; the message says which."""


def component(value: Any) -> bytes | None:
    """One join key's value as part of a key; None for a missing one (None, NaN, NA).

    Raises:
        KeyValueError: it is neither text nor a whole number.
    """
    if isinstance(value, str):
        if value.isalnum():  # the usual case, several times faster than the search
            return str.encode(value)
        if _SPECIAL.search(value):
            value = _SPECIAL.sub(lambda found: f"%{ord(found[0]):02X}", value)
        return str.encode(value, "utf-8", "surrogatepass")
    if hasattr(value, "item"):  # a numpy scalar
        return component(value.item())
    floating = isinstance(value, float)
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (floating and math.isnan(value)):
        return None
    if (floating and value.is_integer()) or (isinstance(value, int) and not isinstance(value, bool)):
        return b"#%d" % int(value)  # pandas converts whole numbers with gaps to floats
    raise KeyValueError(f"{value!r} ({type(value).__name__}) cannot be a join key: use text or a whole number.")


def encode_key(values: Sequence[Any]) -> bytes | None:
    """Key of one entity, from its join key values in the view's order; None if one of them is missing.

    >>> encode_key(("EWR", "LAX")), encode_key((42,)), encode_key(("EWR", None))
    (b'EWR|LAX', b'#42', None)

    Raises:
        KeyValueError: a value is neither text nor a whole number.
    """
    parts = [component(value) for value in values]
    return None if None in parts else b"|".join(part for part in parts if part is not None)


def decode_key(key: bytes, count: int) -> tuple[Any, ...]:
    """The ``count`` join key values of a key.

    >>> decode_key(b"EWR|#42", 2)
    ('EWR', 42)
    """
    return tuple(_value(part.decode("utf-8", "surrogatepass")) for part in key.split(b"|")) if count else ()


def _value(part: str) -> str | int:
    if part.startswith("#"):
        return int(part[1:])
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), part) if "%" in part else part


def arrow_keys(columns: Sequence[tuple[str, pa.Array]], rows: int) -> pa.Array:
    """Keys of many entities, as binary; null where a join key is null. ``columns``: (join key, values).

    Raises:
        KeyValueError: a column is neither text nor whole numbers.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not columns:
        return pa.array([b""] * rows, pa.binary())
    parts = [_arrow_component(name, values) for name, values in columns]
    joined = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "|")
    return joined.cast(pa.binary())


def _arrow_component(name: str, values: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.dictionary_decode()
        kind = values.type
    if pa.types.is_floating(kind):
        values = pc.if_else(pc.is_nan(values), None, values)
        try:
            values = values.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise KeyValueError(
                f"Join key '{name}' has numbers with a fraction ({error}): use text or whole numbers."
            ) from error
        kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return pc.binary_join_element_wise("#", values.cast(pa.string()), "")
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise KeyValueError(f"Join key '{name}' has the type {kind}: use text or whole numbers.")
    values = values.cast(pa.string())
    if pc.any(pc.match_substring_regex(values, r"[%|\x00]|^#")).as_py():
        for plain, escaped in (("%", "%25"), ("|", "%7C"), ("\0", "%00")):
            values = pc.replace_substring(values, plain, escaped)
        values = pc.replace_substring_regex(values, "^#", "%23")
    return values
