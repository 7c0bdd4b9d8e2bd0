"""A linear probe: the trainer's steps on a linear classifier, whose input is the frozen features of another run."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from okdbench import data, networks
from okdbench.methods import Batch, Build, Method, MethodConfig, Progress
from okdbench.runs.execution import Precision
from okdbench.runs.folder import RunFolder
from okdbench.runs.interleave import Turns
from okdbench.runs.probe import ProbeConfig, ProbeRecord
from okdbench.training.deployed import load_features
from okdbench.training.features import FeatureSource, open_features
from okdbench.training.images import OpenDataset
from okdbench.training.loop import Interrupted, Trainer, require_trained


class LinearProbe(Method[MethodConfig]):
    """One linear classifier of the features of each head, all trained with cross-entropy and apart from one another.

    Images are the features of all heads beside one another, [B, sum of ``widths``]. A classifier starts as torch
    initialises a linear layer, all with the same numbers where they are of one width, and its logits have the name of
    the head whose features it reads.
    """

    title = "Linear probe"
    supports_pairs = True

    def __init__(self, build: Build, widths: Mapping[str, int], deployed: str) -> None:
        super().__init__(build, MethodConfig())
        self.deployed = deployed
        self._heads, self._widths = tuple(widths), list(widths.values())
        self.classifiers = nn.ModuleList(self._classifier(build, width) for width in self._widths)

    @staticmethod
    def _classifier(build: Build, width: int) -> nn.Linear:
        with build.keyed_init():
            return nn.Linear(width, build.classes)

    def heads(self) -> tuple[str, ...]:
        """Return the names of the heads whose features are classified."""
        return self._heads

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Cross-entropy of each classifier."""
        logits = self.predict(batch.views[0])
        return {f"ce_{head}": functional.cross_entropy(each, batch.labels) for head, each in logits.items()}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of features [B, sum of widths]."""
        parts = torch.split(images, self._widths, dim=1)
        return self.named(classify(part) for classify, part in zip(self.classifiers, parts, strict=True))


class ProbeTrainer(Trainer):
    """Trains one probe in its folder; the run whose network it reads lies beside it."""

    record_type = ProbeRecord
    precision = Precision.float32
    config: ProbeConfig

    def open(self, root: Path) -> tuple[OpenDataset, Method]:
        """Return the features, not yet computed, and the classifier on the device."""
        config, source = self.config, self.config.source
        folder = RunFolder(self.folder.path.parent / source.folder)
        require_trained(folder, config.needed_as)
        size = config.probe.size or data.get(source.dataset).image_size
        self.network = load_features(folder, config.probe.heads, size, self.device)
        opened = open_features(config, root, self.device, size, self.network)
        build = Build(networks.several(config.network), opened.classes, config.seed)
        return opened, LinearProbe(build, self.network.widths, self.network.deployed).to(self.device).train()

    def ready(self) -> Turns[None]:
        """Compute the features that stay the same; `Interrupted` if asked to stop, with nothing to keep."""
        images = self.images
        whole = [images.train_source] if self.config.probe.view == "whole" else []
        for source in (*whole, images.validation_source, images.test_source):
            assert isinstance(source, FeatureSource)
            for _ in source.compute():
                if self.processes.any(self.stop()):
                    raise Interrupted
                yield
