"""``headrace models`` as a person meets it: what cannot be done is one sentence, at once, also with the stack down."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.cli.test_app import MLFLOW, headrace


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (
            "alias flight_delay shadow",
            2,
            "models alias flight_delay shadow: expected a version and an alias, such as `flight_delay 3 shadow`, or an "
            "alias with --remove.",
        ),
        ("annotate flight_delay 1 seen", 2, "models annotate: 'seen' is not key=value, such as reviewed_by=ann."),
        (
            "annotate flight_delay 1 headrace.as_of=now",
            2,
            "models annotate: 'headrace.as_of' is reserved for Headrace; choose a key without 'headrace.'.",
        ),
        (
            "annotate flight_delay 1",
            2,
            "models annotate flight_delay 1: nothing to add; pass key=value or --description.",
        ),
        ("list flight_delya", 1, "There is no model 'flight_delya'. Did you mean 'flight_delay'?"),
        ("approve flight_delay 1 --by ann", 1, "MLflow (runs, registry) does not answer at http://127.0.0.1:MLFLOW"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, words: str, code: int, sentence: str) -> None:
    said = headrace(tmp_path, "models", *words.split())
    assert said.returncode == code, said.stderr
    assert said.stderr.startswith(sentence.replace("MLFLOW", str(MLFLOW))) and said.stderr.count("\n") == 1
