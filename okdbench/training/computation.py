"""How a run is computed on its device: backend, precision and algorithms, and a method prepared for them."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from okdbench.config import TrainingSettings
from okdbench.errors import UsageError
from okdbench.kept import cache_folder
from okdbench.methods import Method
from okdbench.networks import Branched, fold_views, set_compute_dtype
from okdbench.runs.execution import Algorithms, Backend, Execution, Precision
from okdbench.runs.records import Fallback
from okdbench.training.backends import EAGER, TOLERANCE, CudaCapture, Graph, Runner
from okdbench.training.distributed import ALONE, Processes
from okdbench.training.memory import keep_freed_memory
from okdbench.training.step import Step


@dataclass(frozen=True)
class Computation:
    """What was chosen; ``note`` says why it differs from what was requested or from what is usual."""

    backend: Backend
    precision: Precision
    algorithms: Algorithms
    note: str = ""

    def prepare(self, method: Method, training: TrainingSettings, processes: Processes = ALONE) -> Step:
        """Set how the method is computed from now on, in evaluation too; return its training step."""
        set_compute_dtype(method, torch.bfloat16 if self.precision == Precision.bfloat16 else None)
        if self.backend.recorded:
            fold_views(method)
        if self.backend.compiles:
            # torch compiles at most 8 forms of one function, and all methods of a process share `Method.forward`.
            torch._dynamo.config.recompile_limit = 64
            method.compile(dynamic=False)
        return Step(method, training, processes, self.runner(_tolerance(self, method)), compiled=self.backend.compiles)

    def runner(self, tolerance: float = 0.0) -> Runner:
        """Return what launches the work of step and evaluation; ``tolerance`` is that of the check of a graph."""
        return Graph(CudaCapture(), tolerance=tolerance) if self.backend.recorded else EAGER

    def record(self, run: Runner) -> dict[str, Any]:
        """Return the entries of the record's environment; ``run`` is what launched the work."""
        return {
            "backend": self.backend,
            "backend_note": "; ".join(filter(None, (self.note, *run.notes))) or None,
            "precision": self.precision,
            "algorithms": self.algorithms,
        }

    def summary(self, run: Runner) -> str:
        """Return one line for the live view: ``eager, float32``, and every note."""
        return ", ".join((self.backend, self.precision, *filter(None, (self.note, *run.notes))))

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"{self.backend} backend{note}, {self.precision}, {self.algorithms} algorithms"


def require_supported(execution: Execution, device: torch.device) -> None:
    """Raise UsageError for a request that this machine cannot serve."""
    backend, on_gpu = execution.backend, device.type == "cuda"
    if backend.recorded and not on_gpu:
        raise UsageError(f"--backend {backend}: needs an NVIDIA GPU; choose eager or compiled")
    if backend.compiles and (lacking := _lacks_compiler(on_gpu)):
        raise UsageError(f"--backend {backend}: {lacking}; choose {'graph' if on_gpu else 'eager'}")
    if execution.precision == Precision.bfloat16 and on_gpu and not _has_bfloat16(device):
        raise UsageError("--precision bfloat16: this GPU has no units for it; choose float32")


def _tolerance(computation: Computation, method: Method) -> float:
    """How far a replay may be from the work it records: 0 unless views are folded or kernels chosen by trial."""
    chosen = computation.algorithms == Algorithms.fast or computation.backend.compiles
    folded = any(isinstance(module, Branched) and module.folded for module in method.modules())
    return TOLERANCE if chosen or folded else 0.0


def resolve(
    execution: Execution,
    device: torch.device,
    method: Method,
    processes: Processes = ALONE,
    fallback: Fallback | None = None,
) -> Computation:
    """Choose what ``auto`` leaves open, and do without a graph or a compiler where the method does not allow them.

    After graphs of the run have failed, the backend is that of ``fallback``, or a simpler one.

    The precision is bfloat16 where the device has units for it; a CPU without them would take twice as long.
    """
    require_supported(execution, device)
    backend, note = execution.backend, ""
    on_gpu = device.type == "cuda"
    if backend == Backend.auto:
        backend = Backend.graph if on_gpu else Backend.eager
    if fallback and fallback.reason and backend.recorded and backend != fallback.backend:
        backend, note = fallback.backend, fallback.reason
    if backend.recorded and (obstacle := _not_recordable(method, processes)):
        backend, note = Backend.compiled if backend.compiles else Backend.eager, _joined(note, f"no graph: {obstacle}")
    if backend.compiles and not method.compilable:
        backend = Backend.graph if backend.recorded else Backend.eager
        note = _joined(note, "not compiled: the method has a training step of its own")
    precision = execution.precision
    if precision == Precision.auto:
        precision = Precision.bfloat16 if _has_bfloat16(device) else Precision.float32
    return Computation(backend, precision, execution.algorithms, note)


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _not_recordable(method: Method, processes: Processes) -> str:
    """Return why steps of the method cannot be recorded, or ""."""
    if not method.capturable:
        return f"{method.name} decides again in every step what to do"
    return f"{processes.size} processes train together" if processes.size > 1 else ""


def _lacks_compiler(on_gpu: bool) -> str:
    """Return what compiled code needs and this machine lacks, or ""."""
    if on_gpu:
        return "" if importlib.util.find_spec("triton") else "needs the package triton"
    compilers = (os.environ.get("CXX"), "g++", "clang++")
    return "" if any(name and shutil.which(name) for name in compilers) else "needs a C++ compiler (g++)"


def _has_bfloat16(device: torch.device) -> bool:
    """Return whether the device has units for bfloat16; False for a CPU of which torch does not report it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)  # may lack in 2.11
    return any(capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def configure_process(algorithms: Algorithms, device: torch.device) -> None:
    """Make ``device`` this process's own; set the libraries to deterministic algorithms without TF32, or to fast ones.

    Deterministic: operations without a deterministic form are named in a warning. Fast: each convolution uses the
    algorithm that was fastest in a trial.
    """
    if device.type == "cuda":
        # Read when CUDA starts: with the usual 8 connections, the streams of more runs in turns would wait in line.
        os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")
        if device.index is not None:
            torch.cuda.set_device(device)
    if device.type == "cpu":
        keep_freed_memory()
    fast = algorithms == Algorithms.fast
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder("inductor")))
    # cuBLAS reads it when it starts; without it matrix products may differ from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = fast
    torch.backends.cudnn.deterministic = not fast
    torch.backends.cudnn.allow_tf32 = fast
    torch.backends.cuda.matmul.allow_tf32 = fast
    torch.set_deterministic_debug_mode("default" if fast else "warn")
    os.environ["TORCHINDUCTOR_DETERMINISTIC"] = str(int(not fast))  # the compiler reads it when it is imported
    inductor: Any = sys.modules.get("torch._inductor.config")
    if hasattr(inductor, "deterministic"):
        inductor.deterministic = not fast  # already imported
    # Otherwise every new tensor would be filled before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
