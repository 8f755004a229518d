"""Take one entity's rows out of the scored batches."""

from __future__ import annotations

from configs.settings import Settings
from feature_repo.files import replacing
from feature_repo.tables.erasing import rows_of

__all__ = ["erase_scores"]


def erase_scores(settings: Settings, join_key: str, value: str, dry_run: bool = False) -> dict[str, int]:
    """Remove rows with ``value`` in the column ``join_key``; model → how many there were."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: dict[str, int] = {}
    for path in sorted((settings.home / "scores").glob("*/*.parquet")):
        with pq.ParquetFile(path) as file:
            if join_key not in file.schema_arrow.names:
                continue
            hits = rows_of(file.read([join_key])[join_key], value)
            number = pc.sum(hits).as_py() or 0
            found[path.parent.name] = found.get(path.parent.name, 0) + number
            if number and not dry_run:
                rows = file.read().filter(pc.invert(hits))
                with replacing(path) as temporary:
                    pq.write_table(rows, temporary)
    return found
