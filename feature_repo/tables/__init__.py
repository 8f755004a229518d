"""Raw tables: their sources, the rules for valid rows, and their storage."""

from feature_repo.tables.ingest import ingest_table
from feature_repo.tables.table_files import Manifest, connect, manifest, table_path

__all__ = ["Manifest", "connect", "ingest_table", "manifest", "table_path"]
