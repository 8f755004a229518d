"""The HTTP routes of one model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, Field

from configs.durations import in_words
from ray_cluster.serving.errors import (
    InvalidRequestError,
    Problem,
    Problems,
    install,
    openapi_response,
)
from ray_cluster.serving.expiry import ExpiredValue, ExpiredValueError, reason
from ray_cluster.serving.predictor import Prediction
from ray_cluster.serving.schema import Answer, Answers, RequestSchema

__all__ = [
    "ModelFacts",
    "RefusedVersion",
    "ViewTraits",
    "routes",
]


class RefusedVersion(BaseModel):
    """A requested version that could not be loaded; the previous one continues to answer."""

    version: int
    reason: str


class ModelFacts(BaseModel):
    """The live version of the model."""

    name: str
    description: str
    version: int | None = Field(description="The registered version that answers; null before one is loaded")
    alias: str | None = Field(None, description="The alias by which the version was requested, if the registry has it")
    threshold: float | None
    features: list[str]
    feature_service: str
    run_id: str | None = Field(description="The MLflow run of the version")
    trained_as_of: str | None = Field(description="The as-of time of the version's training data")
    replica: str
    refused: RefusedVersion | None = None


@dataclass(frozen=True)
class ViewTraits:
    """Facts about a feature view in a response, in addition to its age: TTL in seconds (0: none) and features."""

    ttl: float
    features: Sequence[str]


def routes(
    schema: RequestSchema,
    facts: Callable[[], ModelFacts],
    predict: Callable[[list[dict[str, Any]]], Awaitable[Sequence[Prediction]]],
    max_body_bytes: int,
    observe: Callable[[int, float], None] = lambda status, seconds: None,
    views: Mapping[str, ViewTraits] | None = None,
) -> FastAPI:
    """The application of one model.

    Args:
        schema: reads the request bodies.
        facts: returns the facts about the live version.
        predict: rows → predictions, in order; already logged.
        max_body_bytes: bodies larger than this get 413.
        observe: called with the status and the seconds of every prediction request.
        views: the feature views whose ages a response can include.
    """
    about = facts()
    app = FastAPIOffline(title=about.name, description=about.description, version="1")
    install(app, max_body_bytes, observe)
    refusals: dict[int | str, dict[str, Any]] = {
        413: openapi_response("The body is too large"),
        422: openapi_response("The request is invalid: one entry in errors per problem"),
        500: openapi_response("The server failed; the log has the traceback under error_id"),
        503: openapi_response(
            "Too many requests are waiting (then the body is empty or plain text); or a row needs a value that has "
            "expired and that the model requires: one entry in errors per row and view. No row of the request was "
            "predicted or logged; try again later"
        ),
    }

    @app.post(
        "/predict",
        response_model=Answer | Answers,
        responses=refusals,
        openapi_extra=schema.openapi(),
        summary="Predict one row or several",
    )
    async def predict_rows(
        request: Request,
        explain: Annotated[bool, Query(description="Also return the features and their ages")] = False,
        ages: Annotated[
            bool, Query(description="Also return each view's age, TTL, and whether its value had expired")
        ] = False,
    ) -> Response:
        rows, several = schema.read(await request.body())
        try:
            predictions = await predict(rows)
        except ExpiredValueError as error:
            raise refusal(error, several) from None
        answers = [_answer(prediction, explain) for prediction in predictions]
        if ages:
            for answer, prediction in zip(answers, predictions, strict=True):
                answer["ages"] = _ages(prediction, views or {})
        return JSONResponse({"predictions": answers} if several else answers[0])

    @app.get("/", response_model=ModelFacts, summary="The live version")
    async def model_facts() -> ModelFacts:
        return facts()

    @app.get("/healthz", summary="The process is running")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="A version is loaded and answers")
    async def readyz() -> JSONResponse:
        version = facts().version
        ready = version is not None
        return JSONResponse(
            {"status": "ok" if ready else "no version is loaded", "version": version}, 200 if ready else 503
        )

    return app


def _answer(prediction: Prediction, explain: bool) -> dict[str, Any]:
    """A prediction as :class:`Answer` describes it."""
    line = prediction.line
    answer: dict[str, Any] = {
        "prediction_id": line.prediction_id,
        "id": line.id,
        "probability": line.score,
        "decision": line.decision,
        "model": line.model,
        "version": line.version,
        "as_of": line.as_of,
        "status": prediction.status,
        "missing_features": prediction.missing_features,
    }
    if prediction.unknown_entities:
        answer["unknown_entities"] = prediction.unknown_entities
    if prediction.status == "abstained":
        answer["reason"] = reason(prediction.expired)
    if explain:
        moment = datetime.fromisoformat(line.as_of)
        views = {
            view: {"event_time": seen, "age_seconds": _age(moment, seen)} for view, seen in line.event_times.items()
        }
        answer["explanation"] = {"features": line.features, "views": views}
    return answer


def _ages(prediction: Prediction, views: Mapping[str, ViewTraits]) -> dict[str, Any]:
    """The age of each view's value, see :class:`ray_cluster.serving.schema.ViewFreshness`."""
    line = prediction.line
    moment = datetime.fromisoformat(line.as_of)
    return {
        view: {
            "event_time": seen,
            "age_seconds": _age(moment, seen),
            "ttl_seconds": views[view].ttl or None,
            "expired": view in (line.expired or {}),
            "known_until": (line.known_until or {}).get(view),
            "features": [name for name in views[view].features if name in line.features],
        }
        for view, seen in line.event_times.items()
    }


def _age(moment: datetime, seen: str | None) -> float | None:
    return (moment - datetime.fromisoformat(seen)).total_seconds() if seen else None


def refusal(error: ExpiredValueError, several: bool) -> InvalidRequestError:
    """503, with one problem per row and view whose expired value the model refuses."""
    problems = Problems()
    for number, value in error.rows:
        problems.add(_expired(error, number if several else None, value))
    return InvalidRequestError(problems.described, 503, problems.count)


def _expired(error: ExpiredValueError, number: int | None, value: ExpiredValue) -> Iterator[Problem]:
    place = "" if number is None else f"instances[{number}]"
    said = error.message(value)
    yield Problem(
        field=place,
        value=dict(value.keys),
        expected=f"a value of view '{value.view}' no older than {in_words(value.ttl)} at as_of",
        message=f"{place}: {said[0].lower()}{said[1:]}" if place else said,
    )
