"""VGGs for 32x32 images with batch normalisation and an MLP of two hidden layers.

``vgg16_mlp`` (13 convolutions) is the network of OKDDip, PCL and DKEL. It never drops out, as in the released PCL and
DKEL code and the single network of OKDDip; the branched networks of OKDDip drop out with p = 0.5 in the MLP, which
compares methods on different networks, and have an identifier of their own. DCCL prints VGG-16 and VGG-19 for
networks of 14 and 18 convolutions.
"""

from functools import partial

from torch import Tensor, nn

from okdbench.networks.base import Architecture, ClassifierHead, Parts, kaiming_convolutions, staged

STEM = 64
WIDTHS = (128, 256, 512, 512)
HIDDEN = 512


class FlatHead(ClassifierHead):
    """A head whose feature is the last map flattened, without pooling: [B, 512] for images of 32 pixels."""

    def features(self, final: Tensor) -> Tensor:
        """Return the map [B, C, H, W] as [B, C * H * W]."""
        return final.flatten(1)


def stage(channels: int, width: int, depth: int) -> nn.Sequential:
    """``depth`` 3x3 convolutions (with bias), each with BN and ReLU, then a 2x2 max-pool."""
    layers = list[nn.Module]()
    for _ in range(depth):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.MaxPool2d(2))


def initialise(module: nn.Module) -> None:
    """Kaiming-normal convolutions, linear weights N(0, 0.01), all biases 0."""
    kaiming_convolutions(module)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def mlp(classes: int, features: int, dropout: float) -> nn.Sequential:
    """Build two hidden layers, each followed by dropout (if any), and the classifier."""
    layers = list[nn.Module]()
    for channels in (features, HIDDEN):
        layers += [nn.Linear(channels, HIDDEN), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(HIDDEN, classes))


def make(classes: int, depths: tuple[int, ...], widths: tuple[int, ...], *, dropout: float) -> Parts:
    """Build a stem of two convolutions, four stages of which the last is what branches own, and the MLP."""
    stem = stage(3, STEM, 2)
    sizes = zip((STEM, *widths[:-1]), widths, depths, strict=True)
    stages: list[nn.Module] = [stage(channels, width, depth) for channels, width, depth in sizes]
    classifier = mlp(classes, widths[-1], dropout)
    initialise(nn.ModuleList([stem, *stages, classifier]))
    head = FlatHead(classifier, feature_dim=widths[-1])
    return Parts(stem, stages, head, split=3, channels=widths, copied_classifier=False, initialise=initialise)


def build(classes: int, *, depths: tuple[int, ...], dropout: float = 0.0) -> Parts:
    """Build a VGG with these numbers of convolutions in the four stages after the stem."""
    return staged(partial(make, dropout=dropout), classes, depths=depths, widths=WIDTHS)


OKDDIP = (2, 3, 3, 3)

ARCHITECTURES = [
    Architecture("vgg16_mlp", "VGG-16", partial(build, depths=OKDDIP)),
    Architecture("vgg16_mlp_dropout", "VGG-16", partial(build, depths=OKDDIP, dropout=0.5)),
    Architecture("vgg16_dccl", "VGG-16", partial(build, depths=(3, 3, 3, 3))),
    Architecture("vgg19_dccl", "VGG-19", partial(build, depths=(4, 4, 4, 4))),
]
