"""What is chosen for a device and a method, and that it is told."""

import json
import subprocess
import sys
from argparse import ArgumentParser
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
import torch
from patience import PATIENCE

from okdbench.errors import UsageError
from okdbench.methods import Build, Method, configure, get
from okdbench.methods.baseline import Baseline
from okdbench.networks import get as network
from okdbench.runs.execution import DEFAULT_EXECUTION, Algorithms, Backend, Execution, Precision
from okdbench.runs.records import Fallback
from okdbench.training.computation import configure_process, resolve
from okdbench.training.distributed import Processes

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


def method(name: str = "baseline", kind: type[Method] | None = None) -> Method:
    return (kind or get(name))(Build([network("resnet8")], 10, seed=0), configure(name, {}))


class Deciding(Baseline):
    name = "deciding"
    capturable = False


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were one with units for bfloat16, and a compiler."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    triton = ModuleType("triton")
    triton.__spec__ = ModuleSpec("triton", None)
    monkeypatch.setitem(sys.modules, "triton", triton)


@pytest.mark.parametrize(
    ("asked", "after", "chosen"),
    [
        (Backend.compiled_graph, Backend.graph, Backend.graph),
        (Backend.compiled_graph, Backend.eager, Backend.eager),
        (Backend.auto, Backend.eager, Backend.eager),
        (Backend.graph, Backend.graph, Backend.graph),
        (Backend.compiled, Backend.graph, Backend.compiled),
    ],
)
def test_after_a_graph_has_failed_a_simpler_backend_is_chosen(asked, after, chosen, gpu) -> None:
    found = resolve(Execution(backend=asked), GPU, method(), fallback=Fallback(backend=after, reason="it failed"))
    changed = asked not in (chosen, Backend.compiled)
    assert (found.backend, found.note) == (chosen, "it failed" if changed else "")


def test_the_order_of_backends_after_failures() -> None:
    assert (Backend.compiled_graph.next, Backend.graph.next) == (Backend.graph, Backend.eager)


def test_a_cpu_computes_eagerly_in_float32(monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, "amx_bf16": False})
    chosen = resolve(DEFAULT_EXECUTION, CPU, method())
    assert (chosen.backend, chosen.precision) == (Backend.eager, Precision.float32)
    assert str(chosen) == "eager backend, float32, deterministic algorithms"


@pytest.mark.parametrize("unit", ["avx512_bf16", "amx_bf16"])
def test_a_cpu_with_units_for_it_computes_in_bfloat16(monkeypatch, unit: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {unit: True})
    assert str(resolve(DEFAULT_EXECUTION, CPU, method())) == "eager backend, bfloat16, deterministic algorithms"
    assert resolve(Execution(precision=Precision.float32), CPU, method()).precision == Precision.float32


def test_a_cpu_of_which_torch_tells_nothing_computes_in_float32(monkeypatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve(DEFAULT_EXECUTION, CPU, method()).precision == Precision.float32


def test_a_gpu_replays_graphs_in_bfloat16(gpu) -> None:
    chosen = resolve(DEFAULT_EXECUTION, GPU, method())
    assert (chosen.backend, chosen.precision, chosen.note) == (Backend.graph, Precision.bfloat16, "")


def test_a_gpu_without_bfloat16_computes_in_float32(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert resolve(DEFAULT_EXECUTION, GPU, method()).precision == Precision.float32
    with pytest.raises(UsageError, match="this GPU has no units for it; choose float32"):
        resolve(Execution(precision=Precision.bfloat16), GPU, method())


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        (Backend.auto, Backend.eager),
        (Backend.graph, Backend.eager),
        (Backend.compiled_graph, Backend.compiled),
        (Backend.compiled, Backend.compiled),
    ],
)
def test_what_cannot_be_recorded_falls_back_alone(asked: Backend, got: Backend, gpu) -> None:
    deciding = resolve(Execution(asked), GPU, method(kind=Deciding))
    assert deciding.backend == got
    if asked != got:
        assert deciding.note == "no graph: deciding decides again in every step what to do"
        assert deciding.note in str(deciding)
    assert resolve(Execution(asked), GPU, method()).backend == (Backend.graph if asked == Backend.auto else asked)
    together = resolve(Execution(asked), GPU, method(), Processes(0, 2))
    assert together.backend == got
    assert asked == got or together.note == "no graph: 2 processes train together"


def test_an_own_training_step_is_not_compiled(gpu) -> None:
    chosen = resolve(Execution(Backend.compiled_graph), GPU, method("dml"))
    assert chosen.backend == Backend.graph
    assert chosen.note == "not compiled: the method has a training step of its own"


def test_what_the_machine_lacks_is_refused(monkeypatch) -> None:
    with pytest.raises(UsageError, match="--backend graph: needs an NVIDIA GPU; choose eager or compiled"):
        resolve(Execution(Backend.graph), CPU, method())
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match=r"--backend compiled: needs a C\+\+ compiler \(g\+\+\); choose eager"):
        resolve(Execution(Backend.compiled), CPU, method())


def test_a_worker_gets_the_choices_as_options() -> None:
    parser = ArgumentParser()
    Execution.add_options(parser)
    asked = Execution(Backend.compiled, Precision.bfloat16, Algorithms.fast)
    assert Execution.from_options(parser.parse_args(asked.arguments())) == asked
    assert Execution.from_options(parser.parse_args([])) == DEFAULT_EXECUTION


def run(folder: Path, data: Path, *options: str) -> dict:
    """The record of a run in a process of its own."""
    command = [sys.executable, "-m", "okdbench.worker", str(folder), "--data", str(data), "--threads", "1", *options]
    subprocess.run(command, check=True, timeout=PATIENCE, stdout=(folder / "log.txt").open("w"))
    return json.loads((folder / "record.json").read_text())


@pytest.mark.slow
def test_the_record_says_how_a_run_was_computed(small, data_root, tmp_path) -> None:
    (tmp_path / "config.json").write_text(small("baseline").model_dump_json())
    record = run(tmp_path, data_root, "--precision", "bfloat16", "--algorithms", "fast")
    told = record["environment"]
    assert (told["backend"], told["backend_note"]) == ("eager", None)
    assert (told["precision"], told["algorithms"], told["tf32_convolutions"]) == ("bfloat16", "fast", True)
    assert record["id"] == small("baseline").id
    assert (tmp_path / "log.txt").read_text() == "eager backend, bfloat16, fast algorithms\n"


@pytest.mark.slow
def test_compiled_losses_are_those_of_eager_ones(small, data_root, tmp_path, monkeypatch) -> None:
    """Up to rounding; compiled code stays in the cache for the next run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)  # a run in this process has set it
    config, folders = small("baseline"), [tmp_path / "eager", tmp_path / "compiled"]
    for folder in folders:
        folder.mkdir()
        (folder / "config.json").write_text(config.model_dump_json())
    records = [run(folder, data_root, "--backend", folder.name) for folder in folders]
    assert [record["environment"]["backend"] for record in records] == ["eager", "compiled"]
    eager, compiled = (json.loads((f / "metrics.jsonl").read_text().splitlines()[0])["losses"] for f in folders)
    assert compiled == pytest.approx(eager, rel=1e-2)
    assert any((tmp_path / "okdbench" / "inductor").rglob("*.so"))


@pytest.mark.parametrize("module", ["okdbench.worker", "okdbench.cli.bench"])
def test_threads_learn_to_sleep_before_torch_is_loaded(module: str) -> None:
    script = f"import sys, {module} as m; sys.exit('torch' in sys.modules or not callable(m.let_threads_sleep))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.mark.slow
def test_an_eager_run_does_not_load_the_compiler(small, tmp_path: Path, data_root: Path) -> None:
    (tmp_path / "config.json").write_text(small("dml").model_dump_json())
    script = (
        "import sys, okdbench.worker as worker\n"
        "status = worker.main(sys.argv[1:])\n"
        "print(status, sys.modules.keys() & {'torch._dynamo', 'sympy'})"
    )
    command = [sys.executable, "-c", script, str(tmp_path), "--data", str(data_root), "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.endswith("0 set()\n"), done.stdout + done.stderr


def test_compiled_code_too_obeys_the_choice_of_algorithms() -> None:
    import torch._inductor.config as inductor

    for algorithms in (Algorithms.fast, Algorithms.deterministic):
        configure_process(algorithms, CPU)
        assert inductor.deterministic == (algorithms == Algorithms.deterministic)
