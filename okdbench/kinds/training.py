"""Trainings: a table of networks, methods and data sets, each cell trained with several seeds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from okdbench.errors import UsageError

if TYPE_CHECKING:
    from okdbench.config import LearningConfig
    from okdbench.report.model import Choice
    from okdbench.runs.folder import RunFolder
    from okdbench.runs.interleave import Turns
    from okdbench.runs.records import Epoch, LearnedRecord
    from okdbench.training import Trainer
    from okdbench.training.distributed import Processes
    from okdbench.worker import WorkerOptions


class Training:
    """See `okdbench.kinds.base.Kind`."""

    name = "training"

    def read(self, raw: Mapping[str, Any]) -> Any:
        """Return the recipe, and everything that is wrong with the file."""
        from okdbench.recipe.checks import read
        from okdbench.recipe.schema import Recipe

        return read(raw, Recipe)

    def expand(self, recipe: Any, selection: Any) -> Any:
        """Return the selected cells and their runs."""
        from okdbench.plan.expansion import expand_table

        return expand_table(recipe, selection)

    def configuration(self) -> "type[LearningConfig]":
        """Return the model of a training's configuration."""
        from okdbench.config import RunConfig

        return RunConfig

    def record(self) -> "type[LearnedRecord]":
        """Return the model of a training's record."""
        from okdbench.runs.records import Record

        return Record

    def doubts(self, record: "LearnedRecord", epochs: "Sequence[Epoch]") -> list[str]:
        """Return what no training writes."""
        from okdbench.training.plausibility import doubts

        return doubts(record, epochs)

    def unchecked(self, record: "LearnedRecord") -> list[str]:
        """Return the plugins that the run was trained with and that are not here."""
        from okdbench.training.plausibility import unchecked

        return unchecked(record)

    def execute(
        self,
        config: "LearningConfig",
        folder: "RunFolder",
        options: "WorkerOptions",
        stop: Callable[[], bool],
        processes: "Processes",
    ) -> "Turns[None]":
        """Train; when ``stop`` says so, write a checkpoint and raise `Interrupted`."""

        import torch

        from okdbench.runs.interleave import in_context
        from okdbench.training.backends import in_own_stream
        from okdbench.training.computation import configure_process
        from okdbench.training.distributed import own_device

        threads = _first_threads(folder, options.threads, processes)
        torch.set_num_threads(threads)
        device = own_device(options.device)
        configure_process(options.execution.algorithms, device)
        _require_planned_plugins(config)
        train_with = self.trainer()

        def turns() -> "Turns[None]":
            trainer = train_with(config, folder, options.data, device, stop, processes, options.execution)
            if processes.first:
                print(trainer.computation, flush=True)
            yield from trainer.turns()

        work = in_own_stream(turns(), device)
        # Runs that take turns may have begun with different numbers of threads.
        yield from in_context(work, lambda: _with_threads(threads)) if options.execution.jobs > 1 else work

    def trainer(self) -> "type[Trainer]":
        """Return what trains a run of this kind."""
        from okdbench.training import Trainer

        return Trainer

    def report(self, plan: Any, results: Path, choice: "Choice") -> Any:
        """Return the measured table."""
        from okdbench.report.table import TableReport

        return TableReport.of(plan, results, choice)


def _first_threads(folder: "RunFolder", wanted: int, processes: "Processes") -> int:
    """Return the number of threads of the run's first attempt, since sums over other parts have other bits.

    Where this is the first attempt, it is ``wanted`` (0: torch's choice), and is kept in the folder.
    """
    import torch

    from okdbench.runs.records import FirstAttempt

    kept = processes.from_first(folder.first_attempt)
    attempt = kept or FirstAttempt(threads=wanted or torch.get_num_threads())
    if processes.first and not kept:
        folder.write_first_attempt(attempt)
    return attempt.threads


@contextmanager
def _with_threads(number: int) -> Iterator[None]:
    """Let torch use ``number`` threads from here on."""
    import torch

    torch.set_num_threads(number)
    yield


def _require_planned_plugins(config: "LearningConfig") -> None:
    """Raise UsageError if a plugin has changed since the run was planned and identified."""
    from okdbench import methods

    for each in (*config.needs, config.source):
        now = methods.origins(each.method, each.network)
        if now != each.plugins:
            then = f"{each.plugins} then, {now} now"
            raise UsageError(f"plugins have changed since the run was planned ({then}); give the same command again")


KIND = Training()
