"""The findings as a table: each check, target and prediction beside what was measured, and what was not."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gpu_run.items import LIMITS

Findings = Mapping[str, Any]
"""Of a command, by item."""
MISSING = "not measured"
CIFAR_IMAGES = 50_000
KERNELS = 12
"""Kernels of the profile that are shown."""


REHEARSAL = "REHEARSAL: tiny sizes, single operations in place of graphs: its figures mean nothing"
MARK = "REHEARSAL"
"""An empty file in the folder of a rehearsal's findings."""


class Line(NamedTuple):
    """A row of the table."""

    what: str
    expected: str
    measured: str


def write_table(output: Path) -> str:
    """Write the table of the findings in a folder to its summary.txt; return it."""
    gate, headline = (_read(output / f"{command}.json") for command in LIMITS)
    bad = wrong({**gate, **headline})
    first = [REHEARSAL] if (output / MARK).exists() else []
    text = "\n".join([*first, *table(gate, headline), *([f"WRONG: {', '.join(bad)}"] if bad else [])]) + "\n"
    (output / "summary.txt").write_text(text)
    return text


def save_measurements(output: Path) -> None:
    """Write those of `okdbench bench` as its files below ``results``, where `okdbench show --cost` finds them."""
    folder = output / "results" / "bench" / "gpu_run"
    folder.mkdir(parents=True, exist_ok=True)
    for name, entry in _read(output / "headline.json").items():
        if (measured := entry.get("found")) and measured.get("kind") == "bench":
            path = folder / f"{name.replace(', ', '.').replace(' ', '-')}.json"
            path.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def found(findings: Findings, name: str) -> Any:
    """What an item found; None where it failed, was skipped or was not reached."""
    return findings.get(name, {}).get("found")


def wrong(findings: Findings) -> list[str]:
    """The items that failed, and the checks that came out wrong."""
    bad = []
    for name, entry in findings.items():
        measured = entry.get("found") or {}
        failed = name.startswith("check ") and not all(each["right"] for each in measured.values())
        if "error" in entry or failed or not all(_same(measured)):
            bad.append(name)
    return bad


def _same(measured: Any) -> list[bool]:
    """For each run in turns whether it had the weights that it has alone; empty where that was not asked."""
    return measured.get("same-weights", {}).get("same", []) if isinstance(measured, dict) else []


def table(gate: Findings, headline: Findings) -> list[str]:
    """Lines of text."""
    rows = [Line("", "predicted", "measured"), *lines(gate, headline)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{row.what:<{widths[0]}}  {row.expected:<{widths[1]}}  {row.measured}".rstrip() for row in rows]


def lines(gate: Findings, headline: Findings) -> Iterator[Line]:
    """Checks, targets, predictions G0-G7, the profile, and what did not go as asked."""
    yield from _checks(gate)
    yield from _targets(headline)
    yield from _predictions(headline)
    yield from _profile(headline)
    for name, entry in [*gate.items(), *headline.items()]:
        measured = entry.get("found")
        if isinstance(measured, dict) and (note := measured.get("execution", {}).get("backend_note")):
            yield Line(name, "as asked for", note[:100])
        if problem := entry.get("error") or entry.get("skipped"):
            yield Line(name, "done", problem[:120])


def _checks(gate: Findings) -> Iterator[Line]:
    checks = {
        name.removeprefix("check "): entry["found"]
        for name, entry in gate.items()
        if name.startswith("check ") and entry.get("found")
    }
    for precision in ("float32", "bfloat16"):
        results = {method: each[precision] for method, each in checks.items() if precision in each}
        bad = [
            f"{method} ({max(result['eager'], result.get('graph', 0)):.1e}, allowed {result['allowed']:.1e}"
            f"{''.join(f'; {note}' for note in result.get('notes', ()))})"
            for method, result in results.items()
            if not result["right"]
        ]
        text = f"{len(results) - len(bad)} of {len(results)} right" + (f"; not: {', '.join(bad)}" if bad else "")
        yield Line(f"losses on the device, {precision}", "near float64 of a CPU", text if results else MISSING)
        recorded = [result for result in results.values() if "graph" in result]
        text = (
            f"at most {max((each['graph_against_eager'] for each in recorded), default=0):.1e} away, "
            f"{sum(each['bit_for_bit'] for each in recorded)} of {len(recorded)} bit for bit"
        )
        yield Line(f"graph against eager, {precision}", "", text if recorded else MISSING)
    same = _same(found(gate, "turns, weights") or {})
    yield Line("runs in turns against each alone", "the same weights", _yes(all(same)) if same else MISSING)


def _yes(right: bool) -> str:
    return "the same" if right else "DIFFERENT"


def _targets(headline: Findings) -> Iterator[Line]:
    dkel, epoch, baseline = (found(headline, name) for name in ("dkel", "dkel, epoch", "baseline"))
    for loop, least in (("as-published", 12), ("fair-eager", 5)):
        ratios = epoch["epochs"]["ratios"] if _whole(epoch) else {}
        text = f"{ratios[loop]['median']:.1f}x" if loop in ratios else MISSING
        yield Line(f"ResNet-32 DKEL, whole epoch against {loop}", f">= {least}x", text)
        step = f"{dkel['ratios'][loop]['median']:.1f}x" if dkel and loop in dkel["ratios"] else MISSING
        yield Line(f"ResNet-32 DKEL, step against {loop}", "", step)
    yield Line("ResNet-32 DKEL, whole epoch", "", f"{epoch['epoch_seconds']:.2f} s" if _whole(epoch) else MISSING)
    text = f"{300 * baseline['epoch_seconds'] / 60:.2f} min" if _whole(baseline) else MISSING
    yield Line("ResNet-32 baseline, 300 epochs with evaluation", "< 2.5 min", text)
    yield Line("ResNet-32 baseline, 3 runs in turns against 1", ">= 1.5x", _gain(headline, 3))
    memory = dkel and dkel["peak_memory_bytes"]
    yield Line("ResNet-32 DKEL, memory of a run", "< 3 GB", f"{memory / 1e9:.2f} GB" if memory else MISSING)
    yield Line("dkel-table1, 240 runs", "< 40 h", f"{MISSING}: okdbench show dkel-table1 --cost --results OUT/results")


def _whole(measured: Any) -> bool:
    """Whether epochs were timed, and on as many images as CIFAR has: an epoch of few is something else."""
    return bool(measured and measured["epochs"]) and measured["epochs"]["images"] == CIFAR_IMAGES


def _gain(headline: Findings, jobs: int) -> str:
    rates = (found(headline, "turns") or {}).get("turns", {})
    return f"{rates[str(jobs)] / rates['1']:.2f}x" if str(jobs) in rates else MISSING


def _predictions(headline: Findings) -> Iterator[Line]:
    small, probes = found(headline, "peaks and an eager step") or {}, found(headline, "probes") or {}
    reached, eager = small.get("peaks"), small.get("eager")
    text = f"{reached['bandwidth'] / 1e12:.2f} TB/s; {reached['operations'] / 1e12:.0f} TFLOP/s" if reached else MISSING
    yield Line("G0 copy; 8192^3 bf16 product", "4.3 TB/s; 770-800 TFLOP/s", text)
    yield Line("G1 eager ResNet-32 step: time, kernels, busy", "5-7 ms, 300-360, < 20%", _launches(eager))
    for what, expected, item in (
        ("G2 the same as a graph, float32", "1.0 ms", "baseline, graph float32"),
        ("G2 and in bfloat16", "", "baseline"),
        ("G3 and compiled, bfloat16, fast", "0.78 ms", "baseline, compiled-graph fast"),
        ("ResNet-32 DKEL as a graph, bfloat16", "", "dkel"),
        ("ResNet-32 DKEL compiled, bfloat16, fast", "", "dkel, compiled-graph fast"),
        ("ResNet-32 DKEL as a graph, float32, TF32, fast", "", "dkel, graph float32 TF32 fast"),
    ):
        yield Line(what, expected, _step(found(headline, item)))
    gains = [_gain(headline, jobs) for jobs in (2, 3, 4, 8)]
    text = MISSING if set(gains) == {MISSING} else " / ".join(gain.replace(MISSING, "-") for gain in gains)
    yield Line("G4 baseline, 2 / 3 / 4 / 8 runs in turns", "1.35 / 1.6 / 1.7 / 1.8x", text)
    for form, expected in (("grouped", "loses from 32 channels on"), ("dense", "wins at 16 channels, K <= 4")):
        yield Line(f"G5 {form} convolution, time of a loop over its", expected, _convolutions(probes, form))
    passes, steps = probes.get("folding"), probes.get("optimiser")
    text = f"{passes['one by one'] / passes['folded']:.2f}x" if passes else MISSING
    yield Line("G6 DKEL step, 3 trunk passes against 1 folded", "1.25x", text)
    yield Line("G6 teacher in a stream of its own", "1.1x", f"{MISSING}: not built")
    usual, fast = found(headline, "dkel"), found(headline, "dkel, graph fast")
    text = f"{100 * (usual['step_ms'] / fast['step_ms'] - 1):.1f}%" if usual and fast else MISSING
    yield Line("G7 cost of deterministic algorithms, DKEL", "<= 10%", text)
    text = " / ".join(f"{1e3 * steps[form]['median']:.0f}" for form in ("foreach", "fused", "flat")) if steps else ""
    yield Line("G7 optimiser: foreach / fused / one tensor", "20-40 us", f"{text} us" if text else MISSING)


def _step(measured: Any) -> str:
    if not measured:
        return MISSING
    return f"{measured['step_ms']:.2f} ms ({measured['percent_of_floor']:.0f}% of the floor)"


def _launches(profile: Any) -> str:
    if not profile:
        return MISSING
    return f"{profile['step_ms']:.2f} ms, {profile['kernels']:.0f}, {100 * profile['busy']:.0f}%"


def _convolutions(probes: Mapping[str, Any], form: str) -> str:
    ratios = [
        f"{times['loop']['median'] / times[form]['median']:.2f}x at {shape}"
        for shape, times in probes.get("convolutions", {}).items()
    ]
    return ", ".join(ratios) or MISSING


def _profile(headline: Findings) -> Iterator[Line]:
    profile = (found(headline, "profile") or {}).get("replays")
    yield Line("ResNet-32 DKEL step replayed: time, kernels, busy", "", _launches(profile))
    for kernel in profile["by_name"][:KERNELS] if profile else ():
        measured = f"{kernel['microseconds']:7.1f} us in {kernel['count']:4.0f}: {kernel['name'][:90]}"
        yield Line("  of these", "", measured)
