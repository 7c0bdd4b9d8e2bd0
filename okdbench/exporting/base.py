"""From a finished run to files that have been checked: what every form has in common."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from okdbench import __version__, data
from okdbench.errors import UsageError
from okdbench.exporting import ExportForm, Written
from okdbench.files import write_json
from okdbench.runs.folder import RunFolder
from okdbench.training.deployed import DeployedNetwork, load_deployed, top1_accuracy
from okdbench.training.images import open_dataset

TOLERANCE = 0.1
"""Points by which accuracies may differ, for a run that was trained and tested in another precision; or one image."""


class Exported:
    """An exported network; ``recorded`` and ``measured`` are top-1 accuracies in percent.

    ``measured``, of the files as loaded back, is None if they were not tested.
    """

    def __init__(
        self, network: DeployedNetwork, written: Written, recorded: float, measured: float | None, images: int
    ) -> None:
        self.network, self.written = network, written
        self.recorded, self.measured, self.images = recorded, measured, images

    @property
    def agrees(self) -> bool:
        """Whether the exported network is as accurate as the run's record says; True if it was not tested."""
        return self.measured is None or abs(self.measured - self.recorded) <= max(TOLERANCE, 100.1 / self.images)


def export(folder: RunFolder, form: ExportForm, file: Path, root: Path | None) -> Exported:
    """Write the network of a run to ``file`` (and what the form puts beside it), with ``config.json`` about it.

    It is then loaded back, and its accuracy on the test images below ``root`` compared with the recorded one; None
    leaves that out. If they differ, ``config.json`` is not written and the other files are deleted. Raise UsageError
    for a run without a network, images that are not there, or a folder that cannot be written.
    """
    config = folder.config
    if root and not all(data.present(name, root) for name in config.datasets):
        missing = "; ".join(
            str(data.get(name).missing(root)) for name in config.datasets if not data.present(name, root)
        )
        raise UsageError(f"{missing}; or export without the test: --no-check")
    network = load_deployed(folder)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        written = form.write(network, file)
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be written ({error.strerror or error}); choose another place with -o"
        ) from None
    recorded = folder.epochs[-1].heads[network.record.deployed].top1
    measured, images = None, 1
    if root:
        opened = open_dataset(network.config, root, torch.device("cpu"))
        with _loaded(written) as loaded:
            measured, images = top1_accuracy(loaded, opened, network.config)
    found = Exported(network, written, recorded, measured, images)
    if found.agrees:
        write_json(file.with_name("config.json"), _described(found, form))
    else:
        for each in written.files:
            each.unlink()
    return found


@contextmanager
def _loaded(written: Written) -> Iterator[Callable[[Tensor], Tensor]]:
    """Run the lines that load the network, in its folder."""
    where, before, modules = written.files[0].parent.absolute(), Path.cwd(), set(sys.modules)
    names: dict[str, Callable[[Tensor], Tensor]] = {}
    sys.path.insert(0, str(where))
    os.chdir(where)
    try:
        exec(written.loading, names)
    finally:
        os.chdir(before)
        sys.path.remove(str(where))
        stem = written.files[0].stem
        if stem not in modules:
            sys.modules.pop(stem, None)  # another export may have a module of this name
    yield names["network"]


def _described(found: Exported, form: ExportForm) -> dict[str, object]:
    """Return what ``config.json`` says of the network."""
    network, config = found.network, found.network.config
    constants = data.augmentation(config.dataset, config.data.normalisation)
    return {
        "form": form.name,
        "files": [each.name for each in found.written.files],
        "load": found.written.loading.splitlines(),
        "run": config.id,
        "network": config.network,
        "method": config.method,
        "head": network.record.deployed,
        "dataset": config.dataset,
        "classes": network.classes,
        "input": {"shape": ["N", 3, network.image_size, network.image_size], "range": [0, 1]},
        "normalisation": {"mean": constants.mean, "std": constants.std},
        "top1": {"recorded": found.recorded, "exported": found.measured},
        "okdbench": __version__,
        "configuration": config.model_dump(mode="json"),
    }
