"""Corrections of labels that a person accepted: an overlay on the source, which is never edited.

``labels/<model>/overlay.jsonl`` has one line per correction and only grows. Each batch of accepted or revoked
corrections is a version, numbered from 1; version 0 is the source alone. A training uses the newest version for any
``as_of``: ``as_of`` determines which outcomes were known, and a correction only fixes the value of such an outcome. The
run records the version, so that the same frame can be built again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import HeadraceError
from configs.settings import Settings
from feature_repo.frames.request_ids import id_texts
from feature_repo.storage.files import locked, replacing

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "LabelOverride",
    "LabelOverrideError",
    "append",
    "labels_folder",
    "overlay",
    "overlay_version",
    "with_overrides",
    "standing",
]


class LabelOverrideError(HeadraceError, ValueError):
    """A correction cannot be accepted, or an overlay cannot be read; the message is one sentence."""


@dataclass(frozen=True)
class LabelOverride:
    """One line of the overlay.

    Attributes:
        id: the request's id, as text.
        label: the corrected label, 0 or 1; None revokes an earlier correction.
        given: the label in the source, 0 or 1.
        at: when it was accepted (ISO 8601, UTC).
        version: version of the overlay with this line.
        entities: join key -> value of the request, used by an erasure to find the line.
    """

    id: str
    label: int | None
    given: int
    author: str
    reason: str
    at: str
    version: int = 0
    entities: dict[str, str | None] | None = None


def labels_folder(settings: Settings, model: str) -> Path:
    """The folder of a model's overlay and review queue."""
    return settings.home / "labels" / model


def overlay(settings: Settings, model: str, version: int | None = None) -> list[LabelOverride]:
    """The lines of the overlay up to ``version`` (default: all), in order.

    Raises:
        LabelOverrideError: the file contains an invalid line, or no ``version`` yet.
    """
    path = labels_folder(settings, model) / "overlay.jsonl"
    found: list[LabelOverride] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else (), 1):
        try:
            found.append(LabelOverride(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise LabelOverrideError(
                f"{path} line {number} is not a relabel ({error}); restore the line of `headrace labels accept`."
            ) from None
    newest = max((each.version for each in found), default=0)
    if version is not None and version > newest:
        raise LabelOverrideError(
            f"The label overlay of '{model}' is at version {newest}, and version {version} is requested; "
            f"restore {path} from a backup."
        )
    return found if version is None else [each for each in found if each.version <= version]


def overlay_version(settings: Settings, model: str) -> int:
    """The newest version of the overlay; 0 if nothing was ever corrected."""
    return max((each.version for each in overlay(settings, model)), default=0)


def standing(lines: Sequence[LabelOverride]) -> dict[str, LabelOverride]:
    """The active correction of each id: the last one, unless it was revoked."""
    last = {each.id: each for each in lines}
    return {identity: each for identity, each in last.items() if each.label is not None}


def with_overrides(settings: Settings, model: str, known: pd.DataFrame, version: int | None = None) -> pd.DataFrame:
    """``known`` (its first column the id, ``label`` 0 or 1) with the corrections of the overlay in ``label``."""
    corrections = {each.id: each.label for each in standing(overlay(settings, model, version)).values()}
    if not corrections:
        return known
    said = id_texts(known.iloc[:, 0]).map(corrections)
    return known.assign(label=said.fillna(known["label"]).astype(known["label"].dtype))


def append(settings: Settings, model: str, lines: Sequence[LabelOverride], expected: int) -> int:
    """Add lines as one new version and return its number; a reader sees all of them or none.

    Args:
        expected: the version that the lines were checked against.

    Raises:
        LabelOverrideError: another process has added a version meanwhile.
    """
    path = labels_folder(settings, model) / "overlay.jsonl"
    with locked(settings.home, f"labels-{model}"):
        now = overlay_version(settings, model)
        if now != expected:
            raise LabelOverrideError(
                f"The label overlay of '{model}' went from version {expected} to {now} meanwhile; repeat the command."
            )
        before = path.read_bytes() if path.is_file() else b""
        with replacing(path) as temporary:
            temporary.write_bytes(before + b"".join(_line(replace(each, version=now + 1)) for each in lines))
    return now + 1


def _line(relabel: LabelOverride) -> bytes:
    content: dict[str, Any] = asdict(relabel)
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"
