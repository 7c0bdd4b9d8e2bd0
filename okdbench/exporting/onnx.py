"""The network as ONNX, one file for ONNX Runtime and other engines; the number of images of a batch is free."""

import contextlib
import importlib.util
import io
import warnings
from pathlib import Path

import torch

from okdbench import exporting
from okdbench.exporting import ExportForm, Written
from okdbench.training.deployed import DeployedNetwork

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def write(network: DeployedNetwork, file: Path) -> Written:
    """Write ``file``; raise UsageError if a package of `PACKAGES` is not installed."""
    for package in PACKAGES:
        if not importlib.util.find_spec(package):
            raise exporting.needs(package)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.module,
            (network.example(),),
            file,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    return Written(
        (file,),
        "import onnxruntime\nimport torch\n\n"
        f'session = onnxruntime.InferenceSession("{file.name}")\n'
        'network = lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])',
    )


FORM = ExportForm("onnx", ".onnx", write)
