"""Graphs that fail, through the real engine and worker: every run ends as it would without, and its record says why."""

import sys
from pathlib import Path

import pytest
from endings import lines

from okdbench.config import RunConfig
from okdbench.engines import Ended, Event, Job, LocalEngine, Restarting
from okdbench.runs.execution import Backend, Execution, Precision
from okdbench.runs.folder import RunFolder
from okdbench.runs.records import Record, State

WORKER = (sys.executable, str(Path(__file__).with_name("graph_worker.py")))
Outcome = tuple[list[Job], list[Event]]
MESSAGES = {
    "recording": "not recorded: operation not permitted when stream is capturing",
    "mismatch": "a replay changes the sums otherwise than the step that it records",
    "replay": "error at replay: CUDA error: an illegal memory access was encountered",
}


@pytest.fixture
def train(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "10000")  # the worker sets it, but only after torch has been loaded here
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=":")

    def submit(
        place: str, configs: list[RunConfig], backend: Backend, fails: str = ""
    ) -> tuple[list[Job], list[Event]]:
        """Train in turns in one worker whose graphs fail as told; the jobs and what the engine said of them."""
        monkeypatch.setenv("GRAPH_FAILS", fails)
        jobs = [Job(each, RunFolder(tmp_path / place / each.folder), each.method, retrain=True) for each in configs]
        for job in jobs:
            job.folder.path.mkdir(parents=True)
        events: list[Event] = []
        execution = Execution(backend, Precision.float32, jobs=len(jobs))
        LocalEngine(data_root, command=WORKER, poll=0.05, execution=execution).submit(jobs, events.append)
        assert [event.state for event in events if isinstance(event, Ended)] == [State.finished] * len(jobs), [
            job.folder.log.read_text() for job in jobs
        ]
        return jobs, events

    return submit


def record(job: Job) -> Record:
    found = job.folder.record_of(Record)
    assert found
    return found


@pytest.mark.slow
def test_failed_graphs_cost_no_run_and_hurt_no_neighbour(small, train) -> None:
    fails = dict(zip(("baseline", "dml", "independent"), MESSAGES, strict=True))
    # Without views to fold, graphs compute the same bits as single operations do.
    configs = [small(method) for method in (*fails, "kdcl")]
    expected, _ = train("eager", configs, Backend.eager)
    jobs, events = train("graph", configs, Backend.graph, " ".join(":".join(pair) for pair in fails.items()))
    why = {method: f"graph failed ({MESSAGES[how]})" for method, how in fails.items()}
    again = [(event.job.title, event.reason) for event in events if isinstance(event, Restarting)]
    assert [pair for pair in again if "another run" not in pair[1]] == [
        (method, f"{reason}; continues with eager") for method, reason in why.items()
    ]
    assert again.count(("kdcl", "a graph of another run in its process failed; continues")) == 3
    for job, other in zip(jobs, expected, strict=True):
        assert lines(job.folder.path) == lines(other.folder.path)
        assert record(job).weights_sha256 == record(other).weights_sha256
        environment = record(job).environment
        backend = "eager" if job.title in why else "graph"
        assert (environment["backend"], environment["backend_note"]) == (backend, why.get(job.title))
        assert job.folder.fallback is None, "what the record says needs no file of its own"


@pytest.mark.slow
def test_a_worker_that_crashes_while_it_records_is_started_again_without_graphs(small, train) -> None:
    [expected], _ = train("eager", [small("baseline")], Backend.eager)
    [job], events = train("graph", [small("baseline")], Backend.graph, "baseline:crash")
    why = "graph failed (the worker died of SIGSEGV)"
    assert [event.reason for event in events if isinstance(event, Restarting)] == [f"{why}; continues with eager"]
    assert lines(job.folder.path) == lines(expected.folder.path)
    assert record(job).environment["backend_note"] == why


@pytest.mark.slow
def test_compiled_graphs_of_folded_views_train_as_eager_steps_do(small, train) -> None:
    configs = [small("dkel", views="different")]
    [expected], _ = train("eager", configs, Backend.eager)
    [job], events = train("compiled", configs, Backend.compiled_graph)
    assert record(job).environment["backend"] == "compiled-graph"
    assert not [event for event in events if isinstance(event, Restarting)]
    ours, theirs = (lines(each.folder.path) for each in (job, expected))
    assert len(ours) == len(theirs)
    assert ours[0]["losses"] == pytest.approx(theirs[0]["losses"], rel=5e-2)  # rounding grows from step to step
