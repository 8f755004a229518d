"""One model: ``configs/models/<name>.yaml``. A model is defined by this file alone, without code."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from math import inf, isfinite
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, StrictFloat, StrictInt, StrictStr, model_validator

from configs.evaluation import BehaviourTest, Calibration, Direction, Fairness, Threshold
from configs.promotion import Gate
from configs.reading import ConfigError, Duration, Frozen, merge, nearest, read_yaml, validated
from configs.settings import CONFIGS, environment_folder
from configs.training import Fit, Sampling
from configs.tuning import Tuning

__all__ = [
    "Card",
    "Defaults",
    "Expired",
    "RequestField",
    "Constant",
    "Gate",
    "InputRule",
    "Label",
    "ModelSpec",
    "Monitoring",
    "Parity",
    "Requests",
    "Serving",
    "Split",
    "load_model",
    "model_names",
]


class Card(Frozen):
    """Texts for the model card, in addition to generated facts; all optional, and a card says which are missing."""

    owner: str | None = Field(None, description="The person or team that is responsible for the model.")
    intended_use: str | None = Field(None, description="What the model is for.")
    out_of_scope: str | None = Field(None, description="What the model is not for.")
    ethical_considerations: list[str] = Field([], description="Ethical considerations, one text each.")
    caveats: list[str] = Field([], description="Caveats and recommendations, one text each.")


FieldType = Literal["string", "integer", "number", "time"]


class RequestField(Frozen):
    """One field of a prediction request."""

    type: FieldType = Field(description="Type of its values. A time is a text in ISO 8601 with an offset.")
    description: str = Field(description="Meaning of the field, for the API documentation.")
    required: bool = Field(True, description="Whether a request must have a value; otherwise it may be null or absent.")
    example: str | int | float | None = Field(
        None, description="Example value for the API documentation. Null means none."
    )
    pattern: str | None = Field(None, description="Regular expression that a text must match. Null means any text.")


class Requests(Frozen):
    """The events to predict, and the fields of a request. A prediction is made before the event; every feature is
    read as known then.
    """

    table: str = Field(description="The raw table whose rows are the events.")
    id: str = Field(description="Column that identifies an event. It joins request, label and prediction log.")
    event_time: str = Field(description="Column with the time of the event.")
    lead: Duration = Field(description="How long before `event_time` the prediction is made.")
    entities: dict[str, RequestField] = Field(description="Join keys of the feature views, as fields of a request.")
    fields: dict[str, RequestField] = Field(description="Values that only the request knows.")

    @property
    def inputs(self) -> dict[str, RequestField]:
        """Entities and fields. If the id is one of them, it has that type in a request; otherwise it is text."""
        return {**self.entities, **self.fields}


class Label(Frozen):
    """The outcome of an event."""

    table: str = Field(description="The raw table with the outcomes. It has the request's id, on which it is joined.")
    positive: str = Field(
        description=(
            "SQL over the columns of `table` that returns true, false, 0, 1 or null. Rows with a null label are "
            "left out; any other value is an error."
        )
    )
    known_at: str = Field(description="Column with the time at which the outcome became known.")
    matures: Duration = Field(
        timedelta(0),
        description=(
            "The minimum time after the event before an outcome counts. It is needed if one kind of outcome "
            "becomes known sooner than the other: before both can be known, only that kind would have labels."
        ),
    )


class Split(Frozen):
    """Lengths of the last two periods before ``as_of``; all earlier rows are the training period.

    The version that is served is fitted on all rows, those of the held-out period too.
    """

    validation: Duration = Field(
        description="Length of the validation period, which chooses the trial, the calibration and the threshold."
    )
    held_out: Duration = Field(
        description=(
            "Length of the held-out period, the last one. It measures the chosen model, and is the reference of "
            "monitoring."
        )
    )
    folds: int = Field(
        1,
        ge=1,
        description=(
            "Number of consecutive validation windows; the last one ends at the start of the held-out period. The "
            "finalists of the search are compared over all of them."
        ),
    )
    origins: int = Field(
        1,
        ge=1,
        description=(
            "Number of windows of the held-out period. The chosen point is fitted afresh before each, as a model "
            "that is trained regularly."
        ),
    )


class Constant(Frozen):
    """The value that replaces a missing one."""

    constant: StrictInt | StrictFloat | StrictStr = Field(
        description="The number or text that replaces a missing value."
    )


_IMPUTE = ["mean", "median", "most_frequent"]


def _imputation(value: object) -> object:
    """Refuse an invalid method in one sentence; pydantic's message would list every member of the union."""
    if value is None or isinstance(value, Constant) or value in _IMPUTE:
        return value
    if isinstance(value, Mapping) and set(value) == {"constant"}:
        given = value["constant"]
        number = isinstance(given, int | float) and not isinstance(given, bool) and abs(given) < inf
        if not number and not isinstance(given, str):
            raise ValueError(f"constant is {given!r}; expected a finite number or a text")
        return value
    near = nearest(value, _IMPUTE) if isinstance(value, str) else ""
    raise ValueError(f"{near.strip()} Expected {', '.join(_IMPUTE)} or {{constant: value}}".strip())


class InputRule(Frozen):
    """Cleaning of one feature before a model sees it; its parameters are fitted on the training rows only."""

    impute: Annotated[Literal["mean", "median", "most_frequent"] | Constant | None, BeforeValidator(_imputation)] = (
        Field(
            None,
            description=(
                "The replacement of a missing value, after the clip. `mean` and `median` are for numbers. Null means "
                "none."
            ),
        )
    )
    clip: tuple[float, float] | None = Field(
        None, description="Two quantiles, as in `[0.001, 0.999]`; values beyond them are clipped. Null means none."
    )
    indicator: bool = Field(False, description="Whether to add a column that is 1 if the value was missing.")
    categories: StrictInt | None = Field(
        None,
        ge=0,
        le=254,
        description=(
            "Maximum of categories for XGBoost and HistGradientBoosting; the rarer ones share one more. A number "
            "becomes a category by it, and 0 makes the codes of a text numbers. Null means 32 for a text, and that "
            "a number is none."
        ),
    )

    @model_validator(mode="after")
    def _does_something(self) -> InputRule:
        if self.impute is None and self.clip is None and not self.indicator and self.categories is None:
            raise ValueError("the rule is empty; set impute, clip, indicator or categories")
        if self.clip is not None and not 0 <= self.clip[0] < self.clip[1] <= 1:
            raise ValueError(f"clip = {list(self.clip)}: expected two rising quantiles in [0, 1], as in [0.001, 0.999]")
        return self


class Serving(Frozen):
    """The Ray Serve application of this model."""

    replicas: int = Field(1, ge=1, description="Number of replicas.")
    cpus_per_replica: float = Field(0.2, gt=0, description="CPUs that Ray reserves for each replica.")
    max_rows: int = Field(1000, ge=1, description="Maximum of rows per request; more are refused with 422.")
    max_body_bytes: int = Field(
        1_000_000, ge=1024, description="Maximum size of a request's body in bytes; a larger one is refused with 413."
    )
    max_queued_requests: int = Field(
        200, ge=1, description="Maximum of waiting requests; further ones are refused with 503 at once."
    )


class Monitoring(Frozen):
    """Bounds of monitoring for a retrain verdict. Most of them say what is too small to matter."""

    window: Duration = Field(
        timedelta(days=30), description="The predictions of this time before `as_of` are looked at."
    )
    min_rows: int = Field(
        1000, ge=1, description="With fewer predictions or outcomes, monitoring waits and does not judge."
    )
    ignore: list[str] = Field([], description="Features that are measured but not judged, because they move by design.")
    alarm_rate: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="The intended share of weeks with a false alarm if nothing has changed and each day is looked at.",
    )
    calibration_gap: float = Field(
        0.1,
        gt=0,
        description="Gap of calibration that is too small to matter, relative to the held-out share of positives.",
    )
    cost_rise: float = Field(
        0.02,
        gt=0,
        description="Rise of the cost or log loss that is too small to matter, relative to the held-out one.",
    )
    metric_drop: float = Field(0.02, gt=0, lt=1, description="Drop of ROC AUC that is too small to matter.")
    unseen_share: float = Field(
        0.1, gt=0, le=1, description="Share of predictions with new values of a feature that is too small to matter."
    )
    feature_psi: float = Field(
        0.25, gt=0, description="Population stability index (PSI) of a feature that is too small to matter."
    )
    drifted_share: float = Field(
        0.3,
        gt=0,
        le=1,
        description="If this share of the features has drifted and outcomes are missing, the verdict is to retrain.",
    )
    prediction_psi: float = Field(
        0.25, gt=0, description="Population stability index (PSI) of the scores that is too small to matter."
    )


class Defaults(Frozen):
    """Defaults for the expired values of one view: feature -> value."""

    default: dict[str, StrictInt | StrictFloat | StrictStr] = Field(
        min_length=1, description="Feature of the view: the value that replaces an expired one."
    )


def _policy(value: object) -> object:
    """Refuse an invalid policy in one sentence; pydantic's message would list every member of the union."""
    if value is None or isinstance(value, Defaults) or value in ("abstain", "refuse"):
        return value
    if isinstance(value, Mapping) and set(value) == {"default"} and isinstance(value["default"], Mapping):
        for feature, each in value["default"].items():
            number = isinstance(each, int | float) and not isinstance(each, bool) and isfinite(each)
            if not number and not isinstance(each, str):
                raise ValueError(f"the default of {feature} is {each!r}; expected a finite number or a text")
        if value["default"]:
            return value
    near = nearest(value, ["abstain", "refuse", "null"]) if isinstance(value, str) else ""
    raise ValueError(f"{near.strip()} Expected null, abstain, refuse or {{default: {{feature: value}}}}".strip())


#: Policy for a value older than its view's TTL: null (the model sees a missing value), abstain (the row gets no
#: probability), refuse (the request gets none), or default values of the view's features.
Expired = Annotated[Literal["abstain", "refuse"] | Defaults | None, BeforeValidator(_policy)]


class Parity(Frozen):
    """Minimum parity of served and retrieved values that training requires."""

    minimum: float = Field(
        gt=0,
        le=1,
        description=(
            "Training is refused if the newest parity result of the last `window` has a smaller share of equal values."
        ),
    )
    window: Duration = Field(
        timedelta(days=7),
        description="Maximum age of the parity result, and of the logged predictions that the parity flow compares.",
    )
    rows: int = Field(1000, ge=1, description="Maximum of logged predictions that the parity flow compares.")


def _timezone(name: str) -> str:
    """Refuse a time zone that does not exist."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = nearest(name, sorted(available_timezones()))
        raise ValueError(f"{near.strip()} Expected an IANA time zone, as in America/New_York".strip()) from None
    return name


class ModelSpec(Frozen):
    """The specification of one model. Created by :func:`load_model`."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Name of the model: that of its file, of the experiment, of the registered model and in the URL.",
    )
    description: str = Field(description="What the model predicts.")
    feature_service: str = Field(
        description="Feature service in `feature_repo/features.py`; its features are the inputs of the model."
    )
    requests: Requests = Field(description="The events to predict, and the fields of a request.")
    label: Label = Field(description="The outcome that the model predicts.")
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(
        "UTC",
        description=(
            "IANA time zone whose days are the units of intervals, as in `America/New_York`. A day should end when "
            "little happens."
        ),
    )
    split: Split = Field(description="Lengths of the validation and held-out periods.")
    tuning: Tuning = Field(description="The search: model families, search spaces and budget.")
    fit: Fit = Field(Fit(), description="How the final model is fitted if one process is too small.")
    calibration: Calibration = Field(
        "auto",
        description=(
            "Calibration of scores, fitted on validation scores. `auto` chooses the method with the lowest log "
            "loss there."
        ),
    )
    threshold: Threshold = Field(
        "f1",
        description=(
            "Score from which a row is flagged: `f1` for the best F1 on validation scores, a number, or costs, "
            "whose mean the threshold minimises."
        ),
    )
    gate: Gate = Field(Gate(), description="When a new version becomes champion.")
    card: Card = Field(Card(), description="Texts for the model card.")
    slices: list[str] = Field(
        [], description="Features or request fields; the model is also measured per value of these."
    )
    behaviour: list[BehaviourTest] = Field([], description="Behavioural tests of the fitted model.")
    fairness: Fairness | None = Field(None, description="Groups whose rates are compared. Null means none.")
    inputs: dict[str, InputRule] = Field({}, description="Feature: how it is cleaned before the model sees it.")
    serving: Serving = Field(Serving(), description="The Ray Serve application of the model.")
    monitoring: Monitoring = Field(Monitoring(), description="Bounds of monitoring for a retrain verdict.")
    expired: dict[str, Expired] = Field(
        {},
        description=(
            "Feature view: policy for a value older than its TTL. Null: the model sees a missing value; `abstain`: "
            "the row gets no probability; `refuse`: the request gets none; or default values of the features."
        ),
    )
    parity: Parity | None = Field(
        None, description="Minimum parity of served and retrieved values that training requires. Null means none."
    )
    sampling: Sampling = Field(Sampling(), description="Treatment of rare positives in a fit.")

    @property
    def directions(self) -> dict[str, int]:
        """Features whose rise must not lower (1) or not raise (-1) the score, if ``tuning.monotone`` is set.

        They are those of the behavioural tests ``direction``. A test with ``where`` is about some rows only, and a
        constraint would hold for all rows, so there is none; nor is there one where two tests contradict each other.
        """
        found: dict[str, set[int]] = {}
        for test in self.behaviour if self.tuning.monotone else ():
            if isinstance(test, Direction) and test.where is None:
                found.setdefault(test.feature, set()).add(1 if (test.raise_by > 0) == (test.score == "up") else -1)
        return {feature: signs.pop() for feature, signs in found.items() if len(signs) == 1}

    @model_validator(mode="after")
    def _can_be_fitted_so(self) -> ModelSpec:
        self.fit.check_families([family.family for family in self.tuning.families])
        self.fit.check_sampling(self.sampling.method)
        if self.tuning.blend == "stacked" and self.split.folds < 2:
            raise ValueError(
                "tuning.blend = stacked needs split.folds above 1, because weights chosen on one window are measured "
                "on another; increase split.folds, or set blend: mean"
            )
        if isinstance(self.tuning.rows, list) and self.fit.memory == "external":
            raise ValueError(
                f"fit.memory = external needs one number of tuning.rows, and it is {self.tuning.rows}; write the "
                "largest, or set fit.memory: in_memory"
            )
        return self


def model_names(folder: Path = CONFIGS / "models") -> list[str]:
    """Names of the models that have a file under ``configs/models``."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_model(name: str, environment: str | None = None, folder: Path = CONFIGS / "models") -> ModelSpec:
    """Read one model's file, with ``models/<name>.yaml`` of the environment merged over it if it exists.

    Raises:
        ConfigError: no such model (the message has the nearest name), unknown keys, or invalid values.
    """
    names = model_names(folder)
    if name not in names:
        raise ConfigError(
            f"There is no model '{name}'.{nearest(name, names)} Known: {', '.join(names)} (files under {folder.name}/)."
        )
    content, where = read_yaml(folder / f"{name}.yaml"), f"models/{name}.yaml"
    overlay = environment_folder(environment) / "models" / f"{name}.yaml"
    if overlay.is_file():
        content, where = merge(content, read_yaml(overlay)), f"{where} + {overlay.parts[-3]}/{where}"
    spec = validated(ModelSpec, content, where)
    if spec.name != name:
        raise ConfigError(f"{where}: name = '{spec.name}': expected '{name}', the name of the file.")
    return spec
