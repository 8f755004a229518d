"""What only people know about a model and its card should say: what it is for and not for, who answers for it."""

from __future__ import annotations

from configs.reading import Frozen

__all__ = ["Card"]


class Card(Frozen):
    """Words for the model card, beside what is generated from the facts; all optional, and a card says what lacks."""

    owner: str | None = None
    intended_use: str | None = None
    out_of_scope: str | None = None
    ethical_considerations: list[str] = []
    caveats: list[str] = []
