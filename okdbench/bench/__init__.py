"""How fast training is: ours beside a loop as the papers publish it and one of eager PyTorch written with care."""

from okdbench.bench.cases import Wanted, cases
from okdbench.bench.loops import Setting
from okdbench.bench.measure import LOOPS, Effort, measure
from okdbench.bench.record import Measurement, save
from okdbench.bench.timing import Spread

__all__ = ["LOOPS", "Effort", "Measurement", "Setting", "Spread", "Wanted", "cases", "measure", "save"]
