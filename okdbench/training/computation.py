"""How a run is computed on its device: the choice of backend, precision and algorithms, and the step that obeys it."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from okdbench.config import TrainingSettings
from okdbench.errors import UsageError
from okdbench.methods import Method
from okdbench.networks import fold_views, set_compute_dtype
from okdbench.runs.execution import Algorithms, Backend, Execution, Precision
from okdbench.training.backends import EAGER, CudaCapture, Graph, Runner, compile_losses
from okdbench.training.distributed import ALONE, Processes
from okdbench.training.memory import keep_freed_memory
from okdbench.training.step import Step


@dataclass(frozen=True)
class Computation:
    """What was chosen; ``note`` says why a run is not computed as it was asked to be, or as others are."""

    backend: Backend
    precision: Precision
    algorithms: Algorithms
    note: str = ""

    def step(self, method: Method, training: TrainingSettings, processes: Processes = ALONE) -> Step:
        """The method's training step, computed so; the method's evaluation from now on, too."""
        set_compute_dtype(method, torch.bfloat16 if self.precision == Precision.bfloat16 else None)
        if self.backend.recorded:
            fold_views(method)
        step = Step(method, training, processes, self.runner())
        if self.backend.compiles:
            compile_losses(method, training.batch_size // processes.size)
        return step

    def runner(self) -> Runner:
        """What does the work of step and evaluation."""
        return Graph(CudaCapture()) if self.backend.recorded else EAGER

    def record(self, run: Runner) -> dict[str, Any]:
        """For the record's environment; ``run`` is what did the work."""
        return {
            "backend": self.backend,
            "backend_note": "; ".join(filter(None, (self.note, *run.notes))) or None,
            "precision": self.precision,
            "algorithms": self.algorithms,
        }

    def brief(self, run: Runner) -> str:
        """For whoever watches: ``eager, float32``, and why where that is not what others do."""
        return ", ".join((self.backend, self.precision, *filter(None, (self.note, *run.notes))))

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"{self.backend} backend{note}, {self.precision}, {self.algorithms} algorithms"


def refuse(execution: Execution, device: torch.device) -> None:
    """UsageError for what was asked for and this machine does not have."""
    backend, on_gpu = execution.backend, device.type == "cuda"
    if backend.recorded and not on_gpu:
        raise UsageError(f"--backend {backend}: needs an NVIDIA GPU; choose eager or compiled")
    if backend.compiles and (lacking := _lacks_compiler(on_gpu)):
        raise UsageError(f"--backend {backend}: {lacking}; choose {'graph' if on_gpu else 'eager'}")
    if execution.precision == Precision.bfloat16 and on_gpu and not _has_bfloat16(device):
        raise UsageError("--precision bfloat16: this GPU has no units for it; choose float32")


def choose(execution: Execution, device: torch.device, method: Method, processes: Processes = ALONE) -> Computation:
    """What ``auto`` means here; a method that cannot be recorded is computed without a graph.

    Bfloat16 where the device has units for it; a CPU without them would take twice as long.
    """
    refuse(execution, device)
    backend, note = execution.backend, ""
    on_gpu = device.type == "cuda"
    if backend == Backend.auto:
        backend = Backend.graph if on_gpu else Backend.eager
    if backend.recorded and (obstacle := _not_recordable(method, processes)):
        backend, note = Backend.compiled if backend.compiles else Backend.eager, f"no graph: {obstacle}"
    if backend.compiles and not method.compilable:
        backend = Backend.graph if backend.recorded else Backend.eager
        note = f"{note + '; ' if note else ''}not compiled: the method has a training step of its own"
    precision = execution.precision
    if precision == Precision.auto:
        precision = Precision.bfloat16 if _has_bfloat16(device) else Precision.float32
    return Computation(backend, precision, execution.algorithms, note)


def _not_recordable(method: Method, processes: Processes) -> str:
    """Why steps of the method cannot be recorded, or ""."""
    if not method.capturable:
        return f"{method.name} decides in every step anew what to do"
    return f"{processes.size} processes train together" if processes.size > 1 else ""


def _lacks_compiler(on_gpu: bool) -> str:
    """What compiled code needs and is not here, or ""."""
    if on_gpu:
        return "" if importlib.util.find_spec("triton") else "needs the package triton"
    compilers = (os.environ.get("CXX"), "g++", "clang++")
    return "" if any(name and shutil.which(name) for name in compilers) else "needs a C++ compiler (g++)"


def _cache() -> Path:
    """Where compiled code stays for later runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "okdbench" / "inductor"


def _has_bfloat16(device: torch.device) -> bool:
    """Whether the device has units that multiply bfloat16; False where torch does not tell it of a CPU."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    tells: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)  # torch 2.11 may lack it
    return any(tells().get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def settle(algorithms: Algorithms, device: torch.device) -> None:
    """Make ``device`` this process's own, and put the libraries to deterministic algorithms, no TF32, or to fast ones.

    Deterministic: operations that have no such form are named in a warning. Fast: convolutions by the algorithm that
    was fastest in a trial.
    """
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    if device.type == "cpu":
        keep_freed_memory()
    fast = algorithms == Algorithms.fast
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(_cache()))
    # Read by cuBLAS when it starts; without it matrix products may differ from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = fast
    torch.backends.cudnn.deterministic = not fast
    torch.backends.cudnn.allow_tf32 = fast
    torch.backends.cuda.matmul.allow_tf32 = fast
    torch.set_deterministic_debug_mode("default" if fast else "warn")
    os.environ["TORCHINDUCTOR_DETERMINISTIC"] = str(int(not fast))  # compiled code's choices, read when it is imported
    inductor: Any = sys.modules.get("torch._inductor.config")
    if hasattr(inductor, "deterministic"):
        inductor.deterministic = not fast  # it was imported before
    # Else every new tensor would be filled before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
