"""What a model's training does about rare positives: ``sampling:`` in its file."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from configs.reading import Frozen, nearest

__all__ = ["Contender", "SYNTHETIC", "Sampler", "Sampling"]

Sampler = Literal["class_weight", "undersample", "smote", "smotenc", "adasyn", "copula"]
#: ``threshold`` is the plain fit with another threshold.
Contender = Literal["threshold", Sampler]
#: Those that make rows which nobody observed.
SYNTHETIC = ("smote", "smotenc", "adasyn", "copula")


class Sampling(Frozen):
    """How the rows that a model is fitted on are weighted, thinned or added to; validation and held-out rows never are.

    ``court`` tries the ``contenders`` and keeps one only where it helps on the real rows of the validation period.
    ``ratio``: positives per negative afterwards (imbalanced-learn's ``sampling_strategy``); where there are as many
    already, nothing is done. ``confidence``: of all the intervals of the court together.
    """

    method: Literal["none", Sampler, "court"] = "none"
    ratio: float = Field(0.1, gt=0, le=1)
    contenders: tuple[Contender, ...] = get_args(Contender)
    confidence: float = Field(0.95, gt=0.5, lt=1)

    @field_validator("method", mode="before")
    @classmethod
    def _known_method(cls, value: object) -> object:
        known = ["none", *get_args(Sampler), "court"]
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
        if self.method == "court" and not self.contenders:
            raise ValueError("method court has no contenders; name at least one, or method none")
        if len(set(self.contenders)) != len(self.contenders):
            raise ValueError(f"contenders = {list(self.contenders)}: each once")
        return self
