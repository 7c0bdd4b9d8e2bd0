"""Weights as safetensors, beside a small module that computes the network with PyTorch alone.

A network of timm needs no such module where the weights fit timm's own model: they are written under its names.
"""

import importlib
import re
from pathlib import Path
from string import Template
from textwrap import indent
from typing import Any

from torch import fx

from okdbench import exporting
from okdbench.exporting import ExportForm, Written
from okdbench.files import atomic_write
from okdbench.networks.timm import TIMM_PREFIX
from okdbench.training.deployed import DeployedNetwork, traced

MODULE = Template('''\
"""$title.

Maps images [N, 3, $size, $size] to logits [N, $classes], as in eval mode. It needs torch and safetensors:

    from $stem import Network

    network = Network()
    logits = network(images)
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import $names

WEIGHTS = Path(__file__).with_suffix(".safetensors")
BUFFERS = $buffers
"""Names of tensors that are not trained."""


class Network(nn.Module):
    """The trained network."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        super().__init__()
        for name, tensor in load_file(weights).items():
            *path, last = name.split(".")
            module = self
            for part in path:
                if part not in dict(module.named_children()):
                    module.add_module(part, nn.Module())
                module = getattr(module, part)
            if last in BUFFERS:
                module.register_buffer(last, tensor)
            else:
                module.register_parameter(last, nn.Parameter(tensor))

$forward
''')


def write(network: DeployedNetwork, file: Path) -> Written:
    """Write ``file`` and, unless the network is a whole model of timm, the module beside it."""
    library = _library()
    tensors = {name: tensor.contiguous() for name, tensor in network.module.state_dict().items()}
    if renamed := _timm_names(network):
        tensors = {renamed[name]: tensor for name, tensor in tensors.items()}
    with atomic_write(file, "wb") as opened:
        opened.write(library.save(tensors, {"format": "pt"}))
    if renamed:
        return Written((file,), _timm_lines(network, file))
    module = file.with_suffix(".py")
    with atomic_write(module) as text:
        text.write(_source(network, file.stem))
    return Written((file, module), f"from {file.stem} import Network\n\nnetwork = Network()")


def _library() -> Any:
    try:
        return importlib.import_module("safetensors.torch")
    except ImportError:
        raise exporting.needs("safetensors") from None


def _source(network: DeployedNetwork, stem: str) -> str:
    """Return the text of the module."""
    module = network.module
    forward = module.code.strip().replace("(self, images)", "(self, images: torch.Tensor) -> torch.Tensor", 1)
    return MODULE.substitute(
        title=network.title,
        size=network.image_size,
        classes=network.classes,
        stem=stem,
        names=", ".join(sorted({"nn", *re.findall(r"\b(?:device|inf|nan)\b", forward)})),
        buffers=repr(sorted({name.rpartition(".")[2] for name, _ in module.named_buffers()})).replace("'", '"'),
        forward=indent(forward, "    "),
    )


def _timm_names(network: DeployedNetwork) -> dict[str, str]:
    """Return the names that timm gives to the network's tensors; empty where it is not a whole model of timm.

    It is one where the same operations follow one another with the same settings on tensors of the same shapes.
    """
    name = network.config.network
    if not name.startswith(TIMM_PREFIX):
        return {}
    model = importlib.import_module("timm").create_model(name.removeprefix(TIMM_PREFIX), num_classes=network.classes)
    theirs = traced(model, network.image_size)
    if _operations(theirs) != _operations(network.module):
        return {}
    return dict(zip(_tensors(network.module), _tensors(theirs), strict=True))


def _tensors(module: fx.GraphModule) -> list[str]:
    """Return the names of the tensors in the order in which they are first used."""
    used = (each for node in module.graph.nodes for each in node.all_input_nodes if each.op == "get_attr")
    return list(dict.fromkeys(str(node.target) for node in used))


def _operations(module: fx.GraphModule) -> list[tuple[Any, ...]]:
    """Return what the graph computes, in order, apart from the names in it."""
    tensors, state = _tensors(module), module.state_dict()
    computed = [node for node in module.graph.nodes if node.op != "get_attr"]
    place: dict[fx.Node, Any] = {node: number for number, node in enumerate(computed)}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            name = str(node.target)
            place[node] = (tensors.index(name), tuple(state[name].shape))
    return [
        (
            node.op,
            str(node.target) if node.op == "call_function" else "",
            fx.node.map_arg((node.args, node.kwargs), lambda each: str(place[each])),
        )
        for node in computed
    ]


def _timm_lines(network: DeployedNetwork, file: Path) -> str:
    """Return the lines that load the weights into timm's model."""
    model = network.config.network.removeprefix(TIMM_PREFIX)
    return (
        "import timm\nfrom safetensors.torch import load_file\n\n"
        f'network = timm.create_model("{model}", num_classes={network.classes}).eval()\n'
        f'network.load_state_dict(load_file("{file.name}"))'
    )


FORM = ExportForm("safetensors", ".safetensors", write)
