"""The integer formula that fills every layer and image of the golden data, and array-scaled comparison.

``core/fill_formula.md`` describes it: every number depends only on a stream number s and a flat index j.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
PRIME = 10007


def u(stream: int, count: int) -> np.ndarray:
    """Numbers in (-1, 1): u = (2 h + 1) / 10007 - 1, h = (3571 j^2 + (4241 + 97 s) j + 1009 s + 611) mod 10007."""
    j = np.arange(count, dtype=np.int64)
    h = (3571 * j * j + (4241 + 97 * stream) * j + 1009 * stream + 611) % PRIME
    return (2 * h + 1) / PRIME - 1.0


def images(batch: int, size: int, view: int = 0) -> Tensor:
    """Float64 images [batch, 3, size, size] of one view."""
    b, c, i, j = np.meshgrid(np.arange(batch), np.arange(3), np.arange(size), np.arange(size), indexing="ij")
    x = np.sin(0.15 * (b + 1) * i + 0.11 * (c + 1) * j + 0.7 * view)
    return torch.from_numpy(x + 0.5 * u(9001 + view, x.size).reshape(x.shape))


def labels(batch: int, classes: int, t: int = 0) -> Tensor:
    """y_b = (7 b + 3 + t) mod classes."""
    return torch.tensor([(7 * b + 3 + t) % classes for b in range(batch)])


def is_layer(module: nn.Module) -> bool:
    """Whether the fill numbers this module: convolutions, batch norms and linear layers."""
    return isinstance(module, nn.modules.conv._ConvNd | nn.modules.batchnorm._BatchNorm | nn.Linear)


@torch.no_grad()
def fill_layer(layer: nn.Module, k: int) -> None:
    """Fill layer number k."""
    values = torch.from_numpy(u(2 * k, layer.weight.numel())).reshape(layer.weight.shape)
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        layer.weight.copy_(1 + 0.1 * values)
        layer.reset_running_stats()
    else:
        layer.weight.copy_(np.sqrt(3.0 / layer.weight[0].numel()) * values)
    if layer.bias is not None:
        layer.bias.copy_(torch.from_numpy(0.1 * u(2 * k + 1, layer.bias.numel())))


@torch.no_grad()
def execution_order(module: nn.Module, *inputs: Any) -> list[nn.Module]:
    """The numbered layers in the order in which they first run, in eval mode."""
    order: list[nn.Module] = []
    handles = [
        m.register_forward_pre_hook(lambda m, _: order.append(m) if all(m is not o for o in order) else None)
        for m in module.modules()
        if is_layer(m)
    ]
    modes = {m: m.training for m in module.modules()}
    module.eval()
    module(*inputs)
    for handle in handles:
        handle.remove()
    for m, mode in modes.items():
        m.training = mode
    return order


def fill(module: nn.Module, *inputs: Any) -> list[nn.Module]:
    """Fill every layer by execution order; the layers in that order."""
    order = execution_order(module, *inputs)
    for k, layer in enumerate(order):
        fill_layer(layer, k)
    return order


def parameters(order: list[nn.Module]) -> list[Tensor]:
    """Parameter tensors in execution order, each layer's weight before its bias."""
    return [p for layer in order for p in (layer.weight, layer.bias) if p is not None]


def digest(tensors: list[Tensor], every: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum, sum of squares and first 8 values (zero padded) of every 10th tensor."""
    arrays = [t.detach().double().reshape(-1).numpy() for t in tensors[::every]]
    first = np.array([np.pad(a[:8], (0, max(0, 8 - a.size))) for a in arrays])
    return np.array([a.sum() for a in arrays]), np.array([(a * a).sum() for a in arrays]), first


def load(path: str, folder: str = "core") -> Any:
    """A golden file below ``core`` or ``fusion``: dict of arrays, or the JSON value."""
    file = HERE / folder / path
    if file.suffix == ".json":
        return json.loads(file.read_text())
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def max_error(got: Any, want: Any) -> float:
    """max |got - want| / max |want|; raises where shapes differ."""
    got = np.asarray(got.detach().cpu() if isinstance(got, Tensor) else got, dtype=np.float64)
    want = np.asarray(want, dtype=np.float64)
    if got.shape != want.shape:
        raise ValueError(f"shape {got.shape}, golden shape {want.shape}")
    difference, scale = (float(np.max(np.abs(a), initial=0.0)) for a in (got - want, want))
    return 0.0 if difference == 0 else difference / scale if scale > 0 else float("inf")


def close(got: Any, want: Any, rtol: float = 1e-9) -> bool:
    """Array-scaled comparison: the largest deviation may be rtol times the largest golden magnitude."""
    return max_error(got, want) <= rtol
