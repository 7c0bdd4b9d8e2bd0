"""ResNet-18, -34 and -50 for 224x224 images (He et al. 2016): torchvision's, untrained, as in FFSD, MCL and L-MCL."""

from functools import partial
from typing import Any

from torch import nn

from okdbench.networks.base import (
    Architecture,
    AuxiliaryExit,
    Branch,
    ClassifierHead,
    Parts,
    kaiming_convolutions,
    staged,
)

WIDTHS = (64, 128, 256, 512)
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def make(classes: int, depths: tuple[int, ...], widths: tuple[int, ...], *, bottlenecks: bool) -> Parts:
    """Return the stem with its max-pool, four stages of which the last is what branches own, and a linear head."""
    from okdbench.torchvision_shim import torchvision  # takes a second to load, and most runs do without it

    resnet = torchvision.models.resnet
    block = resnet.Bottleneck if bottlenecks else resnet.BasicBlock
    network = resnet.ResNet(block, [*depths], num_classes=classes)
    channels = tuple(width * block.expansion for width in widths)
    if widths != WIDTHS:  # torchvision's own last stage is of one width
        network.inplanes = channels[-2]
        network.layer4 = network._make_layer(block, widths[-1], depths[-1], stride=2)
        network.fc = nn.Linear(channels[-1], classes)
        kaiming_convolutions(network.layer4)
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    stages = [network.layer1, network.layer2, network.layer3, network.layer4]
    return Parts(stem, stages, ClassifierHead(network.fc, channels[-1]), split=3, channels=channels)


def build(classes: int, *, depth: int) -> Parts:
    """Return the network of that many layers."""
    return staged(partial(make, bottlenecks=depth >= 50), classes, depths=DEPTHS[depth], widths=WIDTHS)


def light_exits(classes: int, *, depth: int) -> list[AuxiliaryExit]:
    """Return L-MCL's exits after stages 1, 2 and 3: one block, of stride 2, for each stage that follows."""
    from okdbench.torchvision_shim import torchvision

    resnet = torchvision.models.resnet
    block = resnet.BasicBlock if depth < 50 else resnet.Bottleneck
    widths = tuple(width * block.expansion for width in WIDTHS)
    exits = []
    for after in range(1, len(WIDTHS)):
        stages = [_halving(block, widths[stage - 1], WIDTHS[stage]) for stage in range(after, len(WIDTHS))]
        head = ClassifierHead(nn.Linear(widths[-1], classes), widths[-1])
        exits.append(AuxiliaryExit(after, Branch(Parts(nn.Identity(), stages, head, 0, widths[after:]), 0)))
    return exits


def _halving(block: Any, channels: int, width: int) -> nn.Module:
    """Return a residual block of stride 2 with a projection, initialised as torchvision's networks are."""
    out = width * block.expansion
    shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=2, bias=False), nn.BatchNorm2d(out))
    module: nn.Module = block(channels, width, stride=2, downsample=shortcut)
    kaiming_convolutions(module)
    return module


ARCHITECTURES = [
    Architecture(
        f"imagenet_resnet{depth}",
        f"ResNet-{depth}",
        partial(build, depth=depth),
        image_size=224,
        light_exits=partial(light_exits, depth=depth),
    )
    for depth in (18, 34, 50)
]
