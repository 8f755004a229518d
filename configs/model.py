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

    owner: str | None = None
    intended_use: str | None = None
    out_of_scope: str | None = None
    ethical_considerations: list[str] = []
    caveats: list[str] = []


FieldType = Literal["string", "integer", "number", "time"]


class RequestField(Frozen):
    """One field of a prediction request."""

    type: FieldType
    description: str
    required: bool = True
    example: str | int | float | None = None
    pattern: str | None = None


class Requests(Frozen):
    """The events to predict: rows of ``table``, and the fields of a request.

    A prediction is made ``lead`` before the time in ``event_time``; every feature is read as known then.
    ``entities`` are the join keys of the feature views, ``fields`` the request-time values.
    """

    table: str
    id: str
    event_time: str
    lead: Duration
    entities: dict[str, RequestField]
    fields: dict[str, RequestField]

    @property
    def inputs(self) -> dict[str, RequestField]:
        """Entities and fields. If the id is one of them, it has that type in a request; otherwise it is text."""
        return {**self.entities, **self.fields}


class Label(Frozen):
    """The outcome: SQL ``positive`` over the columns of ``table``, joined on the request's id.

    ``positive`` returns true, false, 0, 1 or null; rows with a null label are left out, any other value is an error.

    ``matures``: the minimum time after the event before an outcome counts. It is needed if one kind of outcome becomes
    known sooner than the other: before both can be known, only that kind would have labels.
    """

    table: str
    positive: str
    known_at: str
    matures: Duration = timedelta(0)


class Split(Frozen):
    """Lengths of the last two periods before ``as_of``; all earlier rows are the training period.

    With more than one fold there are as many consecutive validation windows, the last one ending at the start of the
    held-out period; the finalists of the search are compared over all of them. ``origins`` cuts the held-out period
    into as many windows: the chosen point is fitted afresh before each, as a model that is trained regularly. The
    version that is served is fitted on all rows, those of the held-out period too.
    """

    validation: Duration
    held_out: Duration
    folds: int = Field(1, ge=1)
    origins: int = Field(1, ge=1)


class Constant(Frozen):
    """The value that replaces a missing one."""

    constant: StrictInt | StrictFloat | StrictStr


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
    """Cleaning of one feature before a model sees it; its parameters are fitted on the training rows only.

    ``clip``: two quantiles, [0.001, 0.999]; values beyond them are clipped. ``impute``: the replacement of a missing
    value, after the clip: mean, median (numbers), most_frequent or {constant: value}. ``indicator``: an additional
    column, 1 if the value was missing. ``categories``: maximum of categories for XGBoost and HistGradientBoosting, 32
    by default for a text; the rarer ones share one more. A number becomes a category by it, and 0 makes the codes of a
    text numbers.
    """

    impute: Annotated[Literal["mean", "median", "most_frequent"] | Constant | None, BeforeValidator(_imputation)] = None
    clip: tuple[float, float] | None = None
    indicator: bool = False
    categories: StrictInt | None = Field(None, ge=0, le=254)

    @model_validator(mode="after")
    def _does_something(self) -> InputRule:
        if self.impute is None and self.clip is None and not self.indicator and self.categories is None:
            raise ValueError("the rule is empty; set impute, clip, indicator or categories")
        if self.clip is not None and not 0 <= self.clip[0] < self.clip[1] <= 1:
            raise ValueError(f"clip = {list(self.clip)}: expected two rising quantiles in [0, 1], as in [0.001, 0.999]")
        return self


class Serving(Frozen):
    """The Ray Serve application of this model."""

    replicas: int = Field(1, ge=1)
    cpus_per_replica: float = Field(0.2, gt=0)
    max_rows: int = Field(1000, ge=1)
    max_body_bytes: int = Field(1_000_000, ge=1024)
    max_queued_requests: int = Field(200, ge=1)


class Monitoring(Frozen):
    """Bounds of monitoring for a retrain verdict, and features that are ignored because they move by design.

    ``alarm_rate`` is the intended share of weeks with a false alarm if nothing has changed and each day is looked at.
    The other bounds say what is too small to matter: ``calibration_gap`` and ``cost_rise`` relative to the held-out
    share of positives and cost, ``metric_drop`` of ROC AUC, ``unseen_share`` of predictions with new values of a
    feature.
    """

    window: Duration = timedelta(days=30)
    min_rows: int = Field(1000, ge=1)
    ignore: list[str] = []
    alarm_rate: float = Field(0.05, gt=0, le=0.5)
    calibration_gap: float = Field(0.1, gt=0)
    cost_rise: float = Field(0.02, gt=0)
    metric_drop: float = Field(0.02, gt=0, lt=1)
    unseen_share: float = Field(0.1, gt=0, le=1)
    feature_psi: float = Field(0.25, gt=0)
    drifted_share: float = Field(0.3, gt=0, le=1)
    prediction_psi: float = Field(0.25, gt=0)


class Defaults(Frozen):
    """Defaults for the expired values of one view: feature -> value."""

    default: dict[str, StrictInt | StrictFloat | StrictStr] = Field(min_length=1)


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
    """Minimum parity of served and retrieved values that training requires.

    Training is refused if the newest parity result of the last ``window`` has a smaller share of equal values than
    ``minimum``. The parity flow compares at most ``rows`` of the predictions logged in ``window``.
    """

    minimum: float = Field(gt=0, le=1)
    window: Duration = timedelta(days=7)
    rows: int = Field(1000, ge=1)


def _timezone(name: str) -> str:
    """Refuse a time zone that does not exist."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = nearest(name, sorted(available_timezones()))
        raise ValueError(f"{near.strip()} Expected an IANA time zone, as in America/New_York".strip()) from None
    return name


class ModelSpec(Frozen):
    """The specification of one model. Created by :func:`load_model`.

    ``timezone``: the IANA time zone whose days are the units of intervals; a day should end when little happens.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str
    feature_service: str
    requests: Requests
    label: Label
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    split: Split
    tuning: Tuning
    fit: Fit = Fit()
    calibration: Calibration = "auto"
    threshold: Threshold = "f1"
    gate: Gate = Gate()
    card: Card = Card()
    slices: list[str] = []
    behaviour: list[BehaviourTest] = []
    fairness: Fairness | None = None
    inputs: dict[str, InputRule] = {}
    serving: Serving = Serving()
    monitoring: Monitoring = Monitoring()
    expired: dict[str, Expired] = {}
    parity: Parity | None = None
    sampling: Sampling = Sampling()

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
        ConfigError: no such model (the message has the nearest name), an unknown key, or an invalid value.
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
