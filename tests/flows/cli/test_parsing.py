"""Flows from words on a command line: what they do not take, and what of an error is shown."""

from __future__ import annotations

import io
import logging

import pytest

from configs import ConfigError
from flows.cli.parsing import _quiet_console, call
from flows.parameters import UsageError


@pytest.mark.parametrize(
    ("flow", "given", "sentence"),
    [
        ("ingest", {"tables": "flights"}, "--param tables=flights: expected a list such as [one, other]."),
        ("materialize", {"since": "yesterday"}, "--param since=yesterday: expected a time such as 2013-12-17 or"),
        ("materialize", {"force": "perhaps"}, "--param force=perhaps: expected true or false."),
    ],
)
def test_a_value_of_another_type_is_refused_before_the_flow_begins(flow, given, sentence):
    with pytest.raises(UsageError) as error:
        call(flow, None, given)
    assert str(error.value).startswith(sentence) and "\n" not in str(error.value)


@pytest.mark.parametrize(("error", "shown"), [(ConfigError("no"), False), (KeyError("no"), True)])
def test_the_console_has_the_traceback_of_an_unexpected_error_only(monkeypatch, error, shown):
    console = logging.StreamHandler(io.StringIO())
    monkeypatch.setattr(logging.getLogger(), "handlers", [console])
    _quiet_console()
    try:
        raise error
    except Exception:
        logging.getLogger("flow_runs").exception("It failed.")
    said = console.stream.getvalue()
    assert said.startswith("It failed.") and ("Traceback" in said) is shown
