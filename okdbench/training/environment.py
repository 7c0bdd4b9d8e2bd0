"""Where a run was trained: versions, commit, device."""

import platform
import resource
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import okdbench
from okdbench import plugins
from okdbench.machine import device_name


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, git commit and device, for the record."""
    return {
        "okdbench": okdbench.__version__,
        **_git(),
        "plugins": plugins.fingerprints(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": version("numpy"),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "platform": platform.platform(),
        "device": device.type,
        "device_name": device_name(str(device)),
        "threads": torch.get_num_threads(),
    }


def with_earlier(now: Mapping[str, Any], earlier: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return an environment with what was otherwise in ``earlier`` ones, the values that it has not, as "earlier"."""
    other = [{name: value for name, value in each.items() if now.get(name) != value} for each in earlier]
    found = [each for number, each in enumerate(other) if each and each not in other[:number]]
    return {**now, **({"earlier": found} if found else {})}


def _git() -> dict[str, Any]:
    """Commit of the checkout that runs, and whether it was changed; nulls if there is none (a wheel)."""
    folder = Path(okdbench.__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=20
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD") if (folder.parent / ".git").exists() else None
    changes = git("status", "--porcelain", "--untracked-files=no", "--", ".") if commit else None
    return {"git_commit": commit, "git_dirty": None if changes is None else bool(changes)}


def peak_memory(device: torch.device) -> int:
    """Most bytes in use so far: on the GPU what torch allocated, on the CPU the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
