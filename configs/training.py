"""Training of the final model: where and by how many workers it is fitted (``fit:``), and what is done about rare
positives (``sampling:``)."""

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
    """Where the rows of the final fit are, how many processes share them, and on what they run.

    ``memory``: ``in_memory`` holds the whole training frame; ``external`` builds it part by part on disk and holds
    only the rows of search, validation and held-out period. ``workers``: Ray processes, each with its share of the
    rows. ``rows_per_part``: about how many rows are in memory at once while parts are made and read. ``device``:
    ``auto`` is a GPU for each worker where Ray has that many. ``checkpoint_every``: boosting rounds that are lost at
    most when a worker dies.
    """

    memory: Literal["in_memory", "external"] = "in_memory"
    workers: StrictInt = Field(1, ge=1, le=1024)
    rows_per_part: StrictInt = Field(500_000, ge=1000)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_every: StrictInt = Field(25, ge=1)

    @property
    def by_workers(self) -> bool:
        """Whether the rows are shared out or on disk, so that XGBoost is driven round by round."""
        return self.workers > 1 or self.memory == "external"

    def check_families(self, families: Collection[str]) -> None:
        """Refuse what only XGBoost can do for models that are not all XGBoost.

        Raises:
            ValueError: one sentence with the setting, the family, and how to mend it.
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
                f"{wanted[0]}: tuning.families has {other}, and only xgboost can be fitted so; "
                f"take {other} out of tuning.families, or take the setting out of fit"
            )

    def check_sampling(self, method: str) -> None:
        """Refuse a sampler for rows on disk: samplers look at all rows at once.

        Raises:
            ValueError: one sentence with the setting and how to mend it.
        """
        if self.memory == "external" and method != "none":
            raise ValueError(
                f"sampling.method = {method}: rows are sampled in memory, and fit.memory is external; set it to "
                "in_memory, or take sampling out (class_weight in a family's space works on disk too)"
            )


Sampler = Literal["class_weight", "undersample", "smote", "smotenc", "adasyn", "copula"]
#: ``threshold`` is the plain fit with another threshold.
Contender = Literal["threshold", Sampler]
#: Those that make rows which nobody observed.
SYNTHETIC = ("smote", "smotenc", "adasyn", "copula")


class Sampling(Frozen):
    """How the rows that a model is fitted on are weighted, thinned or added to; validation and held-out rows never are.

    ``select`` tries the ``contenders`` and keeps one only where it helps on the real rows of the validation period.
    ``ratio``: positives per negative afterwards (imbalanced-learn's ``sampling_strategy``); where there are as many
    already, nothing is done. ``confidence``: of all the intervals of the selection together.
    """

    method: Literal["none", Sampler, "select"] = "none"
    ratio: float = Field(0.1, gt=0, le=1)
    contenders: tuple[Contender, ...] = get_args(Contender)
    confidence: float = Field(0.95, gt=0.5, lt=1)

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
            raise ValueError("method select has no contenders; name at least one, or method none")
        if len(set(self.contenders)) != len(self.contenders):
            raise ValueError(f"contenders = {list(self.contenders)}: each once")
        return self
