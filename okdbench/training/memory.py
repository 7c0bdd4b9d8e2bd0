"""Memory of CPU training: freed tensors' pages stay with the process."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
KEPT = 1 << 30
"""Bytes: tensors up to this size come from the heap, and so much free space at its end is kept."""


def keep_freed_memory() -> bool:
    """Whether from now on memory that was freed is kept for the next tensors, which Linux's C library (glibc) can do.

    Otherwise the C library gives the memory of activations and batches back after every step, and the system fills it
    with zeros, page by page, when the next step asks for it: 5 to 30 percent of a training step on two cores.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return all(library.mallopt(option, KEPT) == 1 for option in (TRIM_THRESHOLD, MMAP_THRESHOLD))
