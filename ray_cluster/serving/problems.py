"""What is wrong with a request, one sentence per problem, and how every error leaves the endpoint."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from configs.reading import nearest

__all__ = ["Problem", "Refusal", "InvalidRequestError", "install", "problems_of"]

logger = logging.getLogger(__name__)

#: At most this many problems are told; the rest are counted.
MOST_PROBLEMS = 20
#: Values are shown up to this many characters.
MOST_CHARACTERS = 80


class Problem(BaseModel):
    """One thing wrong with a request."""

    field: str = Field(
        description="Where: a field, or instances[3].field; empty for the whole body", examples=["origin"]
    )
    value: Any = Field(description="What was sent, shortened to 80 characters", examples=[7])
    expected: str = Field(description="What would have been accepted", examples=["a string"])
    message: str = Field(description="The sentence for a person", examples=["origin = 7: expected a string."])


class Refusal(BaseModel):
    """The body of every 4xx answer, and of a 503 that the model itself gives."""

    detail: list[Problem]


class InvalidRequestError(Exception):
    """A request that cannot be answered: the problems, and the HTTP status to send."""

    def __init__(self, problems: Sequence[Problem], status: int = 422) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = list(problems)
        self.status = status

    @classmethod
    def of(cls, field: str, value: object, expected: str, message: str, status: int = 422) -> InvalidRequestError:
        """A request with a single problem."""
        return cls([Problem(field=field, value=shown(value), expected=expected, message=message)], status)


def shown(value: object) -> Any:
    """``value`` as an error may repeat it: short scalars as they are, anything else as shortened text."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, float) and text not in ("inf", "-inf", "nan"):
        return value
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}… ({len(text)} characters)"


def problems_of(error: ValidationError, expectations: Mapping[str, str], prefix: str = "") -> list[Problem]:
    """Turn pydantic's errors into problems.

    Args:
        error: what pydantic raised for one request row.
        expectations: field name → what is expected, in words; also the fields that are known.
        prefix: where the row sits in the body, such as ``instances[3].``
    """
    found = []
    for each in error.errors(include_url=False, include_context=False):
        name = str(each["loc"][0]) if each["loc"] else ""
        short = str(shown(name))
        if each["type"] == "extra_forbidden":
            known = sorted(expectations)
            expected = f"one of {', '.join(known)}"
            message = f"{prefix}{short} is not a field of this model.{nearest(short, known)} Known: {', '.join(known)}."
        elif each["type"] == "missing":
            expected = expectations[name]
            found.append(
                Problem(
                    field=f"{prefix}{name}",
                    value=None,
                    expected=expected,
                    message=f"{prefix}{name} is missing: expected {expected}.",
                )
            )
            continue
        else:
            expected = expectations.get(name, "a JSON object with the fields of one request")
            where = f"{prefix}{short}" or "body"
            message = f"{where} = {shown(each['input'])!r}: expected {expected}."
        found.append(Problem(field=f"{prefix}{short}", value=shown(each["input"]), expected=expected, message=message))
    return found


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a :class:`Refusal`; what is unexpected with a sentence and a logged id."""

    @app.exception_handler(InvalidRequestError)
    async def refused(_: Request, error: InvalidRequestError) -> JSONResponse:
        more = len(error.problems) - MOST_PROBLEMS
        told = [problem.model_dump() for problem in error.problems[:MOST_PROBLEMS]]
        if more > 0:
            told.append(
                {"field": "", "value": None, "expected": "", "message": f"{more} more problems are not listed."}
            )
        return JSONResponse({"detail": told}, status_code=error.status)

    @app.exception_handler(RequestValidationError)
    async def unfit(_: Request, error: RequestValidationError) -> JSONResponse:
        found = []
        for each in error.errors():
            name = ".".join(str(part) for part in each["loc"][1:])
            value = shown(each.get("input"))
            expected = "true or false" if each["type"] == "bool_parsing" else str(each["msg"])
            found.append(
                Problem(field=name, value=value, expected=expected, message=f"{name} = {value!r}: expected {expected}.")
            )
        return await refused(_, InvalidRequestError(found))

    @app.exception_handler(HTTPException)
    async def known(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {shown(request.url.path)}: {error.detail}."
        problem = Problem(field="", value=None, expected="", message=message)
        return JSONResponse({"detail": [problem.model_dump()]}, error.status_code, headers=dict(error.headers or {}))

    app.add_middleware(_Unexpected)


class _Unexpected:
    """ASGI middleware: an exception nobody expected becomes a 500 with an error id; the log has the rest."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except ClientDisconnect:
            return
        except Exception:
            if scope["type"] != "http" or started:
                raise
            identity = uuid.uuid4().hex[:12]
            logger.exception("error %s in %s %s", identity, scope["method"], scope["path"])
            message = f"The request failed for a reason of our own; the log holds it under error id {identity}."
            problem = Problem(field="", value=None, expected="", message=message)
            answer = JSONResponse({"detail": [problem.model_dump()], "error_id": identity}, status_code=500)
            await answer(scope, receive, send)
