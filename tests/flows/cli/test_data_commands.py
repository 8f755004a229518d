"""``headrace profile``: a page per table without any server, or one sentence."""

from __future__ import annotations

from pathlib import Path

from tests.flows.cli.test_app import headrace


def test_a_table_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    for words, said in (
        (["profile", "wether"], "There is no table 'wether'. Did you mean 'weather'?"),
        (["profile", "weather"], "Table 'weather' has no rows to profile yet"),
        (["profile"], "No table was ingested into"),
    ):
        shown = headrace(tmp_path, *words)
        assert shown.returncode == 1 and said in shown.stderr and shown.stderr.count("\n") == 1


def test_the_path_of_the_page_is_printed(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from configs import load_settings
    from feature_repo.tables import ingest_table

    settings = load_settings("local", {"HEADRACE_HOME": str(tmp_path)})
    ingest_table(settings, "airlines", datetime(2014, 1, 1, tzinfo=UTC))
    shown = headrace(tmp_path, "profile", "airlines")
    assert shown.returncode == 0 and shown.stdout.strip() == str(tmp_path / "reports" / "tables" / "airlines.html")
    every = headrace(tmp_path, "profile").stdout.split()
    assert [Path(line).name for line in every] == ["airlines.html", "index.html"]
    assert all(Path(line).is_file() for line in every)
