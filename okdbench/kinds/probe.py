"""Linear probes: a table of trainings, each read by a linear classifier that is trained on another data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from okdbench.kinds.training import Training

if TYPE_CHECKING:
    from okdbench.report.model import Choice
    from okdbench.runs.probe import ProbeConfig, ProbeRecord
    from okdbench.training import Trainer


class Probe(Training):
    """See `okdbench.kinds.base.Kind`; all that it does not say is as for a training."""

    name = "probe"

    def read(self, raw: Mapping[str, Any]) -> Any:
        """Return the recipe, and everything that is wrong with the file."""
        from okdbench.recipe.checks import read
        from okdbench.recipe.probe import ProbeRecipe

        return read(raw, ProbeRecipe)

    def expand(self, recipe: Any, selection: Any) -> Any:
        """Return the selected cells, their probes, and the trainings that these read."""
        from okdbench.plan.probe import expand_probes

        return expand_probes(recipe, selection)

    def configuration(self) -> "type[ProbeConfig]":
        """Return the model of a probe's configuration."""
        from okdbench.runs.probe import ProbeConfig

        return ProbeConfig

    def record(self) -> "type[ProbeRecord]":
        """Return the model of a probe's record."""
        from okdbench.runs.probe import ProbeRecord

        return ProbeRecord

    def trainer(self) -> "type[Trainer]":
        """Return what trains the classifier."""
        from okdbench.training.probe import ProbeTrainer

        return ProbeTrainer

    def report(self, plan: Any, results: Path, choice: "Choice") -> Any:
        """Return the measured table."""
        from okdbench.report.probe import ProbeReport

        return ProbeReport.of(plan, results, choice)


KIND = Probe()
