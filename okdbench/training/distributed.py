"""Several processes that train one run together, each on its part of every batch.

After every step, parameters, buffers, moving averages and logged losses are the same in all processes.
Gradients are averaged between backward pass and optimiser. `torch.nn.parallel.DistributedDataParallel` cannot do that
here: it hooks into one forward pass of a wrapped module and its backward pass, while a method's step may have several
passes, update its networks in turn, or differentiate by itself in a meta step.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from okdbench.runs.launch import STORE

Value = TypeVar("Value")

_BUCKET = 32 << 20
"""Bytes that are put together before they are sent."""


class Processes:
    """This process, number ``rank`` of ``size``. A single process exchanges nothing: every method returns at once.

    Methods that exchange values must be called by all processes, in the same order.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def key(self) -> tuple[int, ...]:
        """What this process adds to the key of random numbers; the first adds nothing and draws as it would alone."""
        return () if self.first else (self.rank,)

    def part(self, batch: range) -> range:
        """This process's part of a batch. All parts are of one size; a remainder below ``size`` is dropped."""
        each = len(batch) // self.size
        return batch[self.rank * each : (self.rank + 1) * each]

    def share(self, count: int) -> range:
        """This process's share of ``count`` items; the shares cover all of them."""
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        if self.size == 1:
            return flag
        found = torch.tensor(int(flag))  # on the CPU, so that no GPU is waited for
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return bool(found)

    def from_first(self, value: Value) -> Value:
        """Return the first process's value, which can be anything that pickles."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, device=torch.device("cpu"))
        return values[0]

    def wait(self) -> None:
        """Block until all processes have called this."""
        self.any(False)

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace floating-point tensors by their mean over all processes, in place."""
        if self.size == 1:
            return
        sent = []
        for bucket in _buckets(tensors):
            flat = _flat(bucket).div_(self.size)
            sent.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, work in sent:
            work.wait()
            _put(bucket, flat)

    @torch.no_grad()
    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors with those of the first process."""
        if self.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = _flat(bucket)
            dist.broadcast(flat, 0)
            _put(bucket, flat)

    def mean(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean over all processes of 0-d terms, detached; a single process gets the terms themselves."""
        if self.size == 1:
            return terms
        together = torch.stack([term.detach() for term in terms.values()])
        self.average([together])
        return dict(zip(terms, together.unbind(), strict=True))

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows [B, ...] of all processes, one process after the other, detached: [size * B, ...]."""
        if self.size == 1:
            return rows
        found = [torch.empty_like(rows) for _ in range(self.size)]
        dist.all_gather(found, rows.detach().contiguous())
        return torch.cat(found)

    def collect(self, value: Value) -> list[Value]:
        """Return the value of every process; values can be anything that pickles."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def combine(self, tensor: Tensor, how: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> None:
        """Replace a tensor by its sum (or the reduction ``how``) over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor, how)


ALONE = Processes()


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Within this context the processes that were started together, of which this is one, can exchange tensors.

    They find each other as `okdbench.runs.launch` or torchrun says. They exchange through NCCL where they are on GPUs
    (``device`` must be this process's own), through Gloo on the CPU.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl", device_id=device, **_meeting_place())
    else:
        dist.init_process_group("gloo", **_meeting_place())
    yield Processes(dist.get_rank(), dist.get_world_size())
    # Not after an error: the others may be gone, or wait for this process.
    dist.destroy_process_group()


def _meeting_place() -> dict[str, Any]:
    """Return where processes find each other, if that is a file, in the words of `init_process_group`."""
    if not (path := os.environ.get(STORE)):
        return {}
    size, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    return {"init_method": f"file://{path}", "world_size": size, "rank": rank}


def own_device(name: str) -> torch.device:
    """Return this process's device among those of the processes: for ``cuda:2``, cuda:2, cuda:3, ..."""
    device = torch.device(name)
    if device.type != "cuda":
        return device
    return torch.device("cuda", (device.index or 0) + int(os.environ.get("LOCAL_RANK", "0")))


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in groups of one type and device, each up to a size worth one message."""
    open_: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    bytes_: dict[tuple[torch.dtype, torch.device], int] = {}
    for tensor in tensors:
        kind = tensor.dtype, tensor.device
        open_.setdefault(kind, []).append(tensor)
        bytes_[kind] = bytes_.get(kind, 0) + tensor.nbytes
        if bytes_[kind] >= _BUCKET:
            yield open_.pop(kind)
            bytes_[kind] = 0
    yield from open_.values()


def _flat(bucket: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in bucket])


def _put(bucket: list[Tensor], flat: Tensor) -> None:
    parts = torch.split(flat, [tensor.numel() for tensor in bucket])
    torch._foreach_copy_(bucket, [part.view(tensor.shape) for tensor, part in zip(bucket, parts, strict=True)])
