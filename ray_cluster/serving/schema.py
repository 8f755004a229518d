"""The schema of requests and responses: pydantic models created from a model's specification."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic_core import from_json

from configs.model import RequestField, Requests
from configs.reading import nearest
from feature_repo.storage.float32 import LARGEST
from ray_cluster.serving.errors import InvalidRequestError, Problem, Problems, invalid_fields, shown, unknown_fields

__all__ = ["Answer", "Answers", "Explanation", "RequestSchema", "ViewAge", "ViewFreshness"]

#: Longer strings are refused: no identifier is that long, and they would be stored in the prediction log.
MOST_CHARACTERS = 256
#: Times outside these years are refused: nanosecond timestamps end in 2262.
FIRST_YEAR, LAST_YEAR = 1900, 2200

_ISO = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)")
_TIME_WORDS = "an ISO 8601 time with offset, such as 2013-12-17T15:30:00Z"


def _time(value: object) -> datetime:
    if not isinstance(value, str) or not _ISO.fullmatch(value):
        raise ValueError(_TIME_WORDS)
    moment = datetime.fromisoformat(value.upper())
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"a year from {FIRST_YEAR} to {LAST_YEAR}")
    return moment.astimezone(UTC)


#: A time in JSON; a UTC datetime in Python.
Moment = Annotated[datetime, BeforeValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]

_TYPES: dict[str, tuple[Any, str]] = {
    "string": (
        Annotated[StrictStr, Field(max_length=MOST_CHARACTERS)],
        f"a string of at most {MOST_CHARACTERS} characters",
    ),
    "integer": (Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)], "a whole number (not in quotes)"),
    "number": (
        Annotated[StrictFloat, Field(allow_inf_nan=False, ge=-LARGEST, le=LARGEST)],
        f"a finite number (not in quotes) between ±{LARGEST:.1e}",
    ),
    "time": (Moment, f"{_TIME_WORDS} (years {FIRST_YEAR} to {LAST_YEAR})"),
}


class ViewAge(BaseModel):
    """The age of the values of one feature view."""

    event_time: datetime | None = Field(description="The time the values describe; null if the view has none")
    age_seconds: float | None = Field(description="as_of minus event_time, in seconds")


class ViewFreshness(ViewAge):
    """The age of one feature view's value for this row, and the as-of time of the view's materialization."""

    ttl_seconds: float | None = Field(description="Values older than this have expired; null: they never expire")
    expired: bool = Field(description="Whether the value had expired at as_of")
    known_until: datetime | None = Field(
        description="The as-of time of the view's materialization; null if it was never materialized"
    )
    features: list[str] = Field(description="The model's inputs from this view, all of this age")


class Explanation(BaseModel):
    """The origin of a probability."""

    features: dict[str, Any] = Field(description="The model's input, as read from the online store and the request")
    views: dict[str, ViewAge]


class Answer(BaseModel):
    """The prediction for one row."""

    prediction_id: str = Field(description="The id of this row in the prediction log")
    id: str | None = Field(description="The request's own id, as sent")
    probability: float | None = Field(ge=0, le=1, description="Of the positive class; null if the model abstained")
    decision: bool | None = Field(description="probability ≥ threshold; null if the model abstained")
    model: str
    version: int = Field(description="The registered version that answered")
    as_of: datetime = Field(description="Features are as known at this time")
    status: Literal["ok", "partial", "unknown", "abstained"] = Field(
        description="ok: every feature view has a value for this row; partial: some views have one; "
        "unknown: none has, and the probability is based on the request alone; "
        "abstained: a required value had expired, so the model gives no probability"
    )
    reason: str | None = Field(None, description="Why the model abstained: view, entity, age and TTL")
    unknown_entities: list[str] | None = Field(None, description="Entities with no value in any of their feature views")
    missing_features: int = Field(description="Number of the model's inputs that were null")
    explanation: Explanation | None = None
    ages: dict[str, ViewFreshness] | None = Field(None, description="With ?ages=true: the age of each view's value")


class Answers(BaseModel):
    """The predictions for the rows of ``instances``, in their order."""

    predictions: list[Answer]


class RequestSchema:
    """Read request bodies of one model.

    A body is one JSON object, or ``{"instances": [object, ...]}`` with 1 to ``max_rows`` of them.

    >>> from configs import load_model
    >>> schema = RequestSchema(load_model("flight_delay").requests, max_rows=10)
    >>> schema.read(b'{"instances": 7}')
    Traceback (most recent call last):
    ray_cluster.serving.errors.InvalidRequestError: instances = 7: expected a list of 1 to 10 objects.
    """

    def __init__(self, requests: Requests, max_rows: int) -> None:
        self.requests = requests
        self.max_rows = max_rows
        self.times = [name for name, field in requests.fields.items() if field.type == "time"]
        self.expectations: dict[str, str] = {}
        fields: dict[str, Any] = {}
        for name, field in {**requests.entities, **requests.fields}.items():
            fields[name] = self._field(name, field)
        for name, field in {
            requests.id: RequestField(
                type="string", description="Your id of this row, stored in the log", required=False
            ),
            "as_of": RequestField(
                type="time", description="As-of time of the features; default: now or earlier", required=False
            ),
        }.items():
            if name not in fields:  # the id may be one of the entities or fields
                fields[name] = self._field(name, field)
        known = sorted(self.expectations)
        self._known = ", ".join(known)
        # clients repeat their errors: cache the search for the closest name instead of one per row and request
        self._suggestion = lru_cache(maxsize=1000)(lambda name: nearest(name, known))
        self.row = create_model("PredictionRequest", __config__=ConfigDict(extra="forbid"), **fields)

    def _field(self, name: str, field: RequestField) -> tuple[Any, Any]:
        kind, words = _TYPES[field.type]
        options: dict[str, Any] = {"description": field.description}
        if field.example is not None:
            options["examples"] = [field.example]
        if field.pattern is not None:
            kind = Annotated[kind, Field(pattern=field.pattern)]
            words += f" matching {field.pattern}"
        self.expectations[name] = words if field.required else f"{words}, or null"
        return (kind, Field(..., **options)) if field.required else (kind | None, Field(None, **options))

    def read(self, body: bytes) -> tuple[list[dict[str, Any]], bool]:
        """The rows of a body, and whether they came as ``instances``; times are UTC datetimes, absent values None.

        Raises:
            InvalidRequestError: the problems, per field.
        """
        try:
            content = from_json(body, allow_inf_nan=False)
        except ValueError as error:
            expected = "a JSON object"
            shortened = shown(body[:200].decode("utf-8", "replace"))
            raise InvalidRequestError.of("", shortened, expected, f"The body is not JSON: {error}.") from None
        if not isinstance(content, dict) or "instances" not in content:
            problems = Problems()
            row = self._row(content, problems)
            problems.check()
            return [row], False
        instances = content["instances"]
        if len(content) > 1:
            other = next(name for name in content if name != "instances")
            message = f"{shown(other)} is next to instances: expected every field inside the objects of instances."
            raise InvalidRequestError.of(str(shown(other)), content[other], "no field next to instances", message)
        expected = f"a list of 1 to {self.max_rows} objects"
        if not isinstance(instances, list):
            raise InvalidRequestError.of(
                "instances", instances, expected, f"instances = {shown(instances)}: expected {expected}."
            )
        if not 1 <= len(instances) <= self.max_rows:
            message = f"instances has {len(instances)} rows: expected {expected}."
            raise InvalidRequestError.of("instances", len(instances), expected, message)
        problems = Problems()
        rows = [self._row(instance, problems, f"instances[{number}].") for number, instance in enumerate(instances)]
        problems.check()
        return rows, True

    def _row(self, content: object, problems: Problems, prefix: str = "") -> dict[str, Any]:
        """One row; its problems are added to ``problems``, and the returned row is then invalid."""
        if not isinstance(content, Mapping):
            problems.add(self._no_object(content, prefix))
            return {}
        unknown = [name for name in content if name not in self.expectations]
        if unknown:
            found = unknown_fields(unknown, content, self._known, self._suggestion, prefix)
            problems.add(found, len(unknown))
            content = {name: content[name] for name in self.expectations if name in content}
        try:
            return dict(self.row.model_validate(content))
        except ValidationError as error:
            problems.add(invalid_fields(error, self.expectations, prefix), error.error_count())
            return {}

    def _no_object(self, content: object, prefix: str) -> Iterator[Problem]:
        where, value, expected = prefix.rstrip("."), shown(content), "a JSON object with the fields of one request"
        message = f"{where or 'body'} = {value!r}: expected {expected}."
        yield Problem(field=where or "body", value=value, expected=expected, message=message)

    def example(self) -> dict[str, Any]:
        """A request with the fields' examples; null for a field without an example."""
        fields = {**self.requests.entities, **self.requests.fields}
        return {name: field.example for name, field in fields.items()}

    def openapi(self) -> dict[str, Any]:
        """The ``requestBody`` of the OpenAPI description: one row or ``instances``, with examples."""
        row = self.row.model_json_schema()
        rows = {"type": "array", "items": row, "minItems": 1, "maxItems": self.max_rows}
        many = {
            "title": "PredictionRequests",
            "type": "object",
            "properties": {"instances": rows},
            "required": ["instances"],
            "additionalProperties": False,
        }
        examples = {
            "one row": {"value": self.example()},
            "several rows": {"value": {"instances": [self.example(), self.example()]}},
        }
        content = {"application/json": {"schema": {"anyOf": [row, many]}, "examples": examples}}
        return {"requestBody": {"required": True, "content": content}}
