"""Freed memory is kept: tensors made and freed in a loop are not faulted in again each time."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from okdbench.training.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        held = [torch.ones(2_000_000) for _ in range(10)]
        del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
kept = keep_freed_memory()
faults()
print(kept, usual, faults())
"""


@pytest.mark.slow
def test_tensors_find_the_pages_of_those_before() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    kept, usual, now = done.stdout.split()
    if kept != "True":
        pytest.skip("this C library has no such settings")
    assert int(now) < int(usual) / 10
