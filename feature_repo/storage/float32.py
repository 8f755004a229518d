"""The range of float32, the type that models are fitted and scored on: a number beyond it would be infinite there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

__all__ = ["LARGEST", "beyond", "finite"]

#: The largest number of float32, 3.4e38.
LARGEST = float.fromhex("0x1.fffffep+127")


def beyond(numbers: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether each number is infinite in float32; of the same shape. NaN, a missing number, is not.

    >>> import numpy as np
    >>> beyond(np.array([3.4e38, -1e39, np.inf, np.nan])).tolist()
    [False, True, True, False]
    """
    found: npt.NDArray[np.bool_] = abs(numbers) > LARGEST
    return found


def finite(features: pd.DataFrame) -> pd.DataFrame:
    """The features, with null for a number that is infinite in float32, such as the result of a division by zero."""
    numbers = features.select_dtypes("floating")
    return features.assign(**{str(name): numbers[name].mask(beyond(numbers[name].to_numpy())) for name in numbers})
