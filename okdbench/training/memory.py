"""Memory of CPU training: the C library keeps the pages of freed tensors, or gives them back."""

import ctypes
import sys

from okdbench.runs.execution import NotEnoughMemory

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
KEPT = 1 << 30
"""Bytes: tensors up to this size come from the heap, and this much free space at its end is kept."""


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next tensors; return whether it does, which other C libraries cannot.

    By default it returns the memory of activations and batches to the system after every step, and the system zeroes
    the pages when the next step requests them. That takes up to a third of a training step on two cores, and two thirds
    of the time of augmentation.
    """
    library = _glibc()
    return library is not None and all(
        library.mallopt(option, KEPT) == 1 for option in (TRIM_THRESHOLD, MMAP_THRESHOLD)
    )


def give_back_freed_memory() -> None:
    """Return free memory to the system once, so that memory taken from now on shows in the process's size."""
    if library := _glibc():
        library.malloc_trim(0)


def require_room(runs: int, peak: int, free: int) -> None:
    """NotEnoughMemory where ``runs`` runs do not fit: the first has used ``peak`` bytes, and ``free`` are left."""
    if (runs - 1) * peak > free:
        most = 1 + free // peak
        needs = f"a run needs {peak / 1e9:.1f} GB or more, and {free / 1e9:.1f} GB are free beside the first"
        raise NotEnoughMemory(f"--jobs-per-device {runs}: {needs}; choose {most}{' or fewer' if most > 1 else ''}")


def _glibc() -> ctypes.CDLL | None:
    """Return the C library of this process if it is glibc."""
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    return library if hasattr(library, "gnu_get_libc_version") else None
