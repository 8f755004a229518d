"""How the final model is fitted where one process, or its memory, is too small: ``fit:`` of a model's file."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import Field, StrictInt

from configs.reading import Frozen

__all__ = ["Fit"]


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
