"""Simulations: variants of a paper's description, each of them a cell with one run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from okdbench.config import SimulationConfig
    from okdbench.report.model import Choice
    from okdbench.runs.folder import RunFolder
    from okdbench.runs.interleave import Turns
    from okdbench.runs.records import Epoch
    from okdbench.studies.simulation import SimulationRecord
    from okdbench.training.distributed import Processes
    from okdbench.worker import WorkerOptions


class Simulation:
    """See `okdbench.kinds.base.Kind`."""

    name = "simulation"

    def read(self, raw: Mapping[str, Any]) -> Any:
        """Return the recipe, and everything that is wrong with the file."""
        from okdbench.recipe.problems import validated
        from okdbench.recipe.simulation import SimulationRecipe

        return validated(SimulationRecipe, raw, raw)

    def expand(self, recipe: Any, selection: Any) -> Any:
        """Return the selected variants and their runs."""
        from okdbench.plan.simulation import expand_simulation

        return expand_simulation(recipe, selection)

    def configuration(self) -> "type[SimulationConfig]":
        """Return the model of a simulation's configuration."""
        from okdbench.config import SimulationConfig

        return SimulationConfig

    def record(self) -> "type[SimulationRecord]":
        """Return the model of a simulation's record."""
        from okdbench.studies.simulation import SimulationRecord

        return SimulationRecord

    def doubts(self, record: "SimulationRecord", epochs: "Sequence[Epoch]") -> list[str]:
        """Return nothing: a simulation takes seconds, so whoever doubts it does it again."""
        return []

    def unchecked(self, record: "SimulationRecord") -> list[str]:
        """Return nothing."""
        return []

    def execute(
        self,
        config: "SimulationConfig",
        folder: "RunFolder",
        options: "WorkerOptions",
        stop: Callable[[], bool],
        processes: "Processes",
    ) -> "Turns[None]":
        """Simulate on the CPU, in the first process. That takes seconds, so a signal ends it without a checkpoint."""
        import torch

        from okdbench.runs.launch import on_stop_signals
        from okdbench.studies.simulation import perform
        from okdbench.training import Interrupted
        from okdbench.training.environment import environment

        def leave(number: int, frame: FrameType | None) -> None:
            raise Interrupted

        yield
        if not processes.first:
            return
        on_stop_signals(leave)
        if stop():
            raise Interrupted
        folder.write_record(perform(config, environment(torch.device("cpu"))))

    def report(self, plan: Any, results: Path, choice: "Choice") -> Any:
        """Return the claims that hold, and the curves; a simulation has no choice of protocol."""
        from okdbench.report.simulation import SimulationReport

        return SimulationReport.of(plan, results)


KIND = Simulation()
