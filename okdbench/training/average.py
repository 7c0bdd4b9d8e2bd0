"""A moving average of a method's weights, kept beside any run, to measure averaging by itself."""

import torch

from okdbench.config import AverageSettings
from okdbench.methods import Method
from okdbench.methods.parts.ema import EMA, frozen_copy


class Average:
    """A copy of the method whose parameters and BN statistics trail it, without any effect on the run.

    The same rule for every method (`okdbench.methods.parts.ema.EMA`), unlike the teachers that belong to some methods.
    """

    def __init__(self, method: Method, settings: AverageSettings) -> None:
        self.method = frozen_copy(method)
        self._ema = EMA(self.method, method, settings.decay, warmup=settings.warmup, buffers=True)

    @torch.no_grad()
    def update(self, step: torch.Tensor) -> None:
        """Move the average towards the method after global step ``step``."""
        self._ema.update(step)
