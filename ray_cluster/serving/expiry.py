"""Policies of a replica for values older than their view's TTL: null, defaults, no probability, no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from configs.durations import in_words
from configs.errors import HeadraceError
from configs.model import Defaults, Expired
from feature_repo.frames.expired_values import fill

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ExpiredValue", "ExpiredValueError", "expired_values", "hold_to", "reason"]


@dataclass(frozen=True)
class ExpiredValue:
    """One row's value of one view: its age at the row's ``as_of`` and the TTL, in seconds, and the policy."""

    view: str
    keys: Mapping[str, Any]
    age: float
    ttl: float
    policy: str

    def sentence(self) -> str:
        """View, entity, age and TTL in words."""
        entity = ", ".join(f"{name} = {value}" for name, value in self.keys.items())
        return f"The value of view '{self.view}' for {entity} is {in_words(self.age)} old, past its TTL of " + (
            f"{in_words(self.ttl)}"
        )


class ExpiredValueError(HeadraceError):
    """The request is not answered, because the model's YAML refuses expired values of a view.

    ``rows`` has the row's number in the request and the expired value for each refused row.
    """

    def __init__(self, rows: Sequence[tuple[int, ExpiredValue]]) -> None:
        self.rows = list(rows)
        super().__init__(self.message(rows[0][1]))

    @staticmethod
    def message(value: ExpiredValue) -> str:
        """The message in one sentence."""
        return (
            f"{value.sentence()}, and the model refuses expired values of it; materialize newer ones with "
            "`headrace run materialize`, or change expired in the model's file."
        )


def expired_values(
    expired: pd.DataFrame,
    ages: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    policies: Mapping[str, Expired],
    ttls: Mapping[str, float],
    keys: Mapping[str, Sequence[str]],
) -> list[list[ExpiredValue]]:
    """Every expired value of every row.

    Args:
        expired: one column of booleans per view, row for row.
        ages: view -> seconds, row for row.
    """
    found: list[list[ExpiredValue]] = [[] for _ in rows]
    for view in expired.columns:
        policy = policies.get(view)
        named = "default" if isinstance(policy, Defaults) else policy or "null"
        for number in expired[view].to_numpy(dtype=bool).nonzero()[0]:
            mine = {key: rows[number].get(key) for key in keys.get(view, ())}
            found[number].append(ExpiredValue(str(view), mine, float(ages[view][number]), ttls[view], named))
    return found


def hold_to(
    policies: Mapping[str, Expired], features: pd.DataFrame, expired: pd.DataFrame, found: list[list[ExpiredValue]]
) -> list[bool]:
    """Apply the policies: write defaults into ``features``; returns the rows that get no probability.

    Raises:
        ExpiredValueError: the model refuses expired values of a view that has one.
    """
    refused = [(number, each) for number, row in enumerate(found) for each in row if each.policy == "refuse"]
    if refused:
        raise ExpiredValueError(refused)
    fill(features, expired, policies)
    return [any(each.policy == "abstain" for each in row) for row in found]


def reason(found: Sequence[ExpiredValue]) -> str:
    """Why a row got no probability, with every view that abstains, in one sentence."""
    sentences = [each.sentence() for each in found if each.policy == "abstain"]
    return "; ".join([sentences[0], *(each[0].lower() + each[1:] for each in sentences[1:])]) + "."
