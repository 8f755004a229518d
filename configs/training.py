"""Training of the final model: memory, workers and device of the fit (``fit:``), and the treatment of rare positives
(``sampling:``)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, get_args

from pydantic import Field, StrictInt, field_validator, model_validator

from configs.reading import Frozen, nearest

__all__ = [
    "Fit",
    "Contender",
    "SYNTHETIC",
    "Sampler",
    "Sampling",
]


class Fit(Frozen):
    """Storage of the final fit's rows, its number of processes, and its device."""

    memory: Literal["in_memory", "external"] = Field(
        "in_memory",
        description=(
            "`in_memory` loads the whole training frame; `external` builds it part by part on disk and loads only "
            "the rows of search, validation and held-out period."
        ),
    )
    workers: StrictInt = Field(
        1, ge=1, le=1024, description="Number of Ray processes, each with its share of the rows."
    )
    rows_per_part: StrictInt = Field(
        500_000, ge=1000, description="Approximate number of rows in memory while parts are built and read."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="`auto` is one GPU per worker if Ray has that many."
    )
    checkpoint_every: StrictInt = Field(
        25, ge=1, description="Maximum number of boosting rounds that are lost if a worker dies."
    )

    @property
    def by_workers(self) -> bool:
        """Whether the rows are split between workers or on disk, so that XGBoost is trained round by round."""
        return self.workers > 1 or self.memory == "external"

    def check_families(self, families: Collection[str]) -> None:
        """Refuse settings that only XGBoost supports for models with other families.

        Raises:
            ValueError: one sentence with the setting, the family, and how to fix it.
        """
        other = next((family for family in families if family != "xgboost"), None)
        wanted = [
            f"fit.{name} = {getattr(self, name)}"
            for name, special in (
                ("memory", self.memory == "external"),
                ("workers", self.workers > 1),
                ("device", self.device == "cuda"),
            )
            if special
        ]
        if other and wanted:
            raise ValueError(
                f"{wanted[0]}: tuning.families has {other}, and only xgboost supports this; "
                f"remove {other} from tuning.families, or remove the setting from fit"
            )

    def check_sampling(self, method: str) -> None:
        """Refuse a sampler for rows on disk: samplers need all rows at once.

        Raises:
            ValueError: one sentence with the setting and how to fix it.
        """
        if self.memory == "external" and method != "none":
            raise ValueError(
                f"sampling.method = {method}: rows are sampled in memory, and fit.memory is external; set it to "
                "in_memory, or remove sampling (class_weight in a family's space works on disk too)"
            )


Sampler = Literal["class_weight", "undersample", "smote", "smotenc", "adasyn", "copula"]
#: ``threshold`` is the unsampled fit with another threshold.
Contender = Literal["threshold", Sampler]
#: Methods that make synthetic rows.
SYNTHETIC = ("smote", "smotenc", "adasyn", "copula")


class Sampling(Frozen):
    """Weights, undersampling and oversampling of the rows of a fit; validation and held-out rows are never changed."""

    method: Literal["none", Sampler, "select"] = Field(
        "none",
        description=(
            "The treatment of the rows. `select` tries the `contenders` and keeps one only if it helps on the real "
            "rows of the validation period."
        ),
    )
    ratio: float = Field(
        0.1,
        gt=0,
        le=1,
        description=(
            "Positives per negative after sampling (imbalanced-learn's `sampling_strategy`); if there are as many "
            "already, nothing is done."
        ),
    )
    contenders: tuple[Contender, ...] = Field(
        get_args(Contender),
        description="Methods that `select` tries. `threshold` is the unsampled fit with another threshold.",
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Joint confidence of all intervals of the selection.")

    @field_validator("method", mode="before")
    @classmethod
    def _known_method(cls, value: object) -> object:
        known = ["none", *get_args(Sampler), "select"]
        if value == "court":
            raise ValueError("method court is now called select; write method: select")
        if isinstance(value, str) and value not in known:
            raise ValueError(f"there is no method '{value}'.{nearest(value, known)} Known: {', '.join(known)}")
        return value

    @field_validator("contenders", mode="before")
    @classmethod
    def _known_contenders(cls, value: Any) -> Any:
        known = list(get_args(Contender))
        for each in value if isinstance(value, list | tuple) else ():
            if each not in known:
                near = nearest(each, known) if isinstance(each, str) else ""
                raise ValueError(f"there is no contender {each!r}.{near} Known: {', '.join(known)}")
        return value

    @model_validator(mode="after")
    def _somebody_contends(self) -> Sampling:
        if self.method == "select" and not self.contenders:
            raise ValueError("method select has no contenders; add at least one, or set method none")
        if len(set(self.contenders)) != len(self.contenders):
            raise ValueError(f"contenders = {list(self.contenders)}: list each once")
        return self
