"""What a table's signs and numbers mean, in sentences."""

from collections import Counter

from okdbench.recipe.header import Source
from okdbench.report.model import MeasuredTable, unique
from okdbench.report.numbers import DASH, difference, finished_runs, number, p_value, spread
from okdbench.results.cells import CellResult, Verdict, metric_of, table_metric
from okdbench.results.protocol import describe_protocol
from okdbench.results.stats import POWER, SIGNIFICANCE
from okdbench.runs.heads import DEPLOYED
from okdbench.words import count, enumerated

LOW_TRUST = "°"
SELECTED = "†"
ELSEWHERE = "‡"
CUT = "§"
MARKS: dict[Verdict, str] = {
    "reproduced": "✓",
    "higher": "↑",
    "lower": "↓",
    "inconclusive": "?",
    "changed settings": "*",
}


def sentence(report: MeasuredTable, result: CellResult) -> str:
    """Return a cell in one line: where it is, its verdict and the numbers behind it."""
    cell, compared = result.cell, result.comparison
    verdict = f"unavailable ({cell.unavailable})" if cell.unavailable else result.verdict_text
    if result.verdict == "changed settings":
        verdict += f" ({', '.join(cell.changed)})"
    parts = [
        f"ours {spread(result)} (n = {finished_runs(result)})" if result.values else "",
        f"paper {number(cell.reported.mean, cell.reported.std)}" if cell.reported else "",
        f"difference {difference(compared.difference)}" if compared else "",
        f"p {p_value(compared.p_value)} ({compared.test})" if compared and compared.test else "",
        f"{result.diverged} diverged" if result.diverged else "",
    ]
    return f"{report.plan.recipe.name}: {cell.key}: {verdict}: {', '.join(filter(None, parts))}"


def citation(source: Source | None) -> str:
    """Return where the printed numbers come from; "" where the recipe has no source."""
    if source is None:
        return ""
    paper = [source.authors, source.paper, str(source.year), source.table]
    places = [f"arXiv:{source.arxiv}" if source.arxiv else "", f"doi:{source.doi}" if source.doi else "", source.url]
    return ", ".join(filter(None, paper + places))


def legend(report: MeasuredTable) -> tuple[str, ...]:
    """Return what the table shows, line by line: metric, ±, protocols, verdicts, and why a cell is empty or marked."""
    lines = [_metric(report), _rate(report), _runs(report), _printed(report), *protocols(report)]
    lines += [
        elsewhere(report),
        _computed(report),
        _marks(report),
        _pairs(report),
        _needed(report),
        _cut(report),
        *_apart(report),
    ]
    return tuple(filter(None, [*lines, _tally(report)]))


def _metric(report: MeasuredTable) -> str:
    metrics = unique(metric_of(report.plan, result.cell) for result in report.cells if not result.is_rate)
    if report.cells and not metrics:
        return ""
    names = {"accuracy": "top-1 accuracy", "error": "top-1 error (100 − accuracy)"}
    what = " or ".join(names[metric] for metric in metrics) or names["accuracy"]
    what = f"{what[0].upper()}{what[1:]} on the test set, in percent"
    return f"{what}: ours, and below it the paper's number." if report.paired and report.choice != "all" else f"{what}."


def _rate(report: MeasuredTable) -> str:
    """Return what a collapse rate is."""
    if not any(result.is_rate for result in report.cells):
        return ""
    return (
        "Collapse rate in percent [Wilson's 95% interval]: a run has collapsed if its logits stayed below 0.001 at "
        "chance accuracy for 5 epochs."
    )


def _runs(report: MeasuredTable) -> str:
    """Return what ± and n are."""
    seeds = unique(run.config.seed for result in report.cells for run in result.cell.runs)
    planned = max((result.planned for result in report.cells), default=0)
    listed = ", ".join(map(str, seeds))
    if planned < 2:
        return f"n = 1: a single run (seed {listed}), so there is no ±." if planned else ""
    partly = any(0 < result.summary.n < result.planned for result in report.cells)
    fraction = "; k/n: only k of n runs are finished" if partly else ""
    if all(result.is_rate for result in report.cells):
        return f"n = {planned} runs (seeds {listed}){fraction}."
    return f"±: sample standard deviation (ddof 1) over n = {planned} runs (seeds {listed}){fraction}."


def _printed(report: MeasuredTable) -> str:
    """Return what the paper's ± is."""
    if report.choice == "all":
        return ""
    printed = [result.cell.reported for result in report.cells if result.cell.reported]
    with_spread = [reported for reported in printed if reported.std is not None]
    if not with_spread:
        return "The paper prints no ±." if printed else ""
    total = len(with_spread)
    counts = Counter(f"n = {reported.n}" if reported.n else "n not stated" for reported in with_spread)
    if len(counts) == 1:
        return f"The paper's ± is as printed, {next(iter(counts))}."
    shares = ", ".join(f"{n} for {times} of {total} numbers" for n, times in counts.items())
    return f"The paper's ± is as printed: {shares}."


def protocols(report: MeasuredTable) -> list[str]:
    """Return which head and epoch make a run's number, for each group of methods that share them."""
    if report.choice == "all":
        rules = unique(result.chosen for result in report.cells if result.chosen)
        how = ", ".join(f"{rule.what} chosen on {rule.where}" for rule in rules)
        return [f"Every recorded head at the last epoch and at the best epoch ({how})."]
    apart = report.plan.recipe.table.separates_readings
    groups: dict[tuple[str, str, str], list[str]] = {}
    resolved = {result.cell.method for result in report.cells if not _unresolved(result)}
    for result in report.cells:
        if result.is_rate or (_unresolved(result) and result.cell.method in resolved):
            continue  # a cell without runs does not know the deployed head; another cell of its method does
        mark, rule = f"{SELECTED} " if result.chosen_on_test else "", result.chosen
        chosen = f" ({mark}{rule.what} chosen on {rule.where})" if rule else ""
        reading = report.name(result.cell.reading) if apart else "Protocol"
        methods = groups.setdefault((reading, describe_protocol(result.head, result.epoch), chosen), [])
        methods.append(report.name(report.value(result.cell, "method")))
    return [
        f"{reading} of {enumerated(unique(methods))}: {what}{chosen}."
        for (reading, what, chosen), methods in groups.items()
    ]


def _unresolved(result: CellResult) -> bool:
    """Return whether no finished run says which head is the deployed one."""
    return result.head.pattern == DEPLOYED


def elsewhere(report: MeasuredTable) -> str:
    """Cells trained with a different network from the one named in the table."""
    groups: dict[tuple[str, str], list[str]] = {}
    for cell in (result.cell for result in report.cells):
        if cell.trained_network != cell.network and cell.runs:
            groups.setdefault((cell.network, cell.trained_network), []).append(report.name(cell.method))
    if not groups:
        return ""
    parts = (
        f"{trained} for {report.name(network)} of {enumerated(unique(methods))}"
        for (network, trained), methods in groups.items()
    )
    return f"{ELSEWHERE} trained as: {'; '.join(parts)}."


def _computed(report: MeasuredTable) -> str:
    """Return the devices and settings that computed the runs; "" where the records do not say."""
    runs = dict(run for result in report.cells for run in result.computed)
    groups = Counter(how for how in runs.values() if how)
    if not groups:
        return ""
    groups_in_words = (f"{how} ({count(number, 'run')})" for how, number in groups.most_common())
    return f"Computed on: {'; '.join(groups_in_words)}."


def _marks(report: MeasuredTable) -> str:
    """Return the marks in the table, and the rule for each."""
    margin, met = report.plan.recipe.margin, {result.verdict for result in report.cells if result.values}
    meanings = {
        "reproduced": f"reproduced (within {margin:g} points of the paper and p ≥ {SIGNIFICANCE:g})",
        "higher": f"higher than the paper (p < {SIGNIFICANCE:g})",
        "lower": f"lower than the paper (p < {SIGNIFICANCE:g})",
        "inconclusive": f"inconclusive (p ≥ {SIGNIFICANCE:g}, but not within {margin:g} points)",
    }
    marks = [f"{MARKS[verdict]} {meanings[verdict]}" for verdict in MARKS if verdict in met and verdict in meanings]
    tests = unique(result.comparison.test for result in report.cells if result.comparison and result.comparison.test)
    if not marks or report.choice == "all":
        return ""
    names = {
        "Welch": "Welch's t-test where the paper gives its standard deviation and n",
        "one-sample": "a one-sample t-test where the paper lacks its standard deviation or n",
    }
    return (
        f"Marks: {'; '.join(marks)}. p is from {', and from '.join(names[test] for test in sorted(tests))}; verdicts "
        f"are by p. {_holm(sum(r.comparison.holm_p_value is not None for r in report.cells if r.comparison))}".rstrip()
    )


def _pairs(report: MeasuredTable) -> str:
    """How the differences to the reference method are computed."""
    reference = report.plan.recipe.table.reference
    if not reference or not any(result.paired for result in report.cells):
        return ""
    paired = [result.paired for result in report.cells if result.paired]
    name, several = report.name(reference), [each for each in paired if each.summary.n > 1]
    leasts = {each.summary.n: each.least_p_value for each in several if each.least_p_value is not None}
    least = ", ".join(f"{leasts[n]:.2g} for n = {n}" for n in sorted(leasts))
    errors = ", in error: negative is better" if table_metric(report.plan) == "error" else ""
    parts = [
        f"vs {name}: mean over seeds of the difference to {name} with the same seed (same initial weights, batches and "
        f"crops{errors}), its 95% t-interval over seeds, and paired p from a t-test.",
        _holm(sum(each.holm_p_value is not None for each in paired)),
        f"exact p is from all sign flips of the differences, not corrected, at least {least}." if least else "",
        "What is chosen on the test set is never worse than what it was chosen from, so that is not tested."
        if any(each.exact_p_value is None for each in several)
        else "",
        "Where all seeds differ by the same, the t-test has no p."
        if any(each.exact_p_value is not None and each.p_value is None for each in several)
        else "",
    ]
    return " ".join(filter(None, parts))


def _holm(tests: int) -> str:
    """Return for how many tests Holm's p is corrected; "" where there is none."""
    return f"Holm p is corrected for the complete cells shown ({count(tests, 'test')})." if tests else ""


def _needed(report: MeasuredTable) -> str:
    """What the number of seeds needed is, where it is shown."""
    shown = any(r.verdict == "inconclusive" for r in report.cells)
    shown |= any(r.paired.p_value is not None and not r.paired.decided for r in report.cells if r.paired)
    if not shown or report.choice == "all":
        return ""
    return (
        f"needs n: the approximate number of seeds that would find a difference of the observed size, with p < "
        f"{SIGNIFICANCE:g} in {POWER:.0%} of cases; an estimate from few runs."
    )


def _cut(report: MeasuredTable) -> str:
    """What the mark of a cut interval means, where there is one."""
    return f"{CUT} the interval was cut at 0 or 100 percent." if any(r.summary.cut for r in report.cells) else ""


def _apart(report: MeasuredTable) -> list[str]:
    """Return why numbers are not compared, or are doubtful."""
    cells, lines = report.cells, []
    if changed := [result.cell.changed for result in cells if result.cell.changed]:
        common = [change for change in changed[0] if all(change in each for each in changed)]
        own = unique(change for each in changed for change in each if change not in common)
        listed = "; ".join(filter(None, (", ".join(common), f"where they apply: {', '.join(own)}" if own else "")))
        lines.append(f"{MARKS['changed settings']} changed settings, so not compared with the paper: {listed}.")
    if any(result.verdict == "other protocol" for result in cells) and report.choice != "all":
        lines.append("The paper's numbers follow another protocol, so they are shown but not compared.")
    trainings = {tuple(run.id for run in result.cell.runs): result for result in cells}.values()
    diverged = sum(result.diverged for result in trainings if not result.is_rate)
    if diverged and report.choice != "all":
        lines.append(f"Diverged runs ({diverged}) count as unfinished and enter no mean.")
    otherwise = sum(result.diverged - result.collapsed for result in trainings if result.is_rate)
    if otherwise:
        lines.append(f"Runs that diverged in another way ({otherwise}) count as not collapsed.")
    missing = sum(bool(result.cell.unavailable) for result in cells)
    if missing:
        lines.append(f"Unavailable cells: {missing} of {len(cells)}; okdbench show says why.")
    printed = [result.cell.reported for result in cells if result.cell.reported]
    doubtful = [reported for reported in printed if reported.trust == "low"]
    if doubtful and report.choice != "all":
        notes = unique(reported.note for reported in doubtful if reported.note)
        reasons = f": {'; '.join(notes)}" if notes else ""
        lines.append(f"{LOW_TRUST} the printed number is second-hand or doubtful{reasons}.")
    empty = [
        "no finished run" if not all(result.values for result in cells) else "",
        "no printed number" if report.paired and len(printed) < len(cells) else "",
    ]
    if any(empty) and report.choice != "all":
        lines.append(f"{DASH} {' or '.join(filter(None, empty))}.")
    return lines


def _tally(report: MeasuredTable) -> str:
    """Return the number of printed numbers with each verdict."""
    counts = Counter(result.verdict for result in report.cells if result.cell.reported)
    if not counts or report.choice == "all":
        return ""
    listed = ", ".join(f"{times} {verdict}" for verdict, times in sorted(counts.items(), key=lambda item: -item[1]))
    return f"Verdicts on {count(counts.total(), 'printed number')}: {listed}."
