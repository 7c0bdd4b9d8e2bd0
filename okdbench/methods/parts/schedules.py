"""Loss weights over the epochs, as the papers write them; epochs count from 0."""

import math


def ramp_up(epoch: int, length: int = 80) -> float:
    """exp(-5 (1 - min(e, L) / L)^2): .0067 at e = 0, 1 from e = L on; 1 throughout for L = 0 (Laine & Aila 2017)."""
    if length <= 0:
        return 1.0
    return math.exp(-5.0 * (1.0 - min(epoch, length) / length) ** 2)


def ramp_up_released(epoch: int, weight: float, length: int = 80) -> float:
    """Return the ramp of the PCL and DKEL code, weight included: it divides the epoch by lambda where the length was
    meant.

    lambda exp(-5 (1 - e / lambda)^2) up to e = L, lambda afterwards: effectively no distillation before epoch L + 1.
    """
    if epoch > length:
        return weight
    return weight * math.exp(-5.0 * (1.0 - epoch / weight) ** 2)
