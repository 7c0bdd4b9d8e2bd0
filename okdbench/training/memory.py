"""Memory of CPU training: the C library keeps the pages of freed tensors, or gives them back."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
KEPT = 1 << 30
"""Bytes: tensors up to this size come from the heap, and so much free space at its end is kept."""


def keep_freed_memory() -> bool:
    """Whether from now on memory that was freed is kept for the next tensors, which Linux's C library (glibc) can do.

    Otherwise the C library gives the memory of activations and batches back after every step, and the system fills it
    with zeros, page by page, when the next step asks for it: up to a third of a training step on two cores, and two
    thirds of the time that augmentation takes.
    """
    library = _glibc()
    return library is not None and all(
        library.mallopt(option, KEPT) == 1 for option in (TRIM_THRESHOLD, MMAP_THRESHOLD)
    )


def give_back_freed_memory() -> None:
    """Give the system back, once, what is free: so that what is taken from now on can be seen."""
    if library := _glibc():
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process where it is glibc."""
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    return library if hasattr(library, "gnu_get_libc_version") else None
