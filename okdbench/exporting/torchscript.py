"""The network as TorchScript, one file that PyTorch loads alone, in Python and in C++."""

import warnings
from pathlib import Path

import torch

from okdbench.exporting import ExportForm, Written
from okdbench.files import atomic_write
from okdbench.training.deployed import DeployedNetwork


def write(network: DeployedNetwork, file: Path) -> Written:
    """Write ``file``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers torch.export, which C++ cannot load alone
        traced = torch.jit.trace(network.module, network.example())  # type: ignore[no-untyped-call]
        with atomic_write(file, "wb") as opened:
            torch.jit.save(traced, opened)
    return Written((file,), f'import torch\n\nnetwork = torch.jit.load("{file.name}")')


FORM = ExportForm("torchscript", ".pt", write)
