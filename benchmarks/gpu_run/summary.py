"""The findings as a table: each prediction and target beside what was measured."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.gpu_run.parts import found
from benchmarks.gpu_run.together import JOBS, differing

Findings = Mapping[str, Mapping[str, Any]]
"""Of each part, by item."""
MISSING = "not measured"
CIFAR_IMAGES = 50_000


class Line(NamedTuple):
    """A row of the table."""

    what: str
    expected: str
    measured: str


def table(findings: Findings) -> list[str]:
    """Lines of text."""
    rows = [Line("", "predicted", "measured"), *lines(findings)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{row.what:<{widths[0]}}  {row.expected:<{widths[1]}}  {row.measured}".rstrip() for row in rows]


def lines(findings: Findings) -> Iterator[Line]:
    """Checks, targets, predictions G0-G7, training."""
    check, bench = findings.get("check", {}), findings.get("bench", {})
    probes, together = findings.get("probes", {}), findings.get("together", {})
    yield from _checks(check, together)
    yield from _targets(bench, together)
    yield from _probed(probes)
    yield from _benched(bench)
    yield from _shared(together)
    yield from _convolutions(probes)
    yield from _details(probes, bench)
    for entry in findings.get("train", {}).values():
        if trained := entry.get("found"):
            counts = ", ".join(f"{number} {state}" for state, number in trained["counts"].items())
            yield Line(f"trained: {trained['cells']}", "", counts)
    for part, items in (("bench", bench), ("together", together)):
        for name, entry in items.items():
            measured = entry.get("found", {})
            if note := measured.get("execution", measured).get("backend_note"):
                yield Line(f"{part}: {name}", "as asked for", note[:100])
    for part, items in findings.items():
        for name, entry in items.items():
            if "error" in entry:
                yield Line(f"{part}: {name}", "no error", entry["error"][:100])


def wrong(findings: Findings) -> list[str]:
    """The checks that did not come out right."""
    check, together = findings.get("check", {}), findings.get("together", {})
    methods = [
        name for name, entry in check.items() if "error" in entry or not entry.get("found", {"right": True})["right"]
    ]
    return methods + [each for method in ("baseline", "dkel") for each in differing(together, method)]


def _checks(check: Mapping[str, Any], together: Mapping[str, Any]) -> Iterator[Line]:
    results = {name: entry["found"] for name, entry in check.items() if "found" in entry}
    bad = [
        f"{name} ({max(result['device'], result.get('graph', 0)):.1e}, allowed {result['allowed']:.1e})"
        for name, result in results.items()
        if not result["right"]
    ]
    right = f"{len(results) - len(bad)} of {len(check)} methods right" + (f"; not: {', '.join(bad)}" if bad else "")
    yield Line("device against CPU, float32", "all right", right if check else MISSING)
    recorded = {name: result for name, result in results.items() if "graph" in result}
    same = sum(result["graph_bit_for_bit"] for result in recorded.values())
    farthest = max((result["graph"] for result in recorded.values()), default=0.0)
    text = f"{len(recorded)} methods, at most {farthest:.1e} from float64; {same} bit for bit as without"
    yield Line("graph against eager", "all right", text if recorded else MISSING)
    for method in ("dkel", "baseline"):
        tried = [name for name, entry in together.items() if name.startswith(f"{method} ") and "found" in entry]
        bad = differing(together, method)
        verdict = f"differs: {', '.join(bad)}" if bad else f"the same weights in {', '.join(tried)}"
        yield Line(f"streams against solo, {method}", "the same weights", verdict if len(tried) > 1 else MISSING)


def _targets(bench: Mapping[str, Any], together: Mapping[str, Any]) -> Iterator[Line]:
    dkel, baseline = found(bench, "resnet32 dkel"), found(bench, "resnet32 baseline")
    ratios = dkel["epochs"]["ratios"] if dkel and _whole(dkel) else {}
    for loop, least in (("as-published", 12), ("fair-eager", 5)):
        text = f"{ratios[loop]['median']:.1f}x" if loop in ratios else MISSING
        yield Line(f"ResNet-32 DKEL, whole epoch against {loop}", f">= {least}x", text)
        step = f"{dkel['ratios'][loop]['median']:.1f}x" if dkel and loop in dkel["ratios"] else MISSING
        yield Line(f"ResNet-32 DKEL, step against {loop}", "", step)
    epoch = baseline and _whole(baseline) and baseline["epoch_seconds"]
    text = f"{300 * epoch / 60:.2f} min" if epoch else MISSING
    yield Line("ResNet-32 baseline, 300 epochs with evaluation", "< 2.5 min", text)
    yield Line("ResNet-32 baseline, 3 runs at a time against 1", ">= 1.5x", _gain(together, "baseline", 3))
    memory = dkel and dkel["peak_memory_bytes"]
    yield Line("ResNet-32 DKEL, memory of a run", "< 3 GB", f"{memory / 1e9:.2f} GB" if memory else MISSING)
    hours = found(bench, "dkel-table1") or {}
    text = "; ".join(f"{spent:,.0f} h on {device}" for device, spent in hours.items())
    yield Line("dkel-table1, from the fastest that was measured", "< 40 h", text or MISSING)


def _whole(measured: Mapping[str, Any]) -> bool:
    """Whether epochs were timed, and on all of CIFAR's images: an epoch of few is something else."""
    return bool(measured["epochs"]) and measured["epochs"]["images"] == CIFAR_IMAGES


def _gain(together: Mapping[str, Any], method: str, jobs: int) -> str:
    alone, shared = found(together, f"{method} S=1"), found(together, f"{method} S={jobs}")
    return f"{shared['images_per_second'] / alone['images_per_second']:.2f}x" if alone and shared else MISSING


def _probed(probes: Mapping[str, Any]) -> Iterator[Line]:
    peaks, eager = found(probes, "peaks"), found(probes, "kernels baseline")
    text = f"{peaks['bandwidth'] / 1e12:.2f} TB/s; {peaks['operations'] / 1e12:.0f} TFLOP/s" if peaks else MISSING
    yield Line("G0 copy; 8192^3 bf16 product", "4.3 TB/s; 770-800 TFLOP/s (H200)", text)
    text = f"{eager['step_ms']:.2f} ms, {eager['kernels']} kernels, {100 * eager['busy']:.0f}%" if eager else MISSING
    yield Line("G1 eager ResNet-32 step, kernels, busy", "5-7 ms, 300-360 kernels, < 20%", text)


def _benched(bench: Mapping[str, Any]) -> Iterator[Line]:
    for what, expected, item in (
        ("G2 the step as a graph, float32", "1.0 ms", "resnet32 baseline, graph float32"),
        ("G2 the same in bfloat16", "", "resnet32 baseline"),
        ("G3 compiled graph, bfloat16, fast", ".78 ms", "resnet32 baseline, compiled-graph fast"),
    ):
        measured = found(bench, item)
        text = (
            f"{measured['step_ms']:.2f} ms ({measured['percent_of_floor']:.0f}% of the floor)" if measured else MISSING
        )
        yield Line(what, expected, text)


def _shared(together: Mapping[str, Any]) -> Iterator[Line]:
    for method, expected in (("baseline", "1.35 / 1.6 / 1.7 / 1.8x"), ("dkel", "")):
        gains = [_gain(together, method, jobs) for jobs in sorted(JOBS)[1:]]
        text = MISSING if set(gains) == {MISSING} else " / ".join(gain.replace(MISSING, "-") for gain in gains)
        yield Line(f"G4 {method}, 2 / 3 / 4 / 8 runs at a time", expected, text)


def _convolutions(probes: Mapping[str, Any]) -> Iterator[Line]:
    """Forward and backward, of several networks at a time."""
    slower, dense, several = [], [], 0
    for name, entry in probes.items():
        if name.startswith("convolution") and "found" in entry and not name.endswith("K=1"):
            several += 1
            times = {form: each["both"]["median"] for form, each in entry["found"].items()}
            size = name.removeprefix("convolution ")
            slower += [size] if times["grouped NHWC"] < times["loop"] else []
            dense += [size] if times["block-diagonal"] < times["loop"] else []
    text = f"wins at {', '.join(slower) or 'none'} of {several}"
    yield Line("G5 grouped NHWC against a loop", "loses from 32 channels on", text if several else MISSING)
    text = f"wins at {', '.join(dense) or 'none'} of {several}"
    yield Line("G5 block-diagonal against a loop", "wins at 16 channels, K <= 4", text if several else MISSING)


def _details(probes: Mapping[str, Any], bench: Mapping[str, Any]) -> Iterator[Line]:
    passes, steps = found(probes, "folding"), found(probes, "optimiser")
    text = f"{passes['one by one']['median'] / passes['folded']['median']:.2f}x" if passes else MISSING
    yield Line("G6 DKEL step, 3 trunk passes against 1 folded", "1.25x", text)
    yield Line("G6 teacher on a forked stream", "1.1x", "not built")
    usual, fast = found(bench, "resnet32 baseline"), found(bench, "resnet32 baseline, graph fast")
    text = f"{100 * (usual['step_ms'] / fast['step_ms'] - 1):.1f}%" if usual and fast else MISSING
    yield Line("G7 cost of deterministic algorithms", "<= 10%", text)
    text = f"{1e3 * steps['fused']['median']:.0f} us; {1e3 * steps['flat']['median']:.0f} us" if steps else MISSING
    yield Line("G7 fused SGD; one flat tensor", "20-40 us", text)
    text = ("yes" if probes["mps"]["found"] else "no") if "found" in probes.get("mps", {}) else MISSING
    yield Line("G7 the MPS control program is there", "", text)
