"""How long runs will take and how much disk they need, told before they are trained."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from okdbench import data
from okdbench.machine import gpu_count, main_device_name
from okdbench.plan.cost import CellCost, RunCost
from okdbench.plan.jobs import Planned
from okdbench.plan.measured import Hours, Speed, hours, recorded_speeds, speeds
from okdbench.plan.table import Run

MODELLED_DEVICE = "one H200"


@dataclass(frozen=True)
class Clock:
    """Where the hours of trainings are told, and from what.

    ``source`` is ``bench`` for the measurements of `okdbench bench`, ``records`` for the speed of finished runs, and
    ``model`` for the model of one GPU in `okdbench.plan.cost`, which has no ``speeds``.
    """

    device: str
    source: Literal["bench", "records", "model"]
    speeds: Sequence[Speed] = ()

    def hours(self, cost: CellCost | RunCost) -> Hours:
        """Return the hours of a cell or run."""
        return hours(cost, self.speeds) if self.speeds else Hours(cost.gpu_hours, "model")


MODEL = Clock(MODELLED_DEVICE, "model")


def clocks(results: Path) -> list[Clock]:
    """Return a clock for each device whose speed the results folder knows, this machine's first.

    Where it knows none, the only clock is the model's; where this machine has a GPU that it does not know, the model's
    is the first, since the speed of another device says less.
    """
    measured, recorded = speeds(results), recorded_speeds(results)
    found = [Clock(device, "bench", each) for device, each in measured.items()]
    found += [Clock(device, "records", each) for device, each in recorded.items() if device not in measured]
    here = main_device_name()
    if not found or (gpu_count() and all(clock.device != here for clock in found)):
        return [MODEL, *found]
    return sorted(found, key=lambda clock: clock.device != here)


@dataclass(frozen=True)
class Due:
    """What is left of one run: its whole cost, and the ``part`` of its epochs that is not trained yet."""

    planned: Planned
    cost: RunCost
    part: float

    @property
    def petaflop(self) -> float:
        """The arithmetic that is left."""
        return self.cost.petaflop * self.part

    def hours(self, clock: Clock) -> Hours:
        """Return the hours that are left."""
        whole = clock.hours(self.cost)
        return Hours(whole.hours * self.part, whole.basis)


def due(planned: Iterable[Planned]) -> list[Due]:
    """Return the runs of tables that are to be done, in the order of the plan."""
    found = []
    for each in planned:
        if each.todo and isinstance(each.run, Run):
            done = 0 if each.archive_first else each.job.folder.epochs_done
            found.append(Due(each, each.run.cost(), 1 - min(done / each.run.config.epochs, 1)))
    return found


@dataclass(frozen=True)
class Disk:
    """Bytes: ``stored`` in the folders of finished runs, ``working`` more while they are trained, ``images`` packed."""

    stored: int
    working: int
    images: int


def disk(left: Sequence[Due], root: Path, at_once: int) -> Disk:
    """Return what the runs need besides what is there; ``root`` is the data folder, ``at_once`` are trained at once."""
    extra = sorted((each.cost.working - each.cost.stored for each in left), reverse=True)
    names = dict.fromkeys(name for each in left for name in each.cost.config.datasets)
    unpacked = [data.get(name) for name in names if data.packing_state(name, root)[0] != "packed"]
    images = sum((each.train_size + each.test_size) * 3 * each.image_size**2 for each in unpacked if not each.streamed)
    return Disk(sum(each.cost.stored for each in left), sum(extra[:at_once]), images)
