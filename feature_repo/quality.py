"""What a valid row of each raw table is, and the split of a table into valid rows and quarantined ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    import pandera.pandas as pa

__all__ = ["Checked", "TableError", "check", "schema"]


class TableError(ValueError):
    """A whole table that cannot be used (a column is missing or of the wrong kind); one sentence for a person."""


@dataclass(frozen=True)
class Checked:
    """A table split in two: ``valid`` rows, typed; ``refused`` rows as they came, with a ``reason`` column."""

    valid: pd.DataFrame
    refused: pd.DataFrame


def schema(table: str) -> pa.DataFrameSchema:
    """The declared schema of a raw table.

    Raises:
        TableError: there is none of that name.
    """
    schemas = _schemas()
    if table not in schemas:
        from configs.reading import nearest

        raise TableError(
            f"No schema is declared for table '{table}'.{nearest(table, list(schemas))} "
            "Add one to feature_repo/quality.py."
        )
    return schemas[table]


def _schemas() -> dict[str, pa.DataFrameSchema]:
    import pandera.pandas as pa

    time = pd.DatetimeTZDtype("us", "UTC")

    def text(pattern: str, nullable: bool = False) -> pa.Column:
        return pa.Column(object, pa.Check.str_matches(pattern), nullable=nullable)

    def number(low: float, high: float, kind: type = float, nullable: bool = True) -> pa.Column:
        return pa.Column(kind, pa.Check.in_range(low, high), nullable=nullable, coerce=True)

    carrier, airport, plane = text("^[A-Z0-9]{2}$"), text("^[A-Z]{3}$"), text("^[A-Z0-9]{3,7}$")
    moment = pa.Column(time, coerce=True)
    return {
        "flights": pa.DataFrameSchema(
            {
                "flight_id": text("^.{10,40}$"),
                "carrier": carrier,
                "flight": number(1, 9999, int, nullable=False),
                "origin": airport,
                "dest": airport,
                "tailnum": plane,
                "tailnum_assumed": pa.Column(bool),
                "scheduled_departure": moment,
                "scheduled_arrival": moment,
                "distance": number(50, 6000, nullable=False),
                "known_at": moment,
            },
            checks=[
                pa.Check(
                    lambda frame: (
                        (frame["scheduled_arrival"] - frame["scheduled_departure"]).dt.total_seconds() / 60
                    ).between(30, 900),
                    name="scheduled_to_last_30_to_900_minutes",
                ),
                pa.Check(lambda frame: frame["origin"] != frame["dest"], name="destination_differs_from_origin"),
            ],
            strict=True,
        ),
        "outcomes": pa.DataFrameSchema(
            {
                "flight_id": text("^.{10,40}$"),
                "carrier": carrier,
                "origin": airport,
                "dest": airport,
                "tailnum": text("^[A-Z0-9]{3,7}$", nullable=True),
                "dep_delay": number(-120, 2000),
                "arr_delay": number(-180, 2000),
                "cancelled": pa.Column(bool),
                "diverted": pa.Column(bool),
                "known_at": moment,
            },
            checks=[
                pa.Check(
                    lambda frame: frame["arr_delay"].isna() == (frame["cancelled"] | frame["diverted"]),
                    name="arrival_delay_exactly_when_arrived",
                )
            ],
            strict=True,
        ),
        "weather": pa.DataFrameSchema(
            {
                "origin": airport,
                "temp": number(-60, 130),
                "dewp": number(-80, 100),
                "humid": number(0, 100),
                "wind_dir": number(0, 360),
                "wind_speed": number(0, 150),
                "wind_gust": number(0, 250),
                "precip": number(0, 20),
                "pressure": number(850, 1100),
                "visib": number(0, 50),
                "observed_at": moment,
                "known_at": moment,
            },
            strict=True,
        ),
        "planes": pa.DataFrameSchema(
            {
                "tailnum": plane,
                "year": number(1920, 2100),
                "type": pa.Column(object),
                "manufacturer": pa.Column(object),
                "model": pa.Column(object),
                "engines": number(1, 8, int, nullable=False),
                "seats": number(1, 900, int, nullable=False),
                "speed": number(1, 2000),
                "engine": pa.Column(object),
            },
            strict=True,
        ),
        "airports": pa.DataFrameSchema(
            {
                "faa": text("^[A-Z0-9]{3}$"),
                "name": pa.Column(object),
                "lat": number(-90, 90, nullable=False),
                "lon": number(-180, 180, nullable=False),
                "alt": number(-1500, 20000, int, nullable=False),
                "tz": number(-12, 14, int, nullable=False),
                "dst": pa.Column(object, nullable=True),
                "tzone": pa.Column(object, nullable=True),
            },
            strict=True,
        ),
        "airlines": pa.DataFrameSchema({"carrier": carrier, "name": pa.Column(object)}, strict=True),
    }


def check(frame: pd.DataFrame, schema: pa.DataFrameSchema, key: list[str], table: str) -> Checked:
    """Split ``frame`` by ``schema``; of rows that share ``key`` the first stays.

    Every input row is in exactly one of the two parts.

    Raises:
        TableError: the failure is not one of rows: a column missing, unknown, or not convertible.
    """
    import pandera.errors

    frame = frame.reset_index(drop=True)
    absent = [column for column in schema.columns if column not in frame]
    unknown = [str(column) for column in frame if column not in schema.columns]
    if absent or unknown:
        raise TableError(
            f"Table '{table}': "
            + (f"column '{absent[0]}' is missing" if absent else f"column '{unknown[0]}' is not declared")
            + f"; it has {', '.join(map(str, frame.columns))}; mend it or its schema in feature_repo/quality.py."
        )
    reasons = pd.Series("", index=frame.index, dtype=object)
    duplicate = frame.duplicated(key, keep="first")
    reasons[duplicate] = f"duplicate key ({', '.join(key)}); "
    valid = frame
    while True:  # once more without the rows found: a value that cannot be converted hides what else is in its column
        try:
            valid = schema.validate(valid, lazy=True)
            break
        except pandera.errors.SchemaErrors as errors:
            said = _row_failures(errors.failure_cases, len(frame), table)
        reasons.loc[said.index] += said + "; "
        valid = valid.drop(index=said.index)
    bad = reasons != ""
    refused = frame[bad].assign(reason=reasons[bad].str.removesuffix("; "))
    return Checked(
        valid=valid[~bad.reindex(valid.index)].reset_index(drop=True), refused=refused.reset_index(drop=True)
    )


def _row_failures(cases: pd.DataFrame, rows: int, table: str) -> pd.Series:
    """What is wrong with each row, by its index, from pandera's failure cases of a table of ``rows`` rows.

    Raises:
        TableError: a failure is not one of rows.
    """
    checks = cases["check"].astype(str)
    cells = checks.str.startswith("coerce_dtype") & cases["index"].notna()
    if cells.any() and cases[cells].groupby("column")["index"].nunique().max() < rows:
        cases = cases[cases["index"].notna() & ~checks.str.startswith("dtype")]  # the rest failed for their sake
    if cases["index"].isna().any():
        case = cases[cells if cells.any() else cases["index"].isna()].iloc[0]
        raise TableError(
            f"Table '{table}', column '{case['column']}': {case['check']} failed with {case['failure_case']!r}; "
            "mend the source or its schema in feature_repo/quality.py."
        )
    by_column = (cases["schema_context"] == "Column").to_numpy()
    said = (
        (cases["column"].astype(str) + " = " + cases["failure_case"].astype(str)).where(by_column, "row")
        + " fails "
        + cases["check"].astype(str)
    )
    unique = pd.DataFrame({"index": cases["index"].astype(int), "said": said}).drop_duplicates()
    return unique.groupby("index")["said"].agg("; ".join)
