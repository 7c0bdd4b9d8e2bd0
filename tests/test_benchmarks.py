"""benchmarks/gpu_run: rehearsed as a real process, and its pieces on what they decide."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from pages import parsed

from benchmarks.gpu_run import __main__ as gpu_run
from benchmarks.gpu_run import bench, summary, together
from benchmarks.gpu_run.check import Curve, Trial, compare
from benchmarks.gpu_run.children import ROOT, Children
from benchmarks.gpu_run.parts import DIED, Part, TimeOverError, forget_undone, read
from okdbench import recipe
from okdbench.cli.options import Choices
from okdbench.plan import expand

BEGIN = f"""import os, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from benchmarks.gpu_run.parts import Part
part = Part(Path(sys.argv[-1]), 60, fragile=True)
"""


def rehearse(output: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu_run", "--rehearse", "--device", "cpu", "--output", str(output)]
    command += ["--data", str(output / "data"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False, cwd=ROOT)


def test_the_quickest_rehearsal(tmp_path: Path) -> None:
    done = rehearse(tmp_path, "--parts", "check", "--method", "baseline", "--seconds", "300")
    log = (tmp_path / "log.txt").read_text()
    assert done.returncode == 0, done.stderr + log
    assert "REHEARSAL" in done.stdout and "1 of 1 methods right" in done.stdout
    assert done.stdout.endswith((tmp_path / "summary.txt").read_text())
    [entry] = read(tmp_path / "check.json").values()
    assert 0 < entry["found"]["cpu"] == entry["found"]["device"] < 1e-5 < entry["found"]["bfloat16"]
    assert "baseline: done" in log


@pytest.mark.slow
def test_a_whole_rehearsal(tmp_path: Path) -> None:
    words = ("--method", "baseline", "--method", "dkel", "--seconds", "1200")
    done = rehearse(tmp_path, *words)
    assert done.returncode == 0, done.stderr + (tmp_path / "log.txt").read_text()
    findings = {part: read(tmp_path / f"{part}.json") for part in gpu_run.PARTS}
    assert all("found" in entry for items in findings.values() for entry in items.values()), findings
    text = (tmp_path / "summary.txt").read_text()
    assert "the same weights in dkel S=1, dkel S=2" in text and "1 finished" in text
    left = [line for line in text.splitlines() if line.endswith(summary.MISSING)]
    assert {line.partition("  ")[0] for line in left} == {
        "graph against eager",
        "ResNet-32 DKEL, whole epoch against as-published",
        "ResNet-32 DKEL, whole epoch against fair-eager",
        "ResNet-32 baseline, 300 epochs with evaluation",
        "ResNet-32 baseline, 3 runs at a time against 1",
        "G2 the step as a graph, float32",
        "G3 compiled graph, bfloat16, fast",
        "G7 cost of deterministic algorithms",
    }
    before = (tmp_path / "probes.json").read_text()
    again = rehearse(tmp_path, *words, "--parts", "probes,train")
    assert again.returncode == 0 and (tmp_path / "probes.json").read_text() == before
    assert list(read(tmp_path / "train.json")) == ["call 1", "call 2"]


def test_mistakes() -> None:
    done = rehearse(Path("unused"), "--parts", "check,probe")
    assert done.returncode == 2 and "there is no probe; choose from check, " in done.stderr
    assert not Path("unused").exists()


def test_training_is_not_begun_without_images(tmp_path: Path, monkeypatch, capsys) -> None:
    words = ["gpu_run", "--data", str(tmp_path), "--output", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        gpu_run.main()
    assert ended.value.code == 2 and not (tmp_path / "out").exists()
    said = capsys.readouterr().err
    assert f"--data: no CIFAR-100 in {tmp_path}, which together and train need; or --parts check,bench,probes" in said


class TestPart:
    def test_each_item_is_tried_until_it_is_found_or_fails(self, tmp_path: Path) -> None:
        path, tried = tmp_path / "part.json", list[str]()

        def work(name: str, error: Exception | None = None) -> str:
            tried.append(name)
            if error:
                raise error
            return name

        for _ in range(2):
            part = Part(path, 60)
            assert part.item("good", lambda: work("good")) == "good"
            assert part.item("bad", lambda: work("bad", ValueError("no"))) is None
            assert part.item("slow", lambda: work("slow", TimeOverError())) is None
            assert part.item("long", lambda: work("long"), needs=100) is None
        assert tried == ["good", "bad", "slow", "slow"]
        assert read(path)["bad"]["error"] == "ValueError: no"
        assert "about 100 s needed" in read(path)["long"]["skipped"]
        forget_undone(path)
        assert set(read(path)) == {"good", "bad"}

    def test_an_item_in_which_the_process_died_is_told_and_left(self, tmp_path: Path) -> None:
        script, path = tmp_path / "crashing.py", tmp_path / "part.json"
        script.write_text(f"{BEGIN}part.item('x', os.abort)\n")
        subprocess.run([sys.executable, str(script), str(path)], check=False, capture_output=True)
        part = Part(path, 60)
        assert part.item("x", lambda: "not tried again") is None
        assert part.findings["x"]["error"] == DIED

    def test_a_fragile_part_leaves_the_process_after_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit):
            Part(tmp_path / "part.json", 60, fragile=True).item("bad", lambda: 1 / 0)
        assert Part(tmp_path / "part.json", 60, fragile=True).item("next", lambda: 1) == 1


class TestChildren:
    def test_a_part_is_started_again_after_a_crash(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        script = tmp_path / "crashing.py"
        lines = ("'one', lambda: 1", "'crash', os.abort", "'error', lambda: 1 / 0", "'last', lambda: 2")
        script.write_text(BEGIN + "".join(f"part.item({line})\n" for line in lines))
        Children(tmp_path / "log.txt").part([str(script)], tmp_path / "part.json", 60)
        findings = read(tmp_path / "part.json")
        kinds = {name: "found" if "found" in entry else entry["error"] for name, entry in findings.items()}
        assert kinds == {
            "one": "found",
            "crash": DIED,
            "error": "ZeroDivisionError: division by zero",
            "last": "found",
        }

    def test_what_takes_too_long_is_asked_to_end(self, tmp_path: Path) -> None:
        ended = Children(tmp_path / "log.txt").run(["sleep", "60"], 0.2)
        assert ended.status is None
        with pytest.raises(TimeOverError):
            ended.text()

    def test_a_failure_is_told_with_the_last_line(self, tmp_path: Path) -> None:
        children = Children(tmp_path / "log.txt")
        assert children.run(["echo", "said"], 20).text() == "said\n"
        with pytest.raises(RuntimeError, match="exit status 3: why"):
            children.run(["sh", "-c", "echo first >&2; echo why >&2; exit 3"], 20).text()
        assert "$ echo said\nsaid\n" in (tmp_path / "log.txt").read_text()


def curve(losses: list[float], notes: tuple[str, ...] = ()) -> Curve:
    return Curve(losses, "hash", list(notes))


@pytest.mark.parametrize(("off", "notes", "right"), [(3e-6, (), True), (2e-5, (), False), (0.0, ("refused",), False)])
def test_a_curve_that_leads_astray_is_wrong(
    off: float, notes: tuple[str, ...], right: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def made(trial: Trial, device: torch.device, computation: Any, dtype: Any = torch.float32) -> Curve:
        return curve([4.0 + 4 * off], notes) if device.type == "cuda" else curve([4.0])

    monkeypatch.setattr("benchmarks.gpu_run.check.curve", made)
    found = compare(Trial("baseline", "digits", tmp_path, 1, 8), torch.device("cuda"))
    assert found["right"] is right
    assert summary.wrong({"check": {"baseline": {"found": found}}}) == ([] if right else ["baseline"])


def test_runs_together_must_end_in_the_weights_of_a_run_alone() -> None:
    findings = {
        "dkel S=1": {"found": {"weights": {"0": "a"}}},
        "dkel S=2": {"found": {"weights": {"0": "a", "1": "b"}}},
        "dkel S=3": {"found": {"weights": {"0": "x", "1": "b", "2": "c"}}},
    }
    assert together.differing(findings, "dkel") == ["dkel S=3 seed 0"]
    assert summary.wrong({"together": findings}) == ["dkel S=3 seed 0"]


def test_the_table_shows_what_was_measured_beside_the_predictions() -> None:
    spread = {"median": 13.4, "low": 13.0, "high": 14.0}
    dkel = {
        "epochs": {"ratios": {"as-published": spread}, "images": 50_000},
        "ratios": {"as-published": spread},
        "peak_memory_bytes": 2.5e9,
        "epoch_seconds": 1.0,
    }
    rates = {
        f"baseline S={jobs}": {"found": {"images_per_second": rate, "weights": {}}} for jobs, rate in ((1, 50), (3, 80))
    }
    lines = summary.table({"bench": {"resnet32 dkel": {"found": dkel}}, "together": rates})
    table = {line[: line.index("  ")]: line.split("  ")[-1].strip() for line in lines[1:] if "  " in line}
    assert table["ResNet-32 DKEL, whole epoch against as-published"] == "13.4x"
    assert table["ResNet-32 DKEL, memory of a run"] == "2.50 GB"
    assert table["ResNet-32 baseline, 3 runs at a time against 1"] == "1.60x"
    assert table["G4 baseline, 2 / 3 / 4 / 8 runs at a time"] == "- / 1.60x / - / -"
    assert table["dkel-table1, from the fastest that was measured"] == summary.MISSING
    few = {**dkel, "epochs": {**dkel["epochs"], "images": 2_000}}
    [line] = [line for line in summary.table({"bench": {"resnet32 dkel": {"found": few}}}) if "against as-pub" in line][
        :1
    ]
    assert line.endswith(summary.MISSING), "an epoch of few images is not the epoch that the target is for"


def test_commands_that_only_a_gpu_runs_are_understood(tmp_path: Path) -> None:
    for case in [*bench.cases(), *bench.rehearsed()]:
        verb, _ = parsed(["bench", *case.words, "--device", "cuda:0", "--format", "json"])
        assert verb == "bench"
    names = [case.name for case in bench.cases()]
    assert len(set(names)) == len(names)
    for words in (gpu_run.CELLS, gpu_run.REHEARSED):
        _, options = parsed(["run", *words.split(), together.OPTION, "3"])
        chosen = Choices(**{field.name: options[field.name] for field in fields(Choices)})
        assert chosen.plan(options["recipe"], tmp_path).runs
    plan = expand(recipe.load(together.RECIPE))
    assert len(plan.runs) == 2 * 2 * max(together.JOBS)
