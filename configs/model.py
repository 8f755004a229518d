"""What describes one model: ``configs/models/<name>.yaml``. A model is this file and no code."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from configs.reading import ConfigError, Duration, Frozen, merge, nearest, read_yaml, validated
from configs.settings import CONFIGS, environment_folder

__all__ = [
    "Family",
    "RequestField",
    "Gate",
    "Label",
    "ModelSpec",
    "Monitoring",
    "Requests",
    "Serving",
    "Split",
    "Tuning",
    "load_model",
    "model_names",
]

FieldType = Literal["string", "integer", "number", "time"]
Probability = Annotated[float, Field(gt=0, lt=1)]


class RequestField(Frozen):
    """One field of a prediction request."""

    type: FieldType
    description: str
    required: bool = True
    example: str | int | float | None = None
    pattern: str | None = None


class Requests(Frozen):
    """The events to predict: rows of ``table``, and the fields a request for one carries.

    A prediction is made ``lead`` before the time in ``event_time``; every feature is as known then.
    ``entities`` are the join keys of the feature views, ``fields`` the request-time values.
    """

    table: str
    id: str
    event_time: str
    lead: Duration
    entities: dict[str, RequestField]
    fields: dict[str, RequestField]


class Label(Frozen):
    """The outcome: SQL ``positive`` over the columns of ``table``, joined on the request's id."""

    table: str
    positive: str
    known_at: str


class Split(Frozen):
    """Lengths of the last two periods before ``as_of``; everything earlier is the training period."""

    validation: Duration
    held_out: Duration


class Family(Frozen):
    """One model family and its search space.

    A dimension is ``{low, high}`` (uniform), with ``log: true`` log-uniform, with ``integer: true`` whole
    numbers; or ``{choices: [...]}``; or a constant.
    """

    family: Literal["xgboost", "hist_gradient_boosting"]
    trials: int = Field(ge=1)
    iterations: int = Field(ge=10)
    space: dict[str, Any] = {}

    @field_validator("space")
    @classmethod
    def _dimensions(cls, space: dict[str, Any]) -> dict[str, Any]:
        for name, dimension in space.items():
            if not isinstance(dimension, dict):
                continue
            keys = set(dimension)
            if keys == {"choices"}:
                if not dimension["choices"]:
                    raise ValueError(f"dimension '{name}' has no choices; name at least one")
                continue
            if not {"low", "high"} <= keys <= {"low", "high", "log", "integer"}:
                raise ValueError(
                    f"dimension '{name}' is {dimension}; expected {{low, high}} with optional log and integer, "
                    "{choices: [...]}, or a constant"
                )
            for end in ("low", "high"):
                kinds = int if dimension.get("integer") else (int, float)
                if not isinstance(dimension[end], kinds) or isinstance(dimension[end], bool):
                    raise ValueError(
                        f"dimension '{name}': {end} = {dimension[end]!r}; expected a "
                        f"{'whole number' if dimension.get('integer') else 'number'} (YAML takes 1e-3 for text)"
                    )
            if dimension.get("log") and dimension["low"] <= 0:
                raise ValueError(f"dimension '{name}': low {dimension['low']} must be above 0 where log is true")
            if not dimension["low"] < dimension["high"]:
                raise ValueError(f"dimension '{name}': low {dimension['low']} must be below high {dimension['high']}")
        return space


class Tuning(Frozen):
    """The search: which families, on how many of the latest training rows, stopping trials early by ASHA."""

    metric: Literal["average_precision", "roc_auc"] = "average_precision"
    rows: int = Field(ge=1000)
    report_every: int = Field(10, ge=1)
    grace_iterations: int = Field(20, ge=1)
    reduction_factor: int = Field(3, ge=2)
    cpus_per_trial: float = Field(1, gt=0)
    gpus_per_trial: float = Field(0, ge=0)
    seed: int = 0
    families: list[Family] = Field(min_length=1)


class Gate(Frozen):
    """When a new version becomes champion: it must beat the present one by ``margin`` of ``metric``
    on the same held-out rows, and reach ``minimum`` of each metric named there."""

    metric: Literal["average_precision", "roc_auc"] = "average_precision"
    margin: float = Field(0.0, ge=0)
    minimum: dict[Literal["average_precision", "roc_auc"], float] = {}


class Serving(Frozen):
    """The Ray Serve application of this model."""

    replicas: int = Field(1, ge=1)
    cpus_per_replica: float = Field(0.2, gt=0)
    max_rows: int = Field(1000, ge=1)
    max_body_bytes: int = Field(1_000_000, ge=1024)
    max_queued_requests: int = Field(200, ge=1)


class Monitoring(Frozen):
    """When the prediction log says retrain, and what is left out because it moves by design."""

    window: Duration = timedelta(days=30)
    min_rows: int = Field(1000, ge=1)
    ignore: list[str] = []
    feature_psi: float = Field(0.25, gt=0)
    drifted_share: float = Field(0.3, gt=0, le=1)
    prediction_psi: float = Field(0.25, gt=0)
    metric_drop: float = Field(0.05, gt=0, lt=1)


class ModelSpec(Frozen):
    """Everything that describes one model. Built by :func:`load_model`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str
    feature_service: str
    requests: Requests
    label: Label
    split: Split
    tuning: Tuning
    threshold: Probability | Literal["f1"] = "f1"
    gate: Gate = Gate()
    slices: list[str] = []
    serving: Serving = Serving()
    monitoring: Monitoring = Monitoring()

    @model_validator(mode="after")
    def _iterations_reach_grace(self) -> ModelSpec:
        for family in self.tuning.families:
            if family.iterations < self.tuning.grace_iterations:
                raise ValueError(
                    f"tuning.families: {family.family} has {family.iterations} iterations, fewer than "
                    f"grace_iterations = {self.tuning.grace_iterations}; raise the one or lower the other"
                )
        return self


def model_names(folder: Path = CONFIGS / "models") -> list[str]:
    """Names of the models that have a file under ``configs/models``."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_model(name: str, environment: str | None = None, folder: Path = CONFIGS / "models") -> ModelSpec:
    """Read one model's file, with ``models/<name>.yaml`` of the environment merged over it where there is one.

    Raises:
        ConfigError: no such model (with the nearest name), an unknown key, or a value that does not fit.
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
        raise ConfigError(f"{where}: name = '{spec.name}': expected '{name}', the file's own name.")
    return spec
