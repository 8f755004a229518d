"""Problems of a request, one sentence each, and the RFC 9457 document of every error."""

from __future__ import annotations

import json
import logging
import math
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from configs.errors import HeadraceError

__all__ = [
    "MOST_PROBLEMS",
    "InvalidRequestError",
    "Problem",
    "ProblemDetails",
    "Problems",
    "install",
    "openapi_response",
    "problem_response",
    "invalid_fields",
    "unknown_fields",
]

logger = logging.getLogger(__name__)

#: Maximum of problems of a request that are described; the rest are counted.
MOST_PROBLEMS = 20
#: Maximum of characters of a shown value.
MOST_CHARACTERS = 80


class Problem(BaseModel):
    """One problem of a request."""

    field: str = Field(
        description="The location: a field, or instances[3].field; empty for the whole body", examples=["origin"]
    )
    value: Any = Field(description="What was sent, shortened to 80 characters", examples=[7])
    expected: str = Field(description="What would be accepted", examples=["a string"])
    message: str = Field(description="The problem in a sentence", examples=["origin = 7: expected a string."])


class ProblemDetails(BaseModel):
    """The body of every error: an RFC 9457 document with the extensions ``errors`` and ``error_id``."""

    type: str = Field(
        description="The kind of error; about:blank if the status is sufficient",
        examples=["urn:headrace:problem:invalid-request"],
    )
    title: str = Field(description="The kind of error in words", examples=["Invalid request"])
    status: int = Field(description="The HTTP status", examples=[422])
    detail: str = Field(description="What is wrong with this request", examples=["origin = 7: expected a string."])
    instance: str = Field(description="The path of the request", examples=["/models/flight_delay/predict"])
    errors: list[Problem] | None = Field(
        None, description=f"The problems of the request, each with its field; at most {MOST_PROBLEMS}"
    )
    error_id: str | None = Field(None, description="With status 500: the id under which the log has the traceback")


class InvalidRequestError(HeadraceError):
    """The request cannot be answered.

    Args:
        problems: the problems that the response describes, at least one.
        status: the HTTP status to send: 413, 422 or 503.
        count: total number of problems; default: the number of described ones.
    """

    def __init__(self, problems: Sequence[Problem], status: int = 422, count: int | None = None) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = list(problems)
        self.status = status
        self.count = len(problems) if count is None else count

    @classmethod
    def of(cls, field: str, value: object, expected: str, message: str, status: int = 422) -> InvalidRequestError:
        """A request with a single problem."""
        return cls([Problem(field=field, value=shown(value), expected=expected, message=message)], status)


class Problems:
    """Collect the problems of one request: describe the first :data:`MOST_PROBLEMS` and count all.

    A description costs more than the check that finds the problem (it quotes values and suggests names), and one
    request can have 100,000 problems, so only the first problems are described.

    Attributes:
        described: the first problems.
        count: number of added problems.
    """

    def __init__(self) -> None:
        self.described: list[Problem] = []
        self.count = 0

    def add(self, found: Iterable[Problem], count: int = 1) -> None:
        """Add ``count`` problems; ``found`` yields their descriptions and is read only up to the maximum."""
        self.described += islice(found, MOST_PROBLEMS - len(self.described))
        self.count += count

    def check(self, status: int = 422) -> None:
        """Raise an :class:`InvalidRequestError` if there are any."""
        if self.count:
            raise InvalidRequestError(self.described, status, self.count)


def shown(value: object) -> Any:
    """``value`` as an error may repeat it: short scalars unchanged, other values as shortened text.

    A large list or object takes no longer than a small one.
    """
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    if isinstance(value, str):
        long = len(value) > MOST_CHARACTERS
        return f"{value[:MOST_CHARACTERS]}… ({len(value)} characters)" if long else value
    if isinstance(value, float) and repr(value) not in ("inf", "-inf", "nan"):
        return value
    text = ""
    for part in json.JSONEncoder(ensure_ascii=False, default=repr).iterencode(value):
        text += part[: MOST_CHARACTERS + 1]
        if len(text) > MOST_CHARACTERS:
            return f"{text[:MOST_CHARACTERS]}…"
    return text


def invalid_fields(error: ValidationError, expectations: Mapping[str, str], prefix: str = "") -> Iterator[Problem]:
    """Describe pydantic's errors in the known fields of one row.

    Args:
        error: the error of pydantic.
        expectations: field name → the expected values, in words.
        prefix: location of the row in the body, such as ``instances[3].``
    """
    for each in error.errors(include_url=False, include_context=False):
        name = str(each["loc"][0])
        expected = expectations[name]
        if each["type"] == "missing":
            value, message = None, f"{prefix}{name} is missing: expected {expected}."
        else:
            value = shown(each["input"])
            message = f"{prefix}{name} = {value!r}: expected {expected}."
        yield Problem(field=f"{prefix}{name}", value=value, expected=expected, message=message)


def unknown_fields(
    names: Iterable[str], row: Mapping[str, Any], known: str, suggestion: Callable[[str], str], prefix: str = ""
) -> Iterator[Problem]:
    """Describe fields of a row that the model does not have.

    Args:
        names: the unknown fields.
        row: the row as sent.
        known: the names of the known fields, separated by commas.
        suggestion: unknown name → a sentence with the closest known one, or an empty string.
        prefix: location of the row in the body, such as ``instances[3].``
    """
    for name in names:
        short = str(shown(name))
        message = f"{prefix}{short} is not a field of this model.{suggestion(short)} Known: {known}."
        yield Problem(field=f"{prefix}{short}", value=shown(row[name]), expected=f"one of {known}", message=message)


#: The kinds of error that have a type URI, by status.
_KINDS = {
    413: ("urn:headrace:problem:body-too-large", "The body is too large"),
    422: ("urn:headrace:problem:invalid-request", "Invalid request"),
    500: ("urn:headrace:problem:internal-error", "Internal error"),
    503: ("urn:headrace:problem:expired-value", "A feature value has expired"),
}


def problem_response(
    scope: Scope,
    status: int,
    detail: str,
    *,
    errors: Sequence[Problem] | None = None,
    error_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer to the request of an ASGI ``scope``: an RFC 9457 document, see :class:`ProblemDetails`."""
    kind, title = _KINDS.get(status, ("about:blank", HTTPStatus(status).phrase))
    document = ProblemDetails(
        type=kind,
        title=title,
        status=status,
        detail=detail,
        instance=quote(scope["path"][:256]),
        errors=None if errors is None else list(errors),
        error_id=error_id,
    )
    extensions = {name for name in ("errors", "error_id") if getattr(document, name) is None}
    return JSONResponse(
        document.model_dump(exclude=extensions), status, headers=headers, media_type="application/problem+json"
    )


def openapi_response(description: str) -> dict[str, Any]:
    """An entry of ``responses`` in an OpenAPI description, for a status with a :class:`ProblemDetails` body."""
    schema = ProblemDetails.model_json_schema()
    problem = schema.pop("$defs")["Problem"]
    schema["properties"]["errors"]["anyOf"][0]["items"] = problem
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


def _detail(error: InvalidRequestError) -> str:
    first = error.problems[0].message
    if error.count == 1:
        return first
    listed = "" if error.count == len(error.problems) else f"; errors has the first {len(error.problems)}"
    return f"{error.count} problems{listed}. The first: {first}"


def install(
    app: FastAPI, max_body_bytes: float = math.inf, observe: Callable[[int, float], None] = lambda status, seconds: None
) -> None:
    """Answer every error of ``app`` with :class:`ProblemDetails`; log unexpected errors with their ``error_id``.

    Args:
        max_body_bytes: bodies larger than this get 413.
        observe: called with the status and the seconds of every POST.
    """

    @app.exception_handler(InvalidRequestError)
    async def invalid(request: Request, error: InvalidRequestError) -> JSONResponse:
        return problem_response(request.scope, error.status, _detail(error), errors=error.problems)

    @app.exception_handler(RequestValidationError)
    async def invalid_query(request: Request, error: RequestValidationError) -> JSONResponse:
        found = []
        for each in error.errors():
            name = ".".join(str(part) for part in each["loc"][1:])
            value = shown(each.get("input"))
            expected = "true or false" if each["type"] == "bool_parsing" else str(each["msg"])
            found.append(
                Problem(field=name, value=value, expected=expected, message=f"{name} = {value!r}: expected {expected}.")
            )
        return await invalid(request, InvalidRequestError(found))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {shown(request.url.path)}: {error.detail}."
        return problem_response(request.scope, error.status_code, message, headers=error.headers)

    app.add_middleware(_Requests, max_body_bytes=max_body_bytes, observe=observe)


class _Requests:
    """ASGI middleware: limits the body, answers an unexpected exception, and measures the time to the answer.

    A body with a declared Content-Length above the limit is refused unread; a chunked body is counted as it arrives,
    and the application that reads it gets an :class:`InvalidRequestError`. An exception is logged under an id, and
    answered by 500 with the id unless an answer has begun.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: float, observe: Callable[[int, float], None]) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        arrived, body_bytes, started = time.perf_counter(), 0, False

        async def counted() -> Message:
            nonlocal body_bytes
            message = await receive()
            if message["type"] == "http.request":
                body_bytes += len(message.get("body", b""))
                if body_bytes > self.max_body_bytes:
                    raise InvalidRequestError([self._too_large(body_bytes)], status=413)
            return message

        async def measured(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if scope["method"] == "POST":
                    self.observe(message["status"], time.perf_counter() - arrived)
            await send(message)

        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self.max_body_bytes:
            problem = self._too_large(int(declared))
            await problem_response(scope, 413, problem.message, errors=[problem])(scope, receive, measured)
            return
        try:
            await self.app(scope, counted, measured)
        except ClientDisconnect:
            return
        except Exception:
            identity = uuid.uuid4().hex[:12]
            logger.exception("error_id %s: %s %r failed", identity, scope["method"], shown(scope["path"]))
            if started:
                raise
            message = f"The server failed to answer this request. Its error log has the traceback, error_id {identity}."
            await problem_response(scope, 500, message, error_id=identity)(scope, receive, measured)

    def _too_large(self, size: int) -> Problem:
        expected = f"at most {self.max_body_bytes} bytes"
        message = f"The body has {size} bytes or more: expected {expected}; send fewer rows per request."
        return Problem(field="", value=size, expected=expected, message=message)
