"""Counts, layer order and taps of the networks of FFL, FFSD, DCCL, MCL and L-MCL against the authors' code."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from golden.checker import load
from golden.students import single
from torch import Tensor, nn

from okdbench import networks
from okdbench.networks import Branch, Branched, Single, Trace
from okdbench.networks.base import count_parameters
from okdbench.networks.counting import CostCounter, count_cost, weightless

GOLDEN = load("networks.json", "fusion")

SINGLE = {
    "ffl/resnet20": "resnet20",
    "ffl/resnet32": "resnet32",
    "ffsd/resnet20": "resnet20",
    "ffsd/resnet32": "resnet32",
    "ffsd/wrn_16_2": "wrn16_2_bias",
    "ffsd/densenet40_12": "densenet40_12_plain",
    "ffsd/resnet18_imagenet": "imagenet_resnet18",
    "mcl/resnet32": "resnet32",
    "mcl/resnet110": "resnet110_bottleneck",
    "mcl/wrn_16_2": "wrn16_2",
    "mcl/wrn_28_4": "wrn28_4",
    "mcl/ShuffleNetV2_05x": "shufflenetv2_05",
    "mcl/hcgnet_A1": "hcgnet_a1",
    "mcl/resnet18_imagenet": "imagenet_resnet18",
}
MCL = {entry: name for entry, name in SINGLE.items() if entry.startswith("mcl/")}
LMCL = {
    "lmcl/resnet32": "resnet32",
    "lmcl/wrn_16_2": "wrn16_2",
    "lmcl/wrn_28_4": "wrn28_4",
    "lmcl/ShuffleNetV2_05x": "shufflenetv2_05",
    "lmcl/hcgnet_A1": "hcgnet_a1",
}
PAIRS = {
    "lmcl/pair_res32_res110": "resnet32+resnet110_bottleneck",
    "lmcl/pair_res56_res110": "resnet56+resnet110_bottleneck",
    "lmcl/pair_shufflev2_wrn_40_2": "shufflenetv2_1+wrn40_2",
    "lmcl/pair_wrn_16_2_wrn_40_2": "wrn16_2+wrn40_2",
    "lmcl/pair_wrn_40_2_wrn_28_4": "wrn40_2+wrn28_4",
}
DCCL = {
    "dccl/joint_resnet20": "resnet20",
    "dccl/joint_resnet32": "resnet32",
    "dccl/joint_vgg16": "vgg16_dccl",
    "dccl/joint_wrn_16_2": "wrn16_2_dccl",
}
JOINT = {"ffl/joint_resnet20": "resnet20", "ffl/joint_resnet32": "resnet32"}

# Published counts at 100 classes that the golden data lack: one network, four MCL branches, one network with the
# auxiliary exits of L-MCL, the width of the penultimate feature, and millions of MACs of the four branches.
MUTUAL_CONTRASTIVE = {
    "resnet56": (861_620, 3_318_944, 2_336_828, 64, 374.3),
    "resnet110_bottleneck": (1_170_868, 4_517_344, 3_181_948, 256, 507.3),
    "wrn40_2": (2_255_156, 8_697_632, 6_122_684, 128, 982.0),
    "shufflenetv2_1": (1_356_104, 5_331_752, 3_762_356, 1024, 153.2),
    "hcgnet_a2": (3_133_679, 11_169_209, 7_248_225, 716, 1215.4),
}
FFL = {
    "resnet44": (1_175_320, 129.4),
    "resnet56": (1_517_720, 167.2),
    "resnet110_basic": (3_058_520, 337.0),
}


class Exits(nn.Module):
    """A network with an auxiliary exit after each stage but the last: the other stages and the head once more."""

    def __init__(self, name: str, classes: int) -> None:
        super().__init__()
        architecture = networks.get(name)
        self.backbone = Single(architecture.build(classes))
        stages = len(self.backbone.trunk.stages) + len(self.backbone.branch.stages)
        self.exits = nn.ModuleList(Branch(architecture.build(classes), at) for at in range(1, stages))

    def forward(self, images: Tensor) -> list[Trace]:
        """Traces of the backbone and of each exit."""
        trace = self.backbone.trace(images)
        return [trace, *(exit(tap) for exit, tap in zip(self.exits, trace.taps[:-1], strict=True))]


def branched(name: str, peers: int, classes: int, shared: Callable[[int], int]) -> Branched:
    """Branches that share a number of stages which depends on how many there are."""
    parts = [networks.get(name).build(classes) for _ in range(peers)]
    return Branched(parts, split=shared(len(parts[0].stages)))


def but_two(stages: int) -> int:
    """Stages that MCL shares: all but the last two, of three as of four."""
    return stages - 2


def classes_of(entry: str) -> int:
    return 1000 if entry.endswith("_imagenet") else 100


def images(name: str, count: int = 2) -> Tensor:
    side = networks.get(name).image_size
    return torch.zeros(count, 3, side, side, device="meta")


def macs_of(module: nn.Module, *inputs: Any) -> int:
    """MACs per image."""
    with torch.no_grad(), CostCounter() as counted:
        module.eval()(*inputs)
    return counted.without_gradient.macs // 2


@pytest.fixture(autouse=True)
def quick_shapes() -> Iterator[None]:
    with CostCounter():
        yield


def shape(map: Tensor) -> list[int]:
    return list(map.shape[1:])


def executed(module: nn.Module, *inputs: Any) -> list[nn.Module]:
    """Convolutions, batch normalisations and linear layers in the order in which they first ran."""
    order: list[nn.Module] = []
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            layer.register_forward_hook(lambda layer, *_: order.append(layer) if layer not in order else None)
    module(*inputs)
    return order


def describe(layer: nn.Module) -> list:
    """The layer as networks.json writes it."""
    match layer:
        case nn.Conv2d():
            sizes = [layer.kernel_size[0], layer.stride[0], layer.padding[0], layer.groups]
            return ["conv", layer.in_channels, layer.out_channels, *sizes]
        case nn.BatchNorm2d():
            return ["bn", layer.num_features]
    return ["linear", layer.in_features, layer.out_features]


def check_layers(golden: dict, order: list[nn.Module]) -> None:
    assert [describe(layer) for layer in order] == golden["layers"]
    at = list(enumerate(order))
    affine = nn.Conv2d | nn.Linear
    assert [i for i, layer in at if isinstance(layer, affine) and layer.bias is not None] == golden["layers_with_bias"]
    dilated = [[i, conv.dilation[0]] for i, conv in at if isinstance(conv, nn.Conv2d) and conv.dilation[0] > 1]
    assert dilated == golden.get("dilated_layers", [])
    momentum = [[i, norm.momentum] for i, norm in at if isinstance(norm, nn.BatchNorm2d) and norm.momentum != 0.1]
    assert momentum == golden.get("bn_momentum", [])


@pytest.mark.parametrize("entry", SINGLE)
def test_one_network(entry: str) -> None:
    golden, name = GOLDEN[entry], SINGLE[entry]
    assert [3, *[networks.get(name).image_size] * 2] == golden["input"]
    assert count_cost(networks.get(name), classes_of(entry)).single == (golden["params"], golden["macs"])
    if "params_cifar10" in golden:
        assert count_cost(networks.get(name), 10).single.parameters == golden["params_cifar10"]
    with weightless():
        network = single(name, classes_of(entry))
    check_layers(golden, executed(network, images(name)))


@pytest.mark.parametrize("entry", [entry for entry in SINGLE if entry.startswith("ffsd/")])
def test_taps_of_ffsd(entry: str) -> None:
    with weightless():
        trace = single(SINGLE[entry], classes_of(entry)).trace(images(SINGLE[entry]))
    assert [shape(map) for map in (*trace.taps[:-1], trace.final)] == GOLDEN[entry]["taps"]


@pytest.mark.parametrize("entry", JOINT)
def test_two_students_of_ffl(entry: str) -> None:
    golden = GOLDEN[entry]
    with weightless():
        students = branched(JOINT[entry], 2, 100, lambda stages: stages - 1)
    assert count_parameters(students) == golden["params"]
    assert macs_of(students, [images(JOINT[entry])]) == golden["macs"]
    layers = [describe(layer) for layer in executed(students, [images(JOINT[entry])])]
    assert sorted(layers, key=str) == sorted(golden["layers"], key=str)  # the authors' classifiers run last
    assert [shape(trace.final) for trace in students([images(JOINT[entry])])] == golden["taps"]


@pytest.mark.parametrize("name", FFL)
def test_published_counts_of_ffl(name: str) -> None:
    with weightless():
        students = branched(name, 2, 100, lambda stages: stages - 1)
    mmac = macs_of(students, [images(name)]) / 1e6
    assert (count_parameters(students), round(mmac, 1)) == FFL[name]


@pytest.mark.parametrize("entry", MCL)
def test_networks_of_mcl(entry: str) -> None:
    golden, name = GOLDEN[entry], MCL[entry]
    with weightless():
        four = branched(name, 4, classes_of(entry), but_two)
        one = single(name, classes_of(entry))
    assert 2 * count_parameters(one) == golden["params_x2"]
    assert one.branch.head.feature_dim == golden["embedding_dim"]
    assert count_parameters(four) == golden["params_x4"]
    if "macs_x4" in golden:
        assert macs_of(four, [images(name)]) == golden["macs_x4"]
    if "layers_x4" in golden:
        assert [describe(layer) for layer in executed(four, [images(name)])] == golden["layers_x4"]


@pytest.mark.parametrize("entry", LMCL)
def test_auxiliary_exits_of_lmcl(entry: str) -> None:
    golden, name = GOLDEN[entry], LMCL[entry]
    with weightless():
        network = Exits(name, 100)
    assert count_parameters(network) == golden["params"]
    assert 2 * golden["params"] == golden["params_pair"]
    assert macs_of(network, images(name)) == golden["macs"]
    traces = network(images(name))
    assert [trace.features.shape[1] for trace in traces] == golden["exit_embedding_dims"]
    assert [trace.logits.shape[1] for trace in traces] == golden["exit_logits"]
    assert [shape(tap) for tap in traces[0].taps[:-1]] == golden["taps_feeding_auxiliary_branches"]
    assert count_cost(networks.get(name), 100).single == (golden["params_plain_single"], golden["macs_plain_single"])
    if "layers" in golden:
        check_layers(golden, executed(network, images(name)))


@pytest.mark.parametrize("name", networks.available())
def test_every_network_can_have_auxiliary_exits(name: str) -> None:
    with weightless():
        network = Exits(name, 7)
    backbone, *exits = network(images(name))
    assert len(exits) == len(backbone.taps) - 1
    assert all(trace.final.shape == backbone.final.shape for trace in exits)
    assert all(trace.features.shape == backbone.features.shape for trace in exits)
    assert all(trace.logits.shape == (2, 7) for trace in exits)


@pytest.mark.parametrize("entry", PAIRS)
def test_pairs_of_lmcl(entry: str) -> None:
    golden, names = GOLDEN[entry], PAIRS[entry].split("+")
    with weightless():
        pair = [Exits(name, 100) for name in names]
    assert sum(count_parameters(network) for network in pair) == golden["params"]
    assert sum(macs_of(network, images(name)) for network, name in zip(pair, names, strict=True)) == golden["macs"]
    traces = [network(images(name)) for network, name in zip(pair, names, strict=True)]
    assert [[t.features.shape[1] for t in each] for each in traces] == golden["exit_embedding_dims"]


@pytest.mark.parametrize("name", MUTUAL_CONTRASTIVE)
def test_published_counts_of_mcl_and_lmcl(name: str) -> None:
    with weightless():
        one, four, exits = single(name, 100), branched(name, 4, 100, but_two), Exits(name, 100)
    counts = [count_parameters(network) for network in (one, four, exits)]
    mmac = macs_of(four, [images(name)]) / 1e6
    assert (*counts, one.branch.head.feature_dim, round(mmac, 1)) == MUTUAL_CONTRASTIVE[name]


@pytest.mark.parametrize("entry", DCCL)
def test_students_of_dccl(entry: str) -> None:
    golden, name = GOLDEN[entry], DCCL[entry]
    with weightless():
        parts = networks.get(name).build(100)
        trace = Single(parts).trace(images(name))
    assert [shape(tap) for tap in trace.taps] == golden["taps"]
    assert shape(trace.final) == golden["last_maps"][0]
    assert [tap[0].numel() for tap in trace.taps] == golden["integrated_knowledge_lengths"]
    assert count_parameters(*parts.stages) == golden["params_backbone_stages_per_student"]
    assert count_parameters(parts.stem, *parts.stages, parts.head) == golden["params_single_student"]


@pytest.mark.parametrize("entry", DCCL)
def test_layers_of_dccl(entry: str) -> None:
    """Those of one student, in order, among those of two students and their projections."""
    with weightless():
        network = single(DCCL[entry], 100)
    remaining = iter(GOLDEN[entry]["layers"])
    assert all(describe(layer) in remaining for layer in executed(network, images(DCCL[entry])))
    momenta = {norm.momentum for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)}
    assert momenta == {0.1}
    assert "bn_momentum" not in GOLDEN[entry]
