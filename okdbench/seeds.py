"""All randomness is keyed: the same (seed, role, index) gives the same numbers on every machine and device.

The method's name is never part of a key, so methods are compared on the same initial weights, batch order and
crops (paired seeds). Nothing draws from, or disturbs, the global random state.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Role = Literal["init", "order", "augment", "policy", "method", "step", "memory", "subset", "synthetic"]


def key(seed: int, role: Role, *index: int) -> int:
    """Return a 63-bit key for one stream of random numbers, for instance ``key(0, "order", epoch)``."""
    text = "/".join(map(str, (seed, role, *index)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, role: Role, *index: int) -> torch.Generator:
    """Return a new CPU generator for the stream; draw on the CPU, so that all devices get the same numbers."""
    return torch.Generator().manual_seed(key(seed, role, *index))


@contextmanager
def seeded(seed: int, role: Role, *index: int) -> Iterator[None]:
    """Run code that draws from torch's global generators (module constructors, dropout) on a keyed stream.

    Their states are restored afterwards, so the rest of the program is unaffected. In a process that uses GPUs this
    includes the current GPU's generator; a recorded graph that is replayed here draws what its functions would draw.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(key(seed, role, *index))
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(key(seed, role, *index))
        yield
