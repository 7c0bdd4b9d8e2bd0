"""ShuffleNetV2 (Ma et al. 2018), made of torchvision's, untrained, as in MCL and L-MCL.

For images of 32 pixels the stem has stride 1 and no max-pool, so the stages work on maps of 16, 8 and 4.
"""

from functools import partial

from torch import nn

from okdbench.networks.base import Architecture, AuxiliaryExit, Branch, ClassifierHead, Parts

STEM = 24
REPEATS = (4, 8, 4)
FEATURES = 1024
HALF, ONE = (48, 96, 192), (116, 232, 464)


def build(classes: int, *, widths: tuple[int, ...], image_size: int) -> Parts:
    """Build a stem of 24 channels, three stages, the 1x1 convolution to 1024 channels as the neck of a linear head."""
    from okdbench.torchvision_shim import torchvision  # takes a second to load, and most runs do without it

    network = torchvision.models.ShuffleNetV2([*REPEATS], [STEM, *widths, FEATURES], num_classes=classes)
    if image_size == 32:
        network.conv1[0] = nn.Conv2d(3, STEM, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    stem = nn.Sequential(network.conv1, network.maxpool)
    stages = [network.stage2, network.stage3, network.stage4]
    return Parts(stem, stages, ClassifierHead(network.fc, FEATURES, network.conv5), split=2, channels=widths)


def light_exits(classes: int, *, widths: tuple[int, ...]) -> list[AuxiliaryExit]:
    """Return L-MCL's exits: from the stem's map with 2 blocks a stage, and from stages 1 and 2 with all blocks."""
    from okdbench.torchvision_shim import torchvision

    exits = []
    for after, repeats in enumerate(([2, 2, 2], REPEATS, REPEATS)):
        network = torchvision.models.ShuffleNetV2([*repeats], [STEM, *widths, FEATURES], num_classes=classes)
        stages = [network.stage2, network.stage3, network.stage4][after:]
        head = ClassifierHead(network.fc, FEATURES, network.conv5)
        exits.append(AuxiliaryExit(after, Branch(Parts(nn.Identity(), stages, head, 0, widths[after:]), 0)))
    return exits


ARCHITECTURES = [
    Architecture(
        name,
        title,
        partial(build, widths=widths, image_size=size),
        image_size=size,
        light_exits=partial(light_exits, widths=widths) if size == 224 else None,
    )
    for name, title, widths, size in (
        ("shufflenetv2_05", "ShuffleNetV2 0.5x", HALF, 32),
        ("shufflenetv2_1", "ShuffleNetV2 1x", ONE, 32),
        ("imagenet_shufflenetv2_1", "ShuffleNetV2 1x", ONE, 224),
    )
]
