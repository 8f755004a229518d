"""Ingest one raw table: read, clean, check, judge, store; a killed or refused ingest does not change the table."""

from __future__ import annotations

import hashlib
import inspect
import shutil
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from configs.settings import Settings
from configs.table import Table
from feature_repo.storage.files import locked, read_json, replacing, write_json
from feature_repo.storage.secondary import Failure, secondary
from feature_repo.tables import cleaning, conditions, gates, quality
from feature_repo.tables.merging import Merging, merging
from feature_repo.tables.sources import Since, batches, source_fingerprint
from feature_repo.tables.staging import Staging, behind
from feature_repo.tables.table_erasure import erasures_fingerprint, kept
from feature_repo.tables.table_files import Manifest, manifest, table_path, write_days
from feature_repo.tables.table_profile import profile_table

__all__ = ["ingest_table"]

#: A larger table is profiled on a sample of about this many rows, which bounds memory.
PROFILED_ROWS = 400_000


def ingest_table(settings: Settings, table: str, as_of: datetime) -> tuple[Manifest, bool]:
    """Read, clean, check and store one table, at least as known at ``as_of``.

    Returns its manifest and whether its rows changed. A table that already has a later state of the same source is not
    changed: readers filter by known-at time themselves. Tables that it refers to must be ingested first
    (:func:`configs.table.ingest_order`).

    A table refused by a gate is not changed; its invalid rows, and the report, are stored under
    ``tables/<name>/refused/`` until an ingest succeeds.

    Raises:
        SourceError, ConditionError, TableError: nothing of the table is changed then.
    """
    conditions.prove(settings.tables[table], table)
    with locked(settings.home, f"table-{table}"):
        return _Ingest(settings, table, as_of).run()


@dataclass
class _Ingest:
    settings: Settings
    table: str
    as_of: datetime

    def run(self) -> tuple[Manifest, bool]:
        self.spec: Table = self.settings.tables[self.table]
        self.folder: Path = table_path(self.settings, self.table)
        self.before = before = manifest(self.settings, self.table)
        held_as_of = datetime.fromisoformat(before.as_of) if before else self.as_of
        self.until = max(self.as_of, held_as_of)
        seen = self._seen()
        same = before and seen and before.source_fingerprint == seen and not before.failures
        if before and same and (held_as_of >= self.as_of or not before.later):
            return self._same(before, held_as_of), False
        rules = _rules(self.spec)
        held = before if before and before.mark is not None and before.rules == rules else None
        staging = Staging(self.folder, self.spec, _hash(rules, held.fingerprint if held else "", held and held.mark))
        self._read(staging, held)
        with merging(self.settings, self.table, staging, held, self.until) as merged:
            after = self._measured(staging, held, merged)
            after = replace(after, source_fingerprint=seen, rules=rules)
            changed_days = merged.changed_days()
            files = merged.kept_files() | write_days(self.folder, changed_days, by_day=self.spec.day is not None)
            after = replace(after, files=dict(sorted(files.items())), fingerprint=_hash(*sorted(files.values())))
            with replacing(self.folder / "quarantine.parquet") as temporary:
                merged.write_quarantine(temporary)
            changed = before is None or before.fingerprint != after.fingerprint
            after = replace(after, failures=self._profile(merged, changed))
        write_json(self.folder / "manifest.json", asdict(after))
        self._sweep(after)
        staging.clear()
        return after, changed

    def _seen(self) -> str | None:
        """Fingerprint of the source and of all that determines the stored rows, or None if that is unknown."""
        fingerprint = source_fingerprint(self.table, self.spec.source)
        if fingerprint is None:
            return None
        code = "".join(map(inspect.getsource, (quality, cleaning, conditions, cleaning)))
        others = sorted({target.partition(".")[0] for target in self.spec.references.values()} - {self.table})
        held = [found.fingerprint for name in others if (found := manifest(self.settings, name))]
        erased = erasures_fingerprint(self.settings, self.table)
        return _hash(fingerprint, code, self.spec.model_dump_json(), erased, *held)

    def _same(self, before: Manifest, held_as_of: datetime) -> Manifest:
        """The same rows at a later time: only their age is judged again."""
        if held_as_of >= self.as_of:
            return before
        if self.spec.gates.freshness is not None:
            from feature_repo.tables.table_files import connect

            column = self.spec.known_at or self.spec.day
            with connect(self.settings, only=[self.table]) as connection:
                latest = connection.execute(f'SELECT max("{column}") FROM "{self.table}"').fetchall()[0][0]
            failures = gates.fresh_enough(self.spec, latest.astimezone(UTC) if latest else None, self.as_of)
            if failures:
                raise quality.TableError(gates.said(self.table, failures, "it has no new rows"))
        after = replace(before, as_of=self.as_of.isoformat())
        write_json(self.folder / "manifest.json", asdict(after))
        return after

    def _read(self, staging: Staging, held: Manifest | None) -> None:
        """Stage every batch of the source, starting at the mark, or at the last batch of a killed ingest."""
        since = Since(held.mark) if held and held.mark is not None else None
        if staging.reached is not None:
            since = Since(staging.reached, inclusive=False)
        start = 0
        for frame in batches(self.table, self.spec, since):
            cursor = frame[self.spec.source.cursor] if self.spec.source.cursor else None
            raw = frame.set_axis(range(start, start + len(frame)))
            cleaned, counts = cleaning.clean(raw, self.spec)
            left = kept(self.settings, self.table, cleaned)
            staging.add(quality.check(left, self.spec, self.table), len(frame) - len(left), counts, cursor)
            start += len(frame)

    def _measured(self, staging: Staging, held: Manifest | None, merged: Merging) -> Manifest:
        """The new manifest, without its files.

        Raises:
            TableError: a gate refuses the table.
        """
        spec = self.spec
        rows_out, quarantined, later = merged.rows(), merged.quarantined(), merged.later
        valid = sum(batch.valid for batch in staging.batches)
        refused = sum(batch.refused for batch in staging.batches)
        rows_in = rows_out + quarantined + later
        failures = gates.judge(
            spec, self.before, valid + refused, refused + merged.duplicates, rows_in, rows_out + later
        )
        if spec.gates.freshness is not None:
            latest = merged.latest(str(spec.known_at or spec.day), self.as_of)
            failures += gates.fresh_enough(spec, latest, self.as_of)
        unmatched, missing = gates.unmatched(merged)
        failures += missing
        if failures:
            self._refuse(staging, merged, failures, rows_in)
        cleaned = staging.cleaned()
        if spec.cleaning.dedupe:
            cleaned[f"dedupe {spec.cleaning.dedupe}"] = merged.duplicates
        return Manifest(
            table=self.table,
            fingerprint="",
            source_fingerprint=None,
            as_of=self.until.isoformat(),
            rows_in=rows_in,
            rows_out=rows_out,
            quarantined=quarantined,
            later=later,
            files={},
            reasons=merged.reasons(),
            read=valid + refused + sum(batch.erased for batch in staging.batches),
            erased=sum(batch.erased for batch in staging.batches),
            replaced=merged.replaced,
            cleaned=cleaned,
            unmatched=unmatched,
            mark=_mark(spec, staging, held, merged),
        )

    def _refuse(self, staging: Staging, merged: Merging, failures: list[gates.Failure], rows_in: int) -> None:
        """Write the refused rows and a report, then raise."""
        folder = self.folder / "refused"
        with replacing(folder / "quarantine.parquet") as temporary:
            merged.write_quarantine(temporary)
        reasons, looked = merged.reasons(), "its rows are valid"
        if reasons:
            reason, rows = next(iter(reasons.items()))
            often = f", most often {reason}, in {rows:,}" if len(reasons) > 1 else f", because {reason}"
            looked = f"the rows that are not valid{often}: {folder / 'quarantine.parquet'}"
        sentence = gates.said(self.table, failures, looked)
        report = {
            "table": self.table,
            "as_of": self.as_of.isoformat(),
            "sentence": sentence,
            "failures": [vars(failure) for failure in failures],
            "rows_in": rows_in,
            "reasons": reasons,
        }
        write_json(folder / "report.json", report)
        staging.clear()
        raise quality.TableError(sentence)

    def _profile(self, merged: Merging, changed: bool) -> list[Failure]:
        """Profile the table, and keep the previous ingest's profile if the rows changed since.

        Returns the failure if it fails; the table then has no profile, and the next ingest tries again.
        """
        path = self.folder / "profile.json"
        previous = path.with_name("profile.previous.json")
        if not changed and path.exists():
            return []
        failures: list[Failure] = []
        with secondary(f"profile of table {self.table}", failures):
            after = profile_table(merged.sample(PROFILED_ROWS), self.spec.day, total=merged.rows())
            before = read_json(path)
            if changed and before is not None and before != after:  # equal: of an ingest killed before its manifest
                write_json(previous, before)
            write_json(path, after)
        if failures and path.exists():
            path.replace(previous)  # it describes the previous rows
        return failures

    def _sweep(self, after: Manifest) -> None:
        """Remove files that neither this manifest nor the one before names (a reader may still use the latter)."""
        keep: set[Any] = {*after.files.values(), *(self.before.files.values() if self.before else ())}
        left = chain(self.folder.glob("day=*/*.parquet"), self.folder.glob("day=*/.*.tmp"), self.folder.glob(".*.tmp"))
        for path in chain(left, self.folder.glob("*.parquet")):
            if path.name != "quarantine.parquet" and str(path.relative_to(self.folder)) not in keep:
                path.unlink(missing_ok=True)
        for day in self.folder.glob("day=*"):
            if not any(day.iterdir()):
                day.rmdir()
        shutil.rmtree(self.folder / "refused", ignore_errors=True)


def _mark(spec: Table, staging: Staging, held: Manifest | None, merged: Merging) -> str | int | float | None:
    """Where the next ingest reads from: ``overlap`` before the greatest cursor, or the least of a row not yet known.

    The position never decreases.
    """
    found: Any = behind(staging.reached, spec) if staging.reached is not None else None
    if merged.least_later is not None:
        found = min(found, merged.least_later)
    if held is None or held.mark is None:
        return found  # type: ignore[no-any-return]
    return held.mark if found is None else max(found, held.mark)


def _rules(spec: Table) -> str:
    """Fingerprint of the query and the rules for valid rows: when it changes, the cursor starts again."""
    cursor = {"batch_rows", "overlap", "url_env"}
    return _hash(
        spec.source.model_dump_json(exclude=cursor),
        spec.model_dump_json(include={"key", "day", "known_at", "rows", "cleaning"}),
        *(f"{name} {column.model_dump_json(exclude={'description'})}" for name, column in spec.columns.items()),
    )


def _hash(*parts: object) -> str:
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).hexdigest()
