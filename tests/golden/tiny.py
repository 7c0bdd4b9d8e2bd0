"""The tiny network of golden training steps: convolution, batch normalisation, ReLU, pooling, a linear layer."""

import json

from golden.checker import load
from golden.maps import Golden, Tensors
from torch import nn

from okdbench.networks import Architecture, ClassifierHead, Parts


def case(path: str, folder: str) -> Golden:
    """A golden file with its description under ``meta``."""
    found: Golden = load(path, folder)
    return {**found, "meta": json.loads(str(found["meta"]))}


def tiny(width: int) -> Architecture:
    def build(classes: int) -> Parts:
        stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        return Parts(stem, [nn.ReLU()], ClassifierHead(nn.Linear(width, classes), width), split=0, channels=(width,))

    return Architecture("tiny", "Tiny", build)


def named(prefix: str, network: nn.Module) -> Tensors:
    """Parameters and running statistics by their golden names."""
    convolution, norm = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d))
    [linear] = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
    layers = {"conv": convolution, "bn": norm, "fc": linear}
    return {
        f"{prefix}.{name}.{key}": value
        for name, layer in layers.items()
        for key, value in layer.state_dict(keep_vars=True).items()
        if key != "num_batches_tracked"
    }
