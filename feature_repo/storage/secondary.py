"""Secondary work, such as a baseline or a page: its failure is recorded, and the main work continues.

Main work is input or output of a decision: data, fit, threshold, metrics, gates. It is not run in here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Failure", "secondary"]

logger = logging.getLogger(__name__)

#: ``what`` failed and ``why``: the type and the first line of the error.
Failure = dict[str, str]


@contextmanager
def secondary(what: str, failures: list[Failure] | None = None) -> Iterator[None]:
    """Run the block; if it raises an exception, log a warning and append ``{what, why}`` to ``failures``, if given.

    The traceback is logged at level DEBUG. A cancelled flow or an interrupt, not an ``Exception``, is not caught.

    >>> failures = []
    >>> with secondary("page of the table flights", failures):
    ...     raise OSError("No space left on device")
    >>> failures
    [{'what': 'page of the table flights', 'why': 'OSError: No space left on device'}]
    """
    try:
        yield
    except Exception as error:
        cause = getattr(error, "cause", None) or error  # a Ray task wraps its exception
        first = next(iter(str(cause).strip().splitlines()), "")
        why = f"{type(cause).__name__}: {first}" if first else type(cause).__name__
        logger.warning("The %s failed and is left out: %s", what, why)
        logger.debug("The %s failed.", what, exc_info=True)
        if failures is not None:
            failures.append({"what": what, "why": why})
