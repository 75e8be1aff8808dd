"""The signed power of a summed history, by square roots alone, as ``FORMAT.md`` has it.

A dimension that two items agree on says less than twice as much: powers below 1 let small interests
of a user be heard beside a large one. Square roots and products are rounded alike everywhere, so
all readers get the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparserec_np.modelfile.layout import EIGHTHS

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]


def signed_power(values: FloatArray, power: float) -> FloatArray:
    """Compute ``sign(y) |y|^power``.

    Args:
        values: float64 array.
        power: A multiple of 1/8 above 0, at most 1.

    Returns:
        float64 array of the same shape; ``values`` itself if the power is 1.
    """
    eighths = round(power * EIGHTHS)
    if eighths == EIGHTHS:
        return values
    root = np.abs(values)
    sizes = np.ones_like(root)
    for bit in (4, 2, 1):
        if eighths % (2 * bit) == 0:
            break
        np.sqrt(root, out=root)
        if eighths & bit:
            sizes *= root
    return np.copysign(sizes, values, out=sizes)


def signed_power_ratio(values: FloatArray, power: float) -> FloatArray:
    """Divide :func:`signed_power` by the values: 1 if the power is 1, else 0 where one is 0."""
    if power == 1:
        return np.ones_like(values)
    raised = signed_power(values, power)
    return np.divide(raised, values, out=np.zeros_like(values), where=values != 0)
