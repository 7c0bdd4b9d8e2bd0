"""run and status with a stub for the worker: what is started, skipped, refused, moved, said."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import fabricate
import pytest
import yaml
from commandline import TINY, Command

from okdbench import data
from okdbench.machine import main_device_name
from okdbench.plan import Plan, Run, Selection, expand
from okdbench.recipe import load
from okdbench.runs.lease import held, take

pytestmark = pytest.mark.usefixtures("stubbed", "tiny")


def plan(**selection: Any) -> Plan:
    return expand(load("tiny.yaml"), Selection(**selection))


def folder(run: Run, results: str = "results") -> Path:
    return Path(results) / "tiny" / run.config.folder


def prepare(run: Run, **files: Any) -> Path:
    """A run's folder with files as a worker leaves them; ``record`` stands for record.json."""
    place = folder(run)
    place.mkdir(parents=True)
    (place / "config.json").write_text(run.config.model_dump_json())
    for name, content in files.items():
        (place / f"{name}.json").write_text(json.dumps(content))
    return place


def finished(run: Run, status: str = "finished", reason: str | None = None) -> Path:
    record = {"id": run.id, "status": status, "reason": reason, "config": run.config.model_dump(mode="json")}
    where = {"environment": {}, "wall_seconds": 1.0}
    return prepare(run, record={**record, **where, "heads": ["student"], "deployed": "student", "epochs": 0})


def test_every_run_is_trained_and_the_report_is_named(okdbench: Command) -> None:
    status, out, err = okdbench("run", "tiny.yaml", "-m", "baseline", "-m", "dkel", "--jobs", "2")
    assert status == 0 and not err
    assert "4 runs to train on cpu: 2 workers with " in out
    for run in plan(methods=("baseline", "dkel")).runs:
        assert (folder(run) / "record.json").exists()
        assert f"digits resnet8 {run.config.method} seed {run.config.seed}: finished, student 55.50 %" in out
    assert "4 runs: 4 finished\n" in out
    network, *numbers = out[out.rindex("ResNet-8") :].splitlines()[0].split("  ")
    assert (network, [number.strip() for number in numbers if number]) == ("ResNet-8", ["55.50 ± 0.00"] * 2)
    assert out.endswith("table: okdbench report tiny.yaml -m baseline -m dkel\n")


def test_several_processes_train_each_run(okdbench: Command) -> None:
    status, out, _ = okdbench("run", "tiny.yaml", "-m", "baseline", "-s", "0", "--processes", "2")
    assert status == 0 and "1 run to train on cpu: 1 worker of 2 processes with " in out
    [notes] = Path("results").glob("tiny/*/stub.json")
    assert "--processes=2" in json.loads(notes.read_text())["options"]


def test_auto_is_one_run_at_a_time_on_a_cpu(okdbench: Command) -> None:
    status, out, _ = okdbench("run", "tiny.yaml", "-m", "baseline", "-s", "0", "--jobs-per-device", "auto")
    assert status == 0 and "1 run to train on cpu: 1 worker with " in out and "in turns" not in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["two"], "--jobs-per-device two: give a number from 1 on, or auto"),
        (["0"], "--jobs-per-device 0: give a number from 1 on, or auto"),
        (["2", "--processes", "2"], "several processes (--processes) train one run at a time; choose one"),
    ],
)
def test_a_wrong_number_of_runs_at_a_time(okdbench: Command, words: list[str], message: str) -> None:
    status, _, err = okdbench("run", "tiny.yaml", "--jobs-per-device", *words)
    assert status == 2 and message in err


@pytest.mark.parametrize("mps", [False, True])
def test_several_workers_on_one_gpu_need_mps(
    okdbench: Command, mps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    if mps:
        (tmp_path / "control").touch()
    status, out, _ = okdbench("run", "tiny.yaml", "-m", "baseline", "--jobs", "2")
    advice = "without NVIDIA MPS the GPU serves one worker at a time; rather use --jobs-per-device 2"
    assert status == 0 and (advice in out) != mps


def test_workers_are_told_how_to_compute(okdbench: Command) -> None:
    status, _, _ = okdbench("run", "tiny.yaml", "-m", "baseline", "-s", "0", "--precision", "bfloat16", "--fast")
    assert status == 0
    [notes] = Path("results").glob("tiny/*/stub.json")
    assert {"--precision=bfloat16", "--algorithms=fast"} <= set(json.loads(notes.read_text())["options"])


def test_a_backend_that_cannot_be_had_is_refused_before_anything_moves(okdbench: Command) -> None:
    old = finished(plan(methods=("baseline",), seeds=(0,)).runs[0])
    status, _, err = okdbench("run", "tiny.yaml", "--force", "--device", "cpu", "--backend", "graph")
    assert status == 2 and err.startswith("okdbench: error: --backend graph: needs an NVIDIA GPU; ")
    assert (old / "record.json").exists()


def test_a_pipe_gets_plain_whole_lines(okdbench: Command) -> None:
    out = okdbench("run", "tiny.yaml", "-m", "baseline", "--set", "training.optimizer.weight_decay=0.00012345").out
    assert "\x1b" not in out and "\r" not in out
    command = "table: okdbench report tiny.yaml -m baseline --set training.optimizer.weight_decay=0.00012345\n"
    assert len(command) > 80 and out.endswith(command)


def test_finished_runs_are_skipped(okdbench: Command) -> None:
    first, second = plan(methods=("baseline",)).runs
    record = finished(first) / "record.json"
    before = record.read_text()
    status, out, _ = okdbench("run", "tiny.yaml", "-m", "baseline")
    assert status == 0 and "1 run to train" in out and "2 runs: 2 finished" in out
    assert record.read_text() == before and (folder(second) / "record.json").exists()
    out = okdbench("run", "tiny.yaml", "-m", "baseline").out
    assert "to train on" not in out and "2 runs: 2 finished" in out and "ResNet-8" not in out, "no number has changed"
    assert "nothing left to train; again: --force" in out
    (folder(second) / "record.json").write_text("{")
    out = okdbench("run", "tiny.yaml", "-m", "baseline").out
    assert "2 runs: 1 finished, 1 damaged" in out and "nothing left" not in out


def test_dry_run_lists_ids_and_states_and_trains_nothing(okdbench: Command) -> None:
    first, second = plan(methods=("baseline",)).runs
    finished(first)
    status, out, _ = okdbench("run", "tiny.yaml", "-m", "baseline", "--dry-run")
    assert status == 0
    rows = [line.split()[:2] for line in out.splitlines()]
    assert [first.id, "finished"] in rows and [second.id, "pending"] in rows
    assert "2 runs: 1 finished, 1 pending; 1 to train, in this order\n" in out
    assert "on one H200: about " in out and "by a model of plain eager" in out
    assert "okdbench bench -d digits -n resnet8 -m baseline" in " ".join(out.split())
    assert not folder(second).exists()


def test_dry_run_says_what_hours_are_from_other_trainings(okdbench: Command) -> None:
    plan = expand(load("quickstart"))
    known = {"images_per_second": 50.0, "environment": {"device_name": main_device_name()}}
    fabricate.run(Path("results"), plan.runs[0].config, {"student": [1.0, 2.0]}, recipe="quickstart", **known)
    out = okdbench("run", "quickstart", "-m", "dkel", "--dry-run").out
    assert "~ from the speed of the same network with another method, in proportion to the arithmetic" in out
    assert "≈" not in out


def test_dry_run_names_teachers_and_what_waits_for_them(okdbench: Command) -> None:
    out = okdbench("run", "fair-cifar100", "-n", "resnet8", "-m", "kd", "-s", "0", "--dry-run").out
    words = [line.split() for line in out.splitlines()]
    teacher, student = words[2], words[3]
    assert teacher[2:5] == ["cifar100", "resnet32", "baseline"] and student[2:5] == ["cifar100", "resnet8", "kd"]
    assert any(line[:1] == student[:1] and teacher[0] in line[1:] for line in words)
    assert "MB for results" in out and "MB for packed images" in out


def test_dry_run_for_programs_has_the_same_plan(okdbench: Command) -> None:
    words = ("run", "fair-cifar100", "-n", "resnet8", "-m", "kd", "-s", "0", "--dry-run", "--format", "json")
    facts = json.loads(okdbench(*words).out)
    teacher, student = facts["runs"]
    assert (teacher["teachers"], student["teachers"]) == ([], [teacher["id"]])
    assert facts["counts"] == {"pending": 2} and teacher["todo"] and student["todo"]
    [total] = facts["totals"]
    assert (total["source"], total["bases"]) == ("model", {"model": 2})
    hours = [run["device_hours"][total["device"]]["hours"] for run in facts["runs"]]
    assert total["hours"] == pytest.approx(sum(hours)) and min(hours) > 0
    assert min(facts["disk"].values()) > 0


def test_json_is_for_the_dry_run_only(okdbench: Command) -> None:
    status, out, err = okdbench("run", "tiny.yaml", "--format", "json")
    assert (status, out) == (2, "")
    assert err.startswith("okdbench: error: --format json: is for --dry-run; add that, or leave it out\n")


def test_force_moves_old_runs_aside_and_deletes_nothing(okdbench: Command) -> None:
    [run] = plan(methods=("baseline",), seeds=(0,)).runs
    (finished(run) / "metrics.jsonl").write_text("the first")
    for number in (1, 2):
        assert okdbench("run", "tiny.yaml", "-m", "baseline", "-s", "0", "--force").status == 0
        assert (folder(run).parent / "replaced" / f"{folder(run).name}.{number}" / "record.json").exists()
    assert (folder(run).parent / "replaced" / f"{folder(run).name}.1" / "metrics.jsonl").read_text() == "the first"
    assert (folder(run) / "stub.json").exists()


def test_force_waits_for_a_run_in_work(okdbench: Command) -> None:
    [run] = plan(methods=("baseline",), seeds=(0,)).runs
    lease = take(prepare(run))
    assert lease
    soon = threading.Timer(1.0, lease.release)  # like a worker that is stopped
    soon.start()
    status, out, _ = okdbench("run", "tiny.yaml", "-m", "baseline", "-s", "0", "--force")
    soon.join()
    assert status == 0 and "--force: is being trained already; waiting for that one" in out
    assert (folder(run) / "record.json").exists() and not (folder(run).parent / "replaced").exists()


def test_one_failure_ends_with_1_after_all_others_have_run(okdbench: Command, tmp_path: Path) -> None:
    mixed_recipe(tmp_path / "mixed.yaml", okdbench)
    status, out, _ = okdbench("run", "mixed.yaml")
    assert status == 1
    summary = out.partition("3 runs: ")[2]
    assert summary.startswith("1 finished, 1 diverged, 1 failed\n")
    assert "seed 0: diverged: loss is not finite" in summary
    assert "ValueError: out of luck; log: results/mixed/" in summary
    log = summary.partition("log: ")[2].partition("\n")[0]
    assert Path(log).read_text() == "stub at work\n"


def mixed_recipe(path: Path, okdbench: Command) -> None:
    """Three cells; two of their run folders hold the word that the stub obeys."""
    recipe = yaml.safe_load(TINY.read_text())
    recipe["grid"]["method"], recipe["seeds"] = ["baseline", "dml", "dkel"], [0]
    recipe["table"] = {}
    path.write_text(yaml.safe_dump(recipe))
    for run, does in zip(expand(load(path)).runs, ("diverge", "fail", "finish"), strict=True):
        place = Path("results") / path.stem / run.config.folder
        place.mkdir(parents=True)
        (place / "does").write_text(does)


def test_a_diverged_run_is_a_result_but_said_again(okdbench: Command) -> None:
    first, _ = plan(methods=("baseline",)).runs
    finished(first, "diverged", "loss is not finite")
    status, out, _ = okdbench("run", "tiny.yaml", "-m", "baseline")
    assert status == 0 and "2 runs: 1 finished, 1 diverged" in out
    assert "seed 0: diverged before: loss is not finite; --force trains it again" in out


def test_cells_that_cannot_run_are_refused_with_the_way_to_the_others(okdbench: Command, tmp_path: Path) -> None:
    recipe = yaml.safe_load(TINY.read_text())
    recipe["grid"]["network"] = ["resnet8", "resnet9999"]
    recipe["grid"]["method"].append("telepathy")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    status, out, err = okdbench("run", "mine.yaml", "-s", "1", "--epochs", "2")
    assert (status, out) == (2, "") and not Path("results").exists()
    assert 'unknown network "resnet9999" (did you mean' in err and 'unknown method "telepathy"' in err
    way = err.splitlines()[-1].partition("select the others: ")[2]
    assert way == "okdbench run mine.yaml -n resnet8 -m baseline -m dml -m pcl -m dkel -s 1 --epochs 2"
    assert okdbench(*way.split()[1:]).status == 0


def test_missing_images_are_told_before_anything_starts(okdbench: Command) -> None:
    status, _, err = okdbench("run", "dkel-table1", "-n", "resnet32", "-m", "baseline")
    assert status == 2 and not Path("results", "dkel-table1").exists()
    for name in ("cifar10", "cifar100"):
        assert f"okdbench: error: {name}: " in err and f"okdbench data fetch {name}" in err


def test_damaged_images_are_told_before_anything_starts(okdbench: Command) -> None:
    packed = data.pack("digits", Path("data"))
    packed.write_bytes(packed.read_bytes()[:-100])
    status, out, err = okdbench("run", "tiny.yaml")
    assert (status, out) == (2, "") and "damaged or cut short" in err and "data pack digits --force" in err


def test_policies_that_do_not_fit_the_views_are_refused_before_anything_starts(okdbench: Command) -> None:
    words = ("run", "tiny.yaml", "-s", "0", "--set", "data.policies=[cutout, rotation, none]")
    status, out, err = okdbench(*words, "-m", "baseline")
    told = "baseline seed 0: data.policies: names 3 policies, but the method has one view; name one for all of them"
    assert (status, out) == (2, "") and told in err and not Path("results").exists()
    assert okdbench(*words, "-m", "dkel").status == 0


def test_a_results_folder_that_cannot_be_made_is_refused(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = okdbench("run", "tiny.yaml", "--results", "file/results")
    assert status == 2 and "cannot be written" in err and "--results" in err


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_refused_before_anything_moves(device: str, okdbench: Command) -> None:
    old = finished(plan(methods=("baseline",), seeds=(0,)).runs[0])
    status, _, err = okdbench("run", "tiny.yaml", "--force", "--device", device)
    assert status == 2 and err.startswith(f"okdbench: error: --device {device}: ")
    assert (old / "record.json").exists()


def test_all_wrong_options_are_told_at_once(okdbench: Command) -> None:
    status, _, err = okdbench("run", "tiny.yaml", "-m", "dkell", "-s", "9", "--set", "training.epoch=3")
    assert status == 2
    assert 'did you mean "dkel"?' in err and "--seed 9" in err and 'did you mean "training.epochs"?' in err
    *mistakes, then = err.splitlines()
    assert all(line.startswith("okdbench: error: ") for line in mistakes)
    assert then == "okdbench: try: okdbench show tiny.yaml"


@pytest.mark.parametrize("assignment", ["epochs", "=3"])
def test_set_wants_key_and_value(assignment: str, okdbench: Command) -> None:
    status, _, err = okdbench("run", "tiny.yaml", "--set", assignment)
    assert status == 2 and "write KEY=VALUE" in err


def test_set_values_are_read_as_in_a_recipe(okdbench: Command) -> None:
    okdbench("run", "tiny.yaml", "-m", "baseline", "-s", "0", "--set", "training.optimizer.lr=1e-4", "--epochs", "2")
    [path] = Path("results/tiny").iterdir()
    training = json.loads((path / "config.json").read_text())["training"]
    assert training["optimizer"]["lr"] == 1e-4 and training["epochs"] == 2


def test_places_come_from_the_environment_too(okdbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OKDBENCH_RESULTS", "elsewhere")
    monkeypatch.setenv("OKDBENCH_DATA", "images")
    out = okdbench("run", "tiny.yaml", "-m", "baseline", "-s", "0").out
    [run] = plan(methods=("baseline",), seeds=(0,)).runs
    assert (folder(run, "elsewhere") / "record.json").exists() and Path("images/packed/digits.pt").exists()
    assert out.endswith("table: okdbench report tiny.yaml -m baseline -s 0\n")
    assert okdbench("run", "tiny.yaml", "--results", "other", "-m", "baseline").out.endswith("--results other\n")


def test_an_interrupt_says_how_to_continue(okdbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from okdbench.cli.live import PlainView
    from okdbench.engines import Ended, Event

    shown = PlainView.__call__

    def interrupt_after_the_first(view: PlainView, event: Event) -> None:
        shown(view, event)
        if isinstance(event, Ended):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(PlainView, "__call__", interrupt_after_the_first)
    status, out, _ = okdbench("run", "tiny.yaml", "-m", "baseline", "--force")
    assert status == 130
    assert "2 runs: 1 finished, 1 pending" in out
    assert out.endswith("interrupted; continue with: okdbench run tiny.yaml -m baseline\n")


def test_every_run_is_named_apart(okdbench: Command) -> None:
    lines = okdbench("-v", "status", "dkel-table1", "-d", "cifar100", "-n", "resnet32", "-s", "0").out.splitlines()
    assert [line.split()[2:4] for line in lines if line.startswith("cifar100 ") and "dkel" in line] == [
        ["pcl@as-dkel", "s0"],
        ["dkel", "s0"],
        ["dkel@as-pcl", "s0"],
    ]


def test_status_counts_and_names_every_state(okdbench: Command) -> None:
    states = plan(methods=("baseline", "dml", "dkel")).runs
    finished(states[0])
    finished(states[1], "diverged", "loss is not finite")
    prepare(states[2], failure={"error": "ValueError: out of luck"})
    (prepare(states[3]) / "checkpoint-000000001.pt").write_text("")
    with held(prepare(states[4])):
        status, out, _ = okdbench("status", "tiny.yaml", "-m", "baseline", "-m", "dml", "-m", "dkel")
        facts = json.loads(okdbench("status", "tiny.yaml", "--format", "json").out)
    assert status == 0
    counts = "1 finished, 1 diverged, 1 failed, 1 interrupted, 1 running, 1 pending"
    assert f"6 runs in results/tiny: {counts}" in out
    assert [line.split() for line in out.splitlines()[2:5]] == [
        ["digits", "resnet8", "baseline", "finished", "diverged"],
        ["digits", "resnet8", "dml", "failed", "0/4", "interrupted", "0/4"],
        ["digits", "resnet8", "dkel", "running", "0/4", "pending"],
    ]
    assert "failed: ValueError: out of luck; log: results/tiny/" in out
    assert facts["counts"]["pending"] == 3 and facts["runs"][states[1].id]["reason"] == "loss is not finite"


def test_teachers_beside_the_grid_are_trained_first_shown_and_kept(okdbench: Command, tmp_path: Path) -> None:
    recipe = yaml.safe_load(TINY.read_text())
    recipe["grid"]["method"], recipe["seeds"], recipe["table"] = ["kd"], [0], {}
    recipe["teachers"] = {"kd": {"network": "resnet20", "method": "baseline"}}
    (tmp_path / "taught.yaml").write_text(yaml.safe_dump(recipe))
    ended = [line for line in okdbench("run", "taught.yaml", "--jobs", "2").out.splitlines() if "finished," in line]
    assert [line.partition(":")[0] for line in ended] == [
        "[1/2] digits resnet20 baseline seed 0",
        "[2/2] digits resnet8 kd seed 0",
    ]
    rows = [line.split() for line in okdbench("status", "taught.yaml").out.splitlines()]
    assert ["digits", "resnet20", "baseline", "(teacher)", "55.50", "%"] in rows
    assert "1 run to train" in okdbench("run", "taught.yaml", "--force").out
    for weights in Path("results/taught").glob("*resnet20*/weights.pt"):
        weights.unlink()  # as in a clone of published records
    assert "nothing to do" in okdbench("run", "taught.yaml", "--dry-run").out
    assert "2 runs to train" in okdbench("run", "taught.yaml", "--force").out


def test_status_shows_changed_settings_only_when_asked_for(okdbench: Command) -> None:
    okdbench("run", "tiny.yaml", "-m", "baseline", "--epochs", "2")
    assert "2 runs in results/tiny: 2 pending" in okdbench("status", "tiny.yaml", "-m", "baseline").out
    assert "2 finished" in okdbench("status", "tiny.yaml", "-m", "baseline", "--epochs", "2").out
