"""The report of linear probes: a table's, with a sentence on whose features the numbers are of."""

from dataclasses import dataclass, replace

from okdbench.report.model import Document, unique
from okdbench.report.paper import data_words, training_words
from okdbench.report.table import TableReport
from okdbench.runs.probe import ProbeConfig
from okdbench.words import count


@dataclass(frozen=True)
class ProbeReport(TableReport):
    """See `okdbench.kinds.AnyReport`."""

    def document(self) -> Document:
        """Return the report of a table, whose legend begins with what was probed."""
        document = super().document()
        return replace(document, legend=(*self._probed(), *document.legend))

    def paper(self) -> Document:
        """Return the table of our numbers; the methods begin with what was probed, and how that was trained."""
        document = super().paper()
        networks = unique(
            f"Training of the networks on {self.name(each.dataset)}: {training_words(each.training)}; "
            f"{data_words(each.data)}."
            for each in (config.source for config in self._configs())
        )
        words = (" ".join((*self._probed(), *networks, *document.methods)),) if document.methods else ()
        return replace(document, methods=words)

    def _configs(self) -> list[ProbeConfig]:
        """Return the configurations of all probes."""
        configs = (run.config for result in self.cells for run in result.cell.runs)
        return [config for config in configs if isinstance(config, ProbeConfig)]

    def _probed(self) -> tuple[str, ...]:
        """Return one sentence for each way in which the cells were probed."""
        return tuple(unique(_sentence(config, self.name(config.source.dataset)) for config in self._configs()))


def _sentence(config: ProbeConfig, trained_on: str) -> str:
    source = config.source
    views = "random parts of images, resized" if config.probe.view == "resized-crop" else "whole images"
    return (
        f"Each number is of a linear probe: a linear classifier, trained for {count(config.epochs, 'epoch')} on "
        f"{views}, of the frozen pooled features of a network trained for {count(source.epochs, 'epoch')} on "
        f"{trained_on}."
    )
