"""VGG-16 for 32x32 images with batch normalisation and an MLP of two hidden layers, as in OKDDip, PCL and DKEL.

The network never drops out: the released PCL and DKEL code and the single network of OKDDip use p = 0, while the
branched networks of OKDDip use 0.5, which would compare methods on different networks.
"""

from torch import Tensor, nn

from okdbench.networks.base import Architecture, Head, Parts, kaiming_convolutions

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = (2, 2, 3, 3, 3)
HIDDEN = 512


class FlatHead(Head):
    """A head whose feature is the last map flattened, without pooling: [B, 512] for images of 32 pixels."""

    def features(self, map: Tensor) -> Tensor:
        """The map [B, C, H, W] as [B, C * H * W]."""
        return self.neck(map).flatten(1)  # type: ignore[no-any-return]


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


def build(classes: int) -> Parts:
    """Five stages, of which the first is the stem and the last is what branches own, and the MLP."""
    stem, *stages = (
        stage(channels, width, depth) for channels, width, depth in zip((3, *WIDTHS[:-1]), WIDTHS, DEPTHS, strict=True)
    )
    classifier = nn.Sequential(
        nn.Linear(WIDTHS[-1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes)
    )
    initialise(nn.ModuleList([stem, *stages, classifier]))
    head = FlatHead(classifier, feature_dim=WIDTHS[-1])
    return Parts(stem, list(stages), head, split=3, channels=WIDTHS[1:], copied_classifier=False, initialise=initialise)


ARCHITECTURES = [Architecture("vgg16_mlp", "VGG-16", build)]
