"""A label is true, false, 0, 1 or null: never cast from anything else."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from configs import load_model, load_settings
from configs.model import ModelSpec
from configs.table import Table
from feature_repo.frames.training_frame import LabelError, labels
from feature_repo.tables import ingest_table

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
ROWS = 20


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A home with one table ``results`` of 20 rows: ``flight_id``, ``n`` (1 to 20) and ``known_at``."""
    folder = tmp_path_factory.mktemp("labels")
    rows = pd.DataFrame({"flight_id": [f"f{n:02d}" for n in range(1, ROWS + 1)], "n": range(1, ROWS + 1)})
    rows["known_at"] = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(rows["n"], unit="D")
    rows.to_parquet(folder / "results.parquet", index=False)
    table = Table.model_validate(
        {
            "description": "Results.",
            "source": {"kind": "parquet", "location": str(folder / "results.parquet")},
            "key": ["flight_id"],
            "known_at": "known_at",
            "columns": {"flight_id": {"type": "string"}, "n": {"type": "integer"}, "known_at": {"type": "time"}},
        }
    )
    settings = load_settings("local", {"HEADRACE_HOME": str(folder / "home")})
    settings = settings.model_copy(update={"tables": {"results": table}})
    ingest_table(settings, "results", AS_OF)
    return settings


def spec(positive: str) -> ModelSpec:
    content = load_model("flight_delay").model_dump(mode="json")
    return ModelSpec.model_validate(
        content | {"label": {"table": "results", "positive": positive, "known_at": "known_at"}}
    )


KINDS = {
    "BOOLEAN": st.booleans(),
    "TINYINT": st.integers(-2, 3),
    "BIGINT": st.integers(-(2**40), 2**40) | st.integers(0, 1),
    "UINTEGER": st.integers(0, 3),
    "HUGEINT": st.sampled_from([0, 1, 2**64 + 1]),
    "DOUBLE": st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e-300, 0.9999999999999999, float("nan"), float("inf")]),
    "DECIMAL(38, 30)": st.sampled_from([Decimal(0), Decimal(1), Decimal("0.000000000000000000000000000001")]),
    "VARCHAR": st.sampled_from(["0", "1", "true", "it's late"]),
    "DATE": st.just("2024-01-01"),
}
COLUMN = st.sampled_from([*KINDS]).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(st.none() | KINDS[kind], min_size=ROWS, max_size=ROWS))
)


@examples(max_examples=60, deadline=None)
@given(COLUMN)
def test_a_column_gives_its_labels_or_one_error_with_the_number_of_wrong_rows(here, drawn):
    kind, values = drawn
    texts = ["NULL" if each is None else "'" + str(each).replace("'", "''") + "'" for each in values]
    positive = f"CAST([{', '.join(texts)}] AS {kind}[])[n]"
    wrong = [each for each in values if each is not None and (isinstance(each, str) or each not in (0, 1))]
    if wrong:
        with pytest.raises(LabelError) as raised:
            labels(here, spec(positive), AS_OF)
        said = str(raised.value)
        assert said.startswith(f"Model 'flight_delay': label.positive = '{positive}' returns a value other than true,")
        assert f" in {len(wrong)} of {ROWS} rows of table 'results', for example " in said
        return
    found = labels(here, spec(positive), AS_OF)
    assert list(found["flight_id"]) == [f"f{n:02d}" for n, each in enumerate(values, 1) if each is not None]
    assert found["label"].tolist() == [int(each) for each in values if each is not None]
    assert found["label"].dtype == "int32"


@pytest.mark.parametrize(
    ("positive", "said"),
    [
        ("least(n, 10) / 10", "in 9 of 20 rows of table 'results', for example 0.1; write a condition, for example "
         "(least(n, 10) / 10) > 0.5."),
        ("CASE WHEN n < 4 THEN 'late' END", "in 3 of 20 rows of table 'results', for example 'late'; write a "
         "condition, for example (CASE WHEN n < 4 THEN 'late' END) = 'late'."),
        ("known_at", "write a condition, for example (known_at) IS NOT NULL."),
        ("delay > 5", "label.positive = 'delay > 5' cannot be computed on table 'results': Binder Error: Referenced "
         'column "delay" not found in FROM clause; correct it in the model\'s file.'),
        ("'x'::INTEGER", "cannot be computed on table 'results': Conversion Error: Could not convert string 'x'"),
    ],
)  # fmt: skip
def test_the_error_says_what_to_write_instead(here, positive, said):
    with pytest.raises(LabelError) as raised:
        labels(here, spec(positive), AS_OF)
    assert said in str(raised.value)
