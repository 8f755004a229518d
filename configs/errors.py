"""The base class of all expected errors of Headrace."""

__all__ = ["HeadraceError"]


class HeadraceError(Exception):
    """An expected error. Its message is one sentence: what failed, the value, what was expected, how to fix it.

    An error of settings files has such a sentence for each problem, a line each.

    The command line prints the message and exits with 1; any other exception is a bug and keeps its traceback.
    Subclasses are defined next to the code that raises them, and may also derive from a built-in exception.
    """
