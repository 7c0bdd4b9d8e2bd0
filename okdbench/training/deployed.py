"""The network that a finished run deploys, without everything that only training needs.

The head's prediction is recorded as a graph of operations. What no output depends on (peers, gates, teachers that were
not chosen) leaves no trace in it, so no method has to say which of its parts are its network.
"""

import operator
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor, fx, nn

from okdbench import data, methods
from okdbench.config import RunConfig
from okdbench.errors import UsageError
from okdbench.methods import Method
from okdbench.runs.folder import RunFolder
from okdbench.runs.heads import matching
from okdbench.runs.records import Record, State
from okdbench.runs.weights import final_weights
from okdbench.training.images import OpenDataset, RunImages

_ATEN = torch.ops.aten
EXAMPLE_BATCH = 2
"""Images in the batch with which a network is recorded; any number is accepted afterwards."""


@dataclass(frozen=True)
class DeployedNetwork:
    """The network of a run's deployed head, in eval mode and on the CPU.

    ``module`` maps images [N, 3, S, S] to logits [N, classes]; its ``state_dict`` has exactly the tensors it uses.
    """

    module: fx.GraphModule
    record: Record
    classes: int

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self.record.config

    @property
    def image_size(self) -> int:
        """S, the side of an image in pixels."""
        return data.get(self.config.dataset).image_size

    @property
    def title(self) -> str:
        """The network in one line."""
        config = self.config
        return f"{config.network} trained by {config.method} on {config.dataset}, head {self.record.deployed}"

    def example(self) -> Tensor:
        """Return a batch of blank images."""
        return torch.zeros(EXAMPLE_BATCH, 3, self.image_size, self.image_size)


class _Head(nn.Module):
    """One head's prediction."""

    def __init__(self, method: Method, head: str) -> None:
        super().__init__()
        self.method, self.head = method, head

    def forward(self, images: Tensor) -> Tensor:
        return self.method.predict(images)[self.head]


def load_deployed(folder: RunFolder, classes: int | None = None) -> DeployedNetwork:
    """Return the network of a finished training; ``classes`` where the images show another number than declared.

    Raise UsageError if the run is not a finished training, or its weights are not there or do not fit.
    """
    record = _finished(folder)
    classes = classes or data.get(record.config.dataset).classes
    method = _trained(folder, record, classes)
    module = traced(_Head(method, record.deployed), data.get(record.config.dataset).image_size)
    return DeployedNetwork(module, record, classes)


@dataclass(frozen=True)
class FeatureNetwork:
    """What the classifiers of some heads read: called with images [N, 3, S, S], it returns features [N, sum of widths].

    ``modules`` map images to the pooled features [N, width] of each of ``heads``, in that order. They are frozen: in
    eval mode, without gradients.
    """

    modules: dict[str, fx.GraphModule]
    widths: dict[str, int]
    deployed: str

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the features of images on the networks' device, those of all heads beside one another."""
        return torch.cat([module(images) for module in self.modules.values()], dim=1)


def load_features(folder: RunFolder, heads: Sequence[str], image_size: int, device: torch.device) -> FeatureNetwork:
    """Return what the classifiers of a finished training's heads read, for images of ``image_size`` pixels.

    ``heads`` are names or patterns, and "deployed" for the one that the method deploys. Heads that are not linear
    classifiers of one network's features, such as means of logits, have none and are left out. Raise UsageError as
    `load_deployed` does, and where no head is left.
    """
    record = _finished(folder)
    method = _trained(folder, record, data.get(record.config.dataset).classes)
    modules, widths = {}, {}
    for head in matching(heads, method.heads(), record.deployed):
        if found := _features(traced(_Head(method, head), image_size), device):
            modules[head], widths[head] = found
    if not modules:
        raise UsageError(
            f"probe.heads: {record.config.method} has no linear classifier of features among {', '.join(heads)}; its "
            f"heads are {', '.join(method.heads())}"
        )
    deployed = record.deployed if record.deployed in modules else next(iter(modules))
    return FeatureNetwork(modules, widths, deployed)


def _features(network: fx.GraphModule, device: torch.device) -> tuple[fx.GraphModule, int] | None:
    """Return a network without the linear classifier that it ends with, on the device, and the width of its features.

    None if it ends otherwise.
    """
    output = next(node for node in network.graph.nodes if node.op == "output")
    classifier = output.args[0]
    if classifier.target is not _ATEN.linear.default:
        return None
    output.args = (classifier.args[0],)
    width = _attribute(network, classifier.args[1].target).shape[1]
    network.graph.eliminate_dead_code()
    for node in network.graph.nodes:
        if "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": device}
    tensors = {node.target: _attribute(network, node.target) for node in network.graph.nodes if node.op == "get_attr"}
    module = fx.GraphModule(tensors, network.graph, "Features").requires_grad_(False)
    module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module, width


def _trained(folder: RunFolder, record: Record, classes: int) -> Method:
    """Return the run's method with its final weights."""
    method = methods.make(record.config, classes)
    weights = final_weights(folder, f"train it here again: {_retrain(folder)}")
    try:
        method.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"{folder.weights}: are not the weights of this run ({reason}); train it again: {_retrain(folder)}"
        ) from None
    return method


def _finished(folder: RunFolder) -> Record:
    record = folder.record
    if not isinstance(record, Record) or record.status is not State.finished:
        what = "of another kind" if record and not isinstance(record, Record) else str(folder.state)
        raise UsageError(f"{folder}: only a finished training has a network, and this run is {what}")
    if not folder.weights.exists():
        raise UsageError(
            f"{folder.weights}: is not there (published records have no weights); train it here: {_retrain(folder)}"
        )
    return record


def _retrain(folder: RunFolder) -> str:
    config = folder.config
    words = ["okdbench", "run", folder.recipe]
    if isinstance(config, RunConfig):
        words += ["-d", config.dataset, "-n", config.network, "-m", config.method, "-s", str(config.seed)]
    return shlex.join([*words, "--force"])


def traced(module: nn.Module, image_size: int) -> fx.GraphModule:
    """Return a module [N, 3, S, S] -> [N, C] in eval mode as a graph of the operations its output depends on.

    Tensors keep their names, without a beginning that all have in common.
    """
    images = torch.zeros(EXAMPLE_BATCH, 3, image_size, image_size)
    with torch.no_grad():
        program = torch.export.export(
            module.eval(), (images,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
        )
    operations = (node.target for node in program.graph.nodes if isinstance(node.target, torch._ops.OpOverload))
    if any(operation._schema.is_mutable for operation in operations):
        program = program.run_decompositions({})  # without operations in place, which would all have to stay
    recorded = program.module(check_guards=False)
    graph = recorded.graph
    _untangle(graph)
    output = next(node for node in graph.nodes if node.op == "output")
    output.args = (output.args[0][0],) if isinstance(output.args[0], tuple | list) else output.args
    tensors = {node.target: _attribute(recorded, node.target) for node in graph.nodes if node.op == "get_attr"}
    parts = [name.split(".") for name in tensors]
    common = len(list(takewhile(lambda level: len(set(level)) == 1, zip(*(each[:-1] for each in parts), strict=False))))
    kept = {name: ".".join(name.split(".")[common:]) for name in tensors}
    for node in graph.nodes:
        if node.op == "get_attr":
            node.target = kept[node.target]
    graph.set_codegen(fx.graph.CodeGen())
    return fx.GraphModule({kept[name]: tensor for name, tensor in tensors.items()}, graph, "Network")


def _untangle(graph: fx.Graph) -> None:
    """Replace what is taken out of stacked tensors by the tensor itself, and remove what is not used then."""
    for node in list(graph.nodes):
        if node.target is operator.getitem and node.args[0].target is _ATEN.unbind.int:
            stacked, dim, index = node.args[0].args[0], _dim(node.args[0]), node.args[1]
        elif node.target is _ATEN.select.int:
            stacked, dim, index = node.args
        else:
            continue
        if stacked.target is _ATEN.stack.default and _dim(stacked) == dim:
            node.replace_all_uses_with(stacked.args[0][index])
    graph.eliminate_dead_code()


def _dim(node: fx.Node) -> object:
    """Return the dimension that ``stack`` or ``unbind`` was given."""
    return node.args[1] if len(node.args) > 1 else 0


def _attribute(module: nn.Module, name: str) -> Tensor:
    found: Tensor = operator.attrgetter(name)(module)
    return found


def top1_accuracy(network: Callable[[Tensor], Tensor], opened: OpenDataset, config: RunConfig) -> tuple[float, int]:
    """Return a network's top-1 accuracy in percent on the test images of a run, and their number."""
    correct = total = 0
    with torch.no_grad():
        for pending in RunImages(opened, config).test():
            batch = pending.batch()
            correct += int((network(batch.views[0]).argmax(dim=1) == batch.labels).sum())
            total += len(batch.labels)
    return 100 * correct / total, total
