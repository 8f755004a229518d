"""Secondary work records its failure and lets the main work finish."""

from __future__ import annotations

import logging

import pytest

from feature_repo.storage.secondary import secondary


def test_a_failure_is_recorded_with_its_first_line_and_logged_as_a_warning(caplog):
    failures: list[dict[str, str]] = []
    with caplog.at_level(logging.DEBUG), secondary("chart roc", failures):
        raise ValueError("could not convert 'A1'\nmore lines")
    assert failures == [{"what": "chart roc", "why": "ValueError: could not convert 'A1'"}]
    warning, detail = caplog.records
    assert warning.levelname == "WARNING" and warning.message.endswith(": ValueError: could not convert 'A1'")
    assert detail.levelname == "DEBUG" and detail.exc_info


def test_what_succeeds_leaves_no_trace_and_an_interrupt_is_not_caught(caplog):
    failures: list[dict[str, str]] = []
    with secondary("chart roc", failures):
        pass
    with pytest.raises(KeyboardInterrupt), secondary("chart roc", failures):
        raise KeyboardInterrupt
    with secondary("chart pr"):
        raise AssertionError
    assert failures == [] and [record.message for record in caplog.records] == [
        "The chart pr failed and is left out: AssertionError"
    ]
