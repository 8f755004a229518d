"""The prediction log survives kills, and is read by the time features were as of."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from configs import Settings, load_settings
from feature_repo.storage.document_format import DocumentError
from ray_cluster.serving.prediction_log import (
    COLUMNS,
    PredictionLine,
    PredictionLog,
    parse_line,
    predictions_folder,
    read_predictions,
)


def line(identity: str, as_of: str) -> PredictionLine:
    values: dict[str, Any] = {
        "prediction_id": identity,
        "as_of": as_of,
        "served_at": as_of,
        "entities": {"carrier": "UA"},
        "score": 0.5,
    }
    return PredictionLine(**{name: values.get(name) for name in COLUMNS})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(variables={"HEADRACE_HOME": str(tmp_path)})


def test_reads_what_was_written_between_two_times(settings: Settings) -> None:
    log = PredictionLog(predictions_folder(settings, "m"), "r1")
    times = ["2013-12-16T23:59:59+00:00", "2013-12-17T00:00:00.5+00:00", "2013-12-17T00:00:00+00:00"]
    log.append([line(str(number), moment) for number, moment in enumerate(times)])
    frame = read_predictions(settings, "m")
    assert list(frame["prediction_id"]) == ["0", "2", "1"]
    assert frame["entities"][0] == {"carrier": "UA"}
    assert str(frame["as_of"].dtype) == "datetime64[ns, UTC]"
    midnight = datetime(2013, 12, 17, tzinfo=UTC)
    assert list(read_predictions(settings, "m", start=midnight)["prediction_id"]) == ["2", "1"]
    assert list(read_predictions(settings, "m", end=midnight)["prediction_id"]) == ["0"]


def test_no_predictions_is_an_empty_frame_with_the_same_columns(settings: Settings) -> None:
    frame = read_predictions(settings, "m", start=datetime(2013, 1, 1, tzinfo=UTC))
    assert list(frame.columns) == list(COLUMNS)
    assert str(frame["as_of"].dtype) == "datetime64[ns, UTC]"


def test_lines_without_the_later_keys_and_without_a_score_are_read(settings: Settings) -> None:
    folder = predictions_folder(settings, "m")
    old = line("a", "2013-12-17T00:00:00+00:00").to_json()
    for name in ("format", "known_until", "expired", "view_versions"):
        del old[name]
    abstained = line("b", "2013-12-17T01:00:00+00:00")._replace(score=None, known_until={"weather": None})
    PredictionLog(folder, "r1").append([abstained])
    (path,) = folder.glob("*/*.jsonl")
    path.write_text(json.dumps(old) + "\n" + path.read_text())
    frame = read_predictions(settings, "m")
    assert frame["known_until"].tolist() == [None, {"weather": None}]
    assert str(frame["score"].dtype) == "float64" and frame["score"].isna().tolist() == [False, True]
    assert frame.attrs["torn"] == 0


def test_a_line_is_read_as_it_was_written_and_its_format_is_named(settings: Settings) -> None:
    written = line("a", "2013-12-17T00:00:00+00:00")._replace(features={"wind": 7.5, "gust": None}, decision=True)
    folder = predictions_folder(settings, "m")
    PredictionLog(folder, "r1").append([written])
    (path,) = folder.glob("*/*.jsonl")
    assert parse_line(path.read_bytes()) == written
    assert list(json.loads(path.read_text())) == ["format", *COLUMNS]


def test_a_line_of_a_newer_format_is_an_error_and_not_torn(settings: Settings) -> None:
    folder = predictions_folder(settings, "m")
    PredictionLog(folder, "r1").append([line("a", "2013-12-17T00:00:00+00:00")])
    (path,) = folder.glob("*/*.jsonl")
    path.write_text(path.read_text().replace('"format":1', '"format":2'))
    with pytest.raises(
        DocumentError, match=r"^A line of the prediction log has format 2, and this version of Headrace "
    ):
        read_predictions(settings, "m")


@pytest.mark.parametrize("text", [b"", b"\n", b"12", b"[]", b"null", b'{"prediction_id": "a"}', b'{"format": 1'])
def test_what_is_no_whole_line_is_torn(text: bytes) -> None:
    assert parse_line(text) is None


def test_a_torn_last_line_is_skipped_and_counted(settings: Settings) -> None:
    folder = predictions_folder(settings, "m")
    PredictionLog(folder, "r1").append([line("a", "2013-12-17T00:00:00+00:00"), line("b", "2013-12-17T01:00:00+00:00")])
    (path,) = folder.glob("*/*.jsonl")
    path.write_bytes(path.read_bytes()[:-40])
    PredictionLog(folder, "r2").append([line("c", "2013-12-17T02:00:00+00:00")])
    frame = read_predictions(settings, "m")
    assert list(frame["prediction_id"]) == ["a", "c"]
    assert frame.attrs["torn"] == 1


def test_a_write_cut_short_loses_only_its_own_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PredictionLog(predictions_folder(settings, "m"), "r1")
    log.append([line("a", "2013-12-17T00:00:00+00:00")])
    real, left = os.write, [30]

    def full(descriptor: int, content: bytes) -> int:
        if not left:
            raise OSError(28, "No space left on device")
        return real(descriptor, content[: left.pop()])

    monkeypatch.setattr("ray_cluster.serving.prediction_log.os.write", full)
    with pytest.raises(OSError, match="No space"):
        log.append([line("b", "2013-12-17T00:00:00+00:00")])
    monkeypatch.undo()
    log.append([line("c", "2013-12-17T00:00:00+00:00")])
    frame = read_predictions(settings, "m")
    assert (list(frame["prediction_id"]), frame.attrs["torn"]) == (["a", "c"], 1)


def test_a_killed_writer_leaves_whole_lines(settings: Settings) -> None:
    folder = predictions_folder(settings, "m")
    program = (
        "import sys, itertools, pathlib\n"
        "from ray_cluster.serving.prediction_log import COLUMNS, PredictionLine, PredictionLog\n"
        "log = PredictionLog(pathlib.Path(sys.argv[1]), 'r1')\n"
        "for n in itertools.count():\n"
        "    row = dict.fromkeys(COLUMNS) | {'prediction_id': str(n), 'as_of': '2013-12-17T00:00:00+00:00'}\n"
        "    row |= {'served_at': row['as_of'], 'features': {'f': 'x' * 2000}}\n"
        "    log.append([PredictionLine(**row)] * 5)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)])
    deadline = time.monotonic() + 30
    while not list(folder.glob("*/*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    frame = read_predictions(settings, "m")
    assert len(frame) > 0
    assert frame.attrs["torn"] <= 1
    complete = frame["prediction_id"].value_counts()
    assert (complete != 5).sum() <= 1
