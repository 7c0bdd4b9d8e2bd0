"""ResNet-18, -34 and -50 for 224x224 images (He et al. 2016): torchvision's, untrained, as in FFSD, MCL and L-MCL."""

from functools import partial

from torch import nn

from okdbench.networks.base import Architecture, ClassifierHead, Parts


def build(classes: int, *, depth: int) -> Parts:
    """Return the stem with its max-pool, four stages of which the last is what branches own, and a linear head."""
    from okdbench.torchvision_shim import torchvision  # takes a second to load, and most runs do without it

    network = getattr(torchvision.models, f"resnet{depth}")(num_classes=classes)
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    stages = [network.layer1, network.layer2, network.layer3, network.layer4]
    features = network.fc.in_features
    channels = tuple(features // 2**halvings for halvings in (3, 2, 1, 0))
    return Parts(stem, stages, ClassifierHead(network.fc, features), split=3, channels=channels)


ARCHITECTURES = [
    Architecture(f"imagenet_resnet{depth}", f"ResNet-{depth}", partial(build, depth=depth), image_size=224)
    for depth in (18, 34, 50)
]
