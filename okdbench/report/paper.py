"""A measured table as it stands in a paper of one's own: ours only, how it was made in words, and BibTeX."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import okdbench
from okdbench.config import DataSettings, LearningConfig, MultistepSchedule, TrainingSettings
from okdbench.recipe.header import RecipeHeader, Source
from okdbench.report.grid import lay_out, method_settings, said_places
from okdbench.report.legend import ELSEWHERE, elsewhere, protocols
from okdbench.report.model import Document, Entry, MeasuredTable, Panel, PrintedTable, unique
from okdbench.results.cells import CellResult
from okdbench.results.stats import SIGNIFICANCE
from okdbench.runs.records import LearnedRecord
from okdbench.words import count, enumerated

SOFTWARE = "okdbench"
"""The key by which okdbench is cited."""
COMPARISON = ("Verdict", "Reported", "Difference")
"""Details of a cell that compare it with the paper."""
T = TypeVar("T", TrainingSettings, DataSettings)


def paper_document(report: MeasuredTable, records: Sequence[LearnedRecord]) -> Document:
    """Return the table of what is measured, the methods in words from the records, and the works to cite."""
    recipe = report.plan.recipe
    table = _ours(lay_out(report))
    shown = replace(report, cells=tuple(each for each in report.cells if each.values))
    entries = [entry for panel in table.panels for _, row in panel.rows for entry in row if entry]
    return Document(
        title=recipe.title,
        source="",
        caption=recipe.table.caption or recipe.title,
        tables=(table,),
        details=(),
        legend=tuple(_notes(shown, entries)),
        name=recipe.name,
        emphasis=said_places(shown, table),
        methods=(" ".join(_methods(shown, records)),) if records else (),
        references=tuple(references(recipe)),
    )


def references(recipe: RecipeHeader) -> list[tuple[str, ...]]:
    """Return the lines of the BibTeX entries of okdbench and of the recipe's source, if it has one."""
    own = {
        "author": "{okdbench contributors}",
        "title": "{okdbench}: reproducing the tables of online knowledge distillation papers",
        "howpublished": f"Software, version {okdbench.__version__}",
    }
    return [_entry(SOFTWARE, own), *([_entry(_key(recipe.source), _fields(recipe.source))] if recipe.source else [])]


def _fields(source: Source) -> dict[str, str]:
    return {
        "author": source.authors.replace(", ", " and "),
        "title": f"{{{source.paper}}}",
        "year": str(source.year),
        "eprint": source.arxiv,
        "archiveprefix": "arXiv" if source.arxiv else "",
        "doi": source.doi,
        "url": source.url,
    }


def _entry(key: str, fields: dict[str, str]) -> tuple[str, ...]:
    """Return one entry of a BibTeX file, without empty fields."""
    lines = (f"  {name} = {{{value}}}," for name, value in fields.items() if value)
    return (f"@misc{{{key},", *lines, "}")


def _key(source: Source) -> str:
    """Return how the source is cited: the first author's last name, the year, the title's first word."""
    last = source.authors.partition(",")[0].split()[-1:]
    words = "".join((*last, str(source.year), *source.paper.split()[:1]))
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
    return re.sub(r"\W", "", plain).lower()


def _ours(table: PrintedTable) -> PrintedTable:
    """Return the table with our numbers alone, without rows and columns in which nothing is measured."""
    rows = [entries for panel in table.panels for _, entries in panel.rows]
    kept = [i for i in range(len(table.columns)) if any(_measured(entries[i]) for entries in rows)]
    panels = [
        Panel(
            panel.title,
            tuple(
                (name, tuple(_own(entries[i]) for i in kept))
                for name, entries in panel.rows
                if any(map(_measured, entries))
            ),
        )
        for panel in table.panels
    ]
    columns = tuple(table.columns[i] for i in kept)
    return PrintedTable(table.corner, columns, tuple(panel for panel in panels if panel.rows), False)


def _own(entry: Entry | None) -> Entry | None:
    """Return an entry without the paper's number and the verdict."""
    details = (detail for detail in entry.details if detail[0] not in COMPARISON) if entry else ()
    return entry and replace(entry, mark="", theirs="", details=tuple(details))


def _measured(entry: Entry | None) -> bool:
    return entry is not None and entry.measured


def _notes(report: MeasuredTable, entries: Sequence[Entry]) -> Iterator[str]:
    """What the signs of the table mean, where they are there; why it has no numbers, where it has none."""
    if not report.cells:
        yield "No run of this selection is finished yet."
    if any(ELSEWHERE in entry.ours for entry in entries):
        yield elsewhere(report)
    if any(0 < each.summary.n < each.planned for each in report.cells):
        yield "k/n: k of n runs are finished; diverged runs enter no mean."


def _methods(report: MeasuredTable, records: Sequence[LearnedRecord]) -> Iterator[str]:
    """Sentences on what was trained, how it was measured and on what it was computed."""
    recipe = report.plan.recipe
    cells = report.cells
    versions = " and ".join(_recorded(records, "okdbench"))
    commits = ", ".join(each[:9] for each in _recorded(records, "git_commit"))
    after = f", after {recipe.source.table} of [@{_key(recipe.source)}]" if recipe.source else ""
    commit = f", commit {commits}" if commits else ""
    yield f"All runs were trained with okdbench {versions}{commit} [@{SOFTWARE}], recipe {recipe.name}{after}."
    yield from _grouped("Training", report, cells, lambda config: config.training, training_words)
    yield from _grouped("Images", report, cells, lambda config: config.data, data_words)
    own = unique((report.name(e.cell.method), method_settings(e)) for e in cells if e.cell.runs[0].config.settings)
    if own:
        listed = ", ".join(f"{name} ({text})" for name, text in own)
        yield f"Settings of the methods, where they are not the defaults of okdbench: {listed}."
    yield from _numbers(cells)
    yield from protocols(report)
    yield from _tests(report, cells)
    yield from _computed(records)
    changes = unique(change for each in cells for change in each.cell.changed)
    if changes:
        yield f"Against the recipe, these settings were changed: {', '.join(changes)}."


def _grouped(
    what: str,
    report: MeasuredTable,
    cells: Sequence[CellResult],
    part: Callable[[LearningConfig], T],
    words: Callable[[T], str],
) -> Iterator[str]:
    """A sentence for each different part of the configurations, and where it applies if not everywhere."""
    groups: dict[T, list[CellResult]] = {}
    for each in cells:
        groups.setdefault(part(each.cell.runs[0].config), []).append(each)
    for value, members in groups.items():
        place = _place(report, members, cells)
        yield f"{what}{f' ({place})' if place else ''}: {words(value)}."


def _place(report: MeasuredTable, members: Sequence[CellResult], cells: Sequence[CellResult]) -> str:
    """Return in words which of the cells these are; "" for all."""
    if len(members) == len(cells):
        return ""
    axes = ("dataset", "network", "method")
    values = {axis: unique(each.cell.value(axis) for each in members) for axis in axes}
    spanned = [each for each in cells if all(each.cell.value(axis) in values[axis] for axis in axes)]
    if len(spanned) > len(members):
        return "; ".join(unique(" ".join(report.name(each.cell.value(a)) for a in axes) for each in members))
    telling = [axis for axis in axes if len(values[axis]) < len(unique(each.cell.value(axis) for each in cells))]
    return "; ".join(enumerated([report.name(value) for value in values[axis]]) for axis in telling)


def training_words(training: TrainingSettings) -> str:
    """Return how something was trained, without a verb."""
    optimizer, schedule = training.optimizer, training.schedule
    momentum = f"{'Nesterov ' if optimizer.nesterov else ''}momentum {optimizer.momentum:g}"
    words = [
        f"{count(training.epochs, 'epoch')} of SGD with {momentum}, weight decay {optimizer.weight_decay:g}, "
        f"batches of {training.batch_size} images"
    ]
    if isinstance(schedule, MultistepSchedule):
        warmup = f", after a warm-up of {count(schedule.warmup, 'epoch')}" if schedule.warmup else ""
        steps = enumerated([str(epoch) for epoch in schedule.milestones])
        drops = f", multiplied by {schedule.gamma:g} at epoch{'s' * (len(schedule.milestones) > 1)} {steps}"
        words.append(f"learning rate {optimizer.lr:g}{warmup}{drops if schedule.milestones else ''}")
    else:
        words.append(f"learning rate {optimizer.lr:g}, which falls as half a cosine")
    if training.ema:
        words.append(f"a moving average of the weights (decay {training.ema.decay:g}) evaluated beside the network")
    return "; ".join(words)


def data_words(data: DataSettings) -> str:
    """Return on which images, in what form."""
    parts = [
        f"trained on {data.subset:,} images, equally many of each class" if data.subset else "",
        f"{data.validation:,} images held out for validation" if data.validation else "",
        f"tested on {data.test_subset:,} images" if data.test_subset else "",
        f'normalisation and augmentation are okdbench\'s preset "{data.normalisation}"',
        f"augmentation policies of the views: {', '.join(data.policies)}" if data.policies else "",
    ]
    return "; ".join(filter(None, parts))


def _numbers(cells: Sequence[CellResult]) -> Iterator[str]:
    """What a number of the table is."""
    printed = [f"top-1 {metric}" for metric in unique(each.metric for each in cells if not each.is_rate)]
    seeds = unique(seed for each in cells for seed in each.seeds)
    if any(each.is_rate for each in cells):
        yield "Collapse rates are in percent of the runs, with Wilson's 95% interval."
    if not printed:
        return
    metrics = enumerated(printed)
    listed = ", ".join(map(str, seeds))
    if len(seeds) == 1:
        yield f"Numbers are {metrics} on the test set in percent, of a single run (seed {listed})."
        return
    yield (
        f"Numbers are {metrics} on the test set in percent, mean ± sample standard deviation over {len(seeds)} runs "
        f"(seeds {listed}); runs of one seed share initial weights, batches and crops."
    )


def _tests(report: MeasuredTable, cells: Sequence[CellResult]) -> Iterator[str]:
    """How differences to the reference method were tested, and how many were found."""
    reference = report.plan.recipe.table.reference
    pairs = [each.paired for each in cells if each.paired and each.paired.holm_p_value is not None]
    if not reference or not pairs:
        return
    found = sum(pair.holm_p_value is not None and pair.holm_p_value < SIGNIFICANCE for pair in pairs)
    yield (
        f"Differences to {report.name(reference)} were tested by paired t-tests over seeds, corrected by Holm's "
        f"method for the {count(len(pairs), 'test')} shown: {found} of {len(pairs)} are significant at "
        f"{SIGNIFICANCE:.0%}."
    )


def _computed(records: Sequence[LearnedRecord]) -> Iterator[str]:
    """The devices, versions and hours of the runs."""
    how = unique(record.compute_summary for record in records if record.compute_summary)
    names = {"torch": "PyTorch", "cuda": "CUDA", "cudnn": "cuDNN", "python": "Python"}
    versions = [f"{name} {' and '.join(found)}" for key, name in names.items() if (found := _recorded(records, key))]
    hours = sum(record.hours for record in records)
    where = f" on {enumerated(how)}" if how else ""
    used = f", with {enumerated(versions)}" if versions else ""
    yield f"The {count(len(records), 'run')} took {hours:,.1f} hours{where}{used}."


def _recorded(records: Sequence[LearnedRecord], key: str) -> list[str]:
    """Return the values that the runs' environments have for a key."""
    return unique(str(value) for record in records if (value := record.environment.get(key)) is not None)
