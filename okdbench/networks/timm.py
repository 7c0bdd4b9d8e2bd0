"""Any network of the timm package whose modules follow one another, as ``timm/<name>``, split at its last stage.

timm is an optional extra and is imported only when such a name is asked for. Its models describe their stages in
``feature_info``; one pass with hooks shows which modules run, in which order, and that each takes the output of the one
before, so that running them in that order is the same network.
"""

import importlib
from collections.abc import Iterable
from functools import cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from okdbench.errors import UsageError, did_you_mean, needs_extra
from okdbench.networks.base import Architecture, ClassifierHead, Parts

TIMM_PREFIX = "timm/"


class TimmHead(ClassifierHead):
    """The end of a timm model: ``neck``, then the model's own pooling, then its classifier."""

    def __init__(self, classifier: nn.Linear, neck: nn.Module, pooling: Any) -> None:
        super().__init__(classifier, classifier.in_features, neck)
        self.pooling = pooling

    def features(self, final: Tensor) -> Tensor:
        """Return the input of the classifier [B, D]."""
        return self.pooling.forward_head(final)  # type: ignore[no-any-return]


class RecordedModule(NamedTuple):
    """One module that `forward_features` ran, with its inputs and its output."""

    name: str
    module: nn.Module
    inputs: tuple[Any, ...]
    output: Any


def architecture(name: str) -> Architecture:
    """Return the architecture ``timm/<name>``; raise UsageError if timm is not installed or has no such model."""
    library = _timm()
    model = name.removeprefix(TIMM_PREFIX)
    if not library.is_model(model):
        raise UsageError(f'unknown network "{name}": timm: {did_you_mean(model, library.list_models())}')
    configuration = library.get_pretrained_cfg(model)
    size = configuration.input_size[-1] if configuration else 224
    _require_stages(model, size)
    return Architecture(name, model, partial(build, model=model, image_size=size), image_size=size)


@cache
def _require_stages(model: str, image_size: int) -> None:
    """Raise UsageError if the model cannot be split, found out without weights."""
    from okdbench.networks.counting import weightless

    with weightless():
        build(2, model=model, image_size=image_size)


def build(classes: int, *, model: str, image_size: int) -> Parts:
    """Return the model in pieces; raise UsageError if its modules are not a plain sequence."""
    network = _timm().create_model(model, pretrained=False, num_classes=classes)
    classifier = network.get_classifier()
    ends = {info["module"]: info["num_chs"] for info in getattr(network, "feature_info", ())}
    steps = _run(network, set(ends), image_size) if len(ends) > 1 else []
    if not isinstance(classifier, nn.Linear) or len(ends) < 2 or not _sequential(steps, ends):
        raise UsageError(
            f'network "{TIMM_PREFIX}{model}": cannot be split into stages; take one whose modules follow one another, '
            "for instance timm/resnet18"
        )
    *stages, tail = _grouped(steps, set(ends))
    network.reset_classifier(0)
    for step in steps:
        top = step.name.partition(".")[0]
        if hasattr(network, top):
            delattr(network, top)
    head = TimmHead(classifier, nn.Sequential(*(step.module for step in tail)), network)
    stem, *rest = (nn.Sequential(*(step.module for step in group)) for group in stages)
    return Parts(stem, list(rest), head, split=len(rest) - 1, channels=tuple(g[-1].output.shape[1] for g in stages[1:]))


def _timm() -> Any:
    importlib.import_module(
        "okdbench.torchvision_shim"
    )  # timm imports torchvision: let it load beside a CPU build of torch
    try:
        return importlib.import_module("timm")
    except ImportError:
        raise needs_extra(f'networks named "{TIMM_PREFIX}..."', "timm", "timm") from None


def _units(module: nn.Module, ends: Iterable[str], prefix: str = "") -> Iterable[tuple[str, nn.Module]]:
    """Return the modules that run in sequence: children, and the children of sequences with a stage's end."""
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if isinstance(child, nn.Sequential) and any(end.startswith(f"{path}.") for end in ends):
            yield from _units(child, ends, f"{path}.")
        else:
            yield path, child


def _run(network: Any, ends: set[str], image_size: int) -> list[RecordedModule]:
    """Run ``forward_features`` on one empty image; return its steps. Mode and buffers stay as they are."""
    steps = list[RecordedModule]()
    hooks = []
    for name, module in _units(network, ends):

        def record(module: nn.Module, inputs: tuple[Any, ...], output: Any, name: str = name) -> None:
            steps.append(RecordedModule(name, module, inputs, output))

        hooks.append(module.register_forward_hook(record))
    like = next(network.parameters())
    network.eval()
    with torch.no_grad():
        network.forward_features(torch.zeros(1, 3, image_size, image_size, device=like.device, dtype=like.dtype))
    network.train()
    for hook in hooks:
        hook.remove()
    return steps


def _sequential(steps: list[RecordedModule], ends: dict[str, int]) -> bool:
    """Return whether every unit ran once, on the last one's output alone, and stages end in [B, C, H, W]."""
    chained = all(len(b.inputs) == 1 and b.inputs[0] is a.output for a, b in pairwise(steps))
    names = [step.name for step in steps]
    maps = all(
        isinstance(step.output, Tensor) and step.output.dim() == 4 and step.output.shape[1] == ends[step.name]
        for step in steps
        if step.name in ends
    )
    return chained and maps and len(set(names)) == len(names) and set(ends) <= set(names)


def _grouped(steps: list[RecordedModule], ends: set[str]) -> list[list[RecordedModule]]:
    """Return the steps up to and including each stage's end, then the rest (the head's neck, perhaps empty).

    A stage without parameters (a pool) belongs to the one before, so that a branch always has weights of its own.
    """
    groups: list[list[RecordedModule]] = [[]]
    for step in steps:
        groups[-1].append(step)
        if step.name in ends:
            groups.append([])
    *stages, tail = groups
    joined = stages[:1]
    for group in stages[1:]:
        if any(True for step in group for _ in step.module.parameters()):
            joined.append(group)
        else:
            joined[-1].extend(group)
    return [*joined, tail]
