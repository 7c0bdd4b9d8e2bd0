"""Networks whose maps are given, so that a method trains on the maps of the golden data; golden names; comparison."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from golden.checker import load
from torch import Tensor, nn

from okdbench.methods import Build, Method, configure, get
from okdbench.methods.dccl import Integration
from okdbench.methods.parts.fusion import FusionModule, SelfDistillation
from okdbench.networks import Architecture, ClassifierHead, Parts

Golden = dict[str, Any]
"""Arrays, and under ``meta`` the description of the case."""
Tensors = dict[str, Tensor]
"""Tensors by their golden name, without what stands before it (``in_``, ``w_``, ``grad_e40_`` ..)."""


class Given(nn.Module):
    """Answers with its own values, whatever comes in."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(shape))

    def forward(self, _: Tensor) -> Tensor:
        return self.value


def architecture(
    maps: Sequence[Sequence[int]], *, neck: bool = False, logits: bool = False, hidden: bool = False
) -> Architecture:
    """A network whose stages put out maps of these shapes (B, C, H, W).

    ``neck``: BN and ReLU before the pooling; ``logits``: the logits are given too; ``hidden``: an MLP classifies.
    """
    batch, channels = maps[-1][:2]

    def build(classes: int) -> Parts:
        classifier: nn.Module = nn.Linear(channels, classes)
        if logits:
            classifier = Given(batch, classes)
        elif hidden:
            layers = [nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU()]
            classifier = nn.Sequential(*layers, nn.Linear(channels, classes))
        norm = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()) if neck else None
        head = ClassifierHead(classifier, channels, norm)
        stages = list[nn.Module](Given(*shape) for shape in maps)
        return Parts(nn.Identity(), stages, head, len(maps) - 1, tuple(shape[1] for shape in maps))

    return Architecture("given", "Given", build)


def golden(path: str) -> Golden:
    """A file of the fusion folder."""
    found: Golden = load(path, "fusion")
    return {**found, "meta": json.loads(str(found["meta"]))}


def layers(module: nn.Module) -> Tensors:
    """Parameters and running statistics."""
    tensors = module.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def separable(module: nn.Sequential) -> Tensors:
    """Golden names of a TransFusion head, and of the convolutions of a fusion module."""
    names = {"conv1": 0, "bn1": 1, "conv1_1": 3, "bn1_1": 4}
    return {name: t for prefix, index in names.items() for name, t in prefixed(prefix, layers(module[index])).items()}


def fusion(module: FusionModule) -> Tensors:
    return {**separable(module.mix), **prefixed("fc2", layers(module.classifier))}


def distiller(module: SelfDistillation) -> Tensors:
    tensors: Tensors = {}
    for index, step in enumerate(module.steps):
        tensors |= prefixed(f"layer{index}.convtranpose", layers(step.convolution))
        tensors |= prefixed(f"layer{index}.norm", layers(step.norm))
    return tensors


def dccl_tensors(m: Method, *, shared: bool) -> Tensors:
    """Everything but the fusion module."""
    tensors: Tensors = {}
    for k, (network, integrate) in enumerate(zip(m.network.networks, m.integrations, strict=True), 1):
        tensors |= {f"net{k}_stage{t}": stage.value for t, stage in enumerate(stages(network), 1)}
        tensors |= projections(f"net{k}", integrate) | classifier(network, k, shared)
        if isinstance(network.branch.head.neck, nn.Sequential):
            tensors |= prefixed(f"bn_last{k}", layers(network.branch.head.neck[0]))
    return tensors


def stages(network: nn.Module) -> list[nn.Module]:
    return [*network.trunk.stages, *network.branch.stages]


def projections(net: str, module: Integration) -> Tensors:
    tensors: Tensors = {}
    for target, sources in enumerate(module.projections, 1):
        for source, project in enumerate(sources, 1):
            tensors |= prefixed(f"{net}_proj_{source}_to_{target}", layers(project))
    return tensors


def classifier(network: nn.Module, number: int, shared: bool) -> Tensors:
    """The classifier of network ``number``; the golden layers 0, 3, 6 of a shared one have dropouts between them."""
    module = network.branch.head.classifier
    if not shared:
        return prefixed(f"fc{number}", layers(module))
    linear = [layer for layer in module if isinstance(layer, nn.Linear)]
    pairs = [(3 * index, layer) for index, layer in enumerate(linear)]
    return {name: t for at, layer in pairs for name, t in prefixed(f"fc_shared.{at}", layers(layer)).items()}


@torch.no_grad()
def fill(tensors: Tensors, golden: Golden, *before: str) -> None:
    """Copy all golden values whose name is one of ``before`` and that of a tensor; every tensor must be there."""
    for name, tensor in tensors.items():
        [value] = [golden[prefix + name] for prefix in before if prefix + name in golden]
        assert tensor.shape == value.shape, name
        tensor.copy_(torch.from_numpy(value))


def check(got: Tensor | float, golden: Golden, key: str) -> None:
    """Compare with the array of that key, or with its digest."""
    value = np.asarray(got.detach() if isinstance(got, Tensor) else got, dtype=np.float64)
    if key in golden:
        assert value.shape == golden[key].shape, key
        assert np.abs(value - golden[key]).max(initial=0) <= 1e-9 * np.abs(golden[key]).max(initial=0) + 1e-14, key
        return
    flat = value.reshape(-1)
    largest = np.abs(golden[f"{key}__val"]).max()
    assert np.abs(flat[golden[f"{key}__idx"]] - golden[f"{key}__val"]).max() <= 1e-9 * largest + 1e-14, key
    floor = 1e-12 * np.sqrt(flat.size)
    sums = {"sum": flat.sum(), "cosdot": flat @ np.cos(np.arange(flat.size))}
    for name, total in sums.items():
        assert abs(total - golden[f"{key}__{name}"]) <= floor * np.abs(flat).max() + 1e-14, (key, name)
    assert np.isclose(flat @ flat, golden[f"{key}__sumsq"], rtol=1e-9, atol=1e-28), key


def check_all(tensors: Tensors, golden: Golden, before: str, *, gradients: bool = False) -> int:
    """Compare every golden value of a name that starts with ``before``; how many there were.

    Where no gradient arrives, the golden one must be zero.
    """
    keys = {key.partition("__")[0] for key in golden if key.startswith(before)}
    for key in keys:
        tensor = tensors[key.removeprefix(before)]
        value = tensor.grad if gradients else tensor
        check(torch.zeros_like(tensor) if value is None else value, golden, key)
    return len(keys)


def only(golden: Golden, before: str) -> Golden:
    return {name: value for name, value in golden.items() if name.startswith(before)}


def method(label: str, network: Architecture, classes: int, **settings: object) -> Method:
    config = configure(label, settings)
    return get(label.partition("@")[0])(Build([network], classes, seed=0), config).double().train()
