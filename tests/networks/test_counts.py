"""Parameters, MACs, shapes and layer order of every network, against the authors' code; all on the meta device."""

import pytest
import torch
from golden.checker import is_layer
from golden.students import ENTRIES, NETWORKS, Student, identifier, single
from methods.build import method
from torch import nn

from okdbench import networks
from okdbench.networks import Branch, Branched, Single, Trunk
from okdbench.networks.base import count_parameters
from okdbench.networks.counting import CostCounter, count_cost, count_macs, weightless

# Published identifiers: parameters at 10 and at 100 classes, and millions of MACs at 100.
TABLE = {
    "resnet20": (272_474, 278_324, 40.8),
    "resnet32": (466_906, 472_756, 69.1),
    "resnet44": (661_338, 667_188, 97.4),
    "resnet56": (855_770, 861_620, 125.8),
    "resnet110_bottleneck": (1_147_738, 1_170_868, 167.5),
    "resnet110_basic": (1_730_714, 1_736_564, 253.2),
    "resnet164_bottleneck": (1_704_154, 1_727_284, 247.7),
    "wrn20_8_tv": (6_848_090, 6_871_220, 1022.8),
    "vgg16_mlp": (15_253_578, 15_299_748, 313.8),
    "densenet40_12_bc": (176_122, 188_092, 72.4),
    "densenet40_12_bc_nofinalbn": (175_858, 187_828, 72.4),
    "densenet40_12_bc_shared": (176_122, 188_092, 72.4),
    "densenet40_12_plain": (1_059_298, 1_100_428, 283.0),
    "googlenet_cifar": (6_166_250, 6_258_500, 1521.8),
    "vgg16_mlp_dropout": (15_253_578, 15_299_748, 313.8),
    "vgg16_dccl": (15_401_418, 15_447_588, 351.5),
    "vgg19_dccl": (20_861_514, 20_907_684, 474.2),
    "wrn16_2_bias": (692_810, 704_420, 129.4),
    "wrn40_2_bias": (2_246_474, 2_258_084, 355.9),
    "wrn16_2_dccl": (692_810, 704_420, 129.4),
    "wrn40_2_dccl": (2_246_474, 2_258_084, 355.9),
    "wrn28_10_bias": (36_489_290, 36_546_980, 5951.2),
    "wrn22_8_bias": (17_164_394, 17_210_564, 2907.1),
    "wrn28_10": (36_479_194, 36_536_884, 5243.4),
    "wrn28_10_dcm": (36_479_194, 36_536_884, 5243.4),
    "resnext29_2x64d": (9_130_314, 9_222_564, 1411.2),
    "resnext29_8x64d": (34_426_698, 34_518_948, 5387.4),
    "densenet190_40_bc": (25_624_430, 25_821_620, 9302.1),
    "mobilenet": (3_217_226, 3_309_476, 46.4),
    "mobilenet_dcm": (3_217_226, 3_309_476, 611.7),
}
# SwitOKD's code, with the classes of its experiments.
SWITOKD = [
    ("wrn16_1_bias", 10, 175_626),
    ("wrn16_8_bias", 10, 10_965_866),
    ("wrn16_2_switokd", 100, 704_420),
    ("wrn16_10_bias", 100, 17_179_940),
    ("mobilenetv2_05", 100, 812_836),
    ("mobilenet_switokd", 100, 3_309_476),
    ("tiny_mobilenetv2_14", 200, 4_674_376),
    ("tiny_resnet34_3x3", 200, 21_379_592),
]
# Millions of parameters that papers print, with the number of classes that they mean: without golden numbers, these
# are what the definitions rest on. MobileNet at 1000 classes: Howard et al., at 100: DML.
PRINTED = [
    ("resnext29_8x64d", 10, 34.4),
    ("densenet190_40_bc", 10, 25.6),
    ("mobilenet", 100, 3.3),
    ("mobilenet", 1000, 4.2),
    ("wrn28_10", 10, 36.5),
]
# At 1000 classes.
IMAGENET = {
    "imagenet_resnet18": (11_689_512, 1814.1),
    "imagenet_resnet34": (21_797_672, 3663.8),
    "imagenet_resnet50": (25_557_032, 4089.2),
    "imagenet_shufflenetv2_1": (2_278_604, 144.9),
}


@pytest.mark.parametrize("name", TABLE)
def test_plain_networks(name: str) -> None:
    at_10, at_100, mmac = TABLE[name]
    architecture = networks.get(name)
    assert count_cost(architecture, 10).single.parameters == at_10
    cost = count_cost(architecture, 100).single
    assert (cost.parameters, round(cost.macs / 1e6, 1)) == (at_100, mmac)


@pytest.mark.parametrize(("name", "classes", "millions"), PRINTED)
def test_sizes_that_papers_print(name: str, classes: int, millions: float) -> None:
    with weightless():
        assert round(parameters_of(networks.get(name).build(classes)) / 1e6, 1) == millions


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_networks(name: str) -> None:
    cost = count_cost(networks.get(name), 1000).single
    assert (cost.parameters, round(cost.macs / 1e6, 1)) == IMAGENET[name]


@pytest.mark.parametrize(("name", "parameters", "mmac"), [("18", 11_279_112, 563.4), ("34", 21_387_272, 1167.4)])
def test_tiny_networks(name: str, parameters: int, mmac: float) -> None:
    cost = count_cost(networks.get(f"tiny_resnet{name}"), 200).single
    assert (cost.parameters, round(cost.macs / 1e6, 1)) == (parameters, mmac)
    pooled = count_cost(networks.get(f"tiny_resnet{name}_maxpool"), 200).single
    assert pooled.parameters == parameters
    assert 0.25 < pooled.macs / cost.macs < 0.27


@pytest.mark.parametrize("entry", ENTRIES)
def test_counts_of_the_authors_code(entry: str) -> None:
    golden, (name, classes) = ENTRIES[entry], identifier(entry)
    cost = count_cost(networks.get(name), classes, golden["input_size"])
    counts = golden["params"]
    assert networks.get(name).image_size == golden["input_size"]
    assert cost.trunk == (counts["stem"], golden["macs_per_image"]["stem"])
    assert cost.branch == (counts["branch"], golden["macs_per_image"]["branch"])
    assert cost.single.parameters == counts["single"]
    with weightless():
        student = Student(name, classes)
    assert count_parameters(student.ensemble) == counts["ensemble_classifier"]
    assert count_parameters(student) == counts["student_3_branches"]


@pytest.mark.parametrize("entry", ENTRIES)
def test_layers_and_shapes_of_the_authors_code(entry: str) -> None:
    golden, (name, classes) = ENTRIES[entry], identifier(entry)
    with weightless():
        parts = networks.get(name).build(classes)
        trunk, branch = Trunk(parts, parts.split), Branch(parts, parts.split)
        images = torch.zeros(2, 3, golden["input_size"], golden["input_size"])
    map, layers = recorded(trunk, images)
    trace, private = recorded(branch, map)
    assert list(map.shape[1:]) == golden["stem_output"]
    assert parts.feature_dim == golden["feature_dim"]
    assert trace.features.shape == (2, parts.feature_dim)
    assert trace.logits.shape == (2, classes)
    assert layers == golden["stem_layers"]
    *body, pool, classifier = golden["branch_layers"]
    if pool[0] == "avgpool":  # our heads average without a module
        assert private == [*body, classifier]
    else:
        assert private == golden["branch_layers"]
    filled = {"stem": sum(is_listed(e) for e in layers), "branch": sum(is_listed(e) for e in private)}
    assert filled == {part: golden["num_filled_layers"][part] for part in filled}


@pytest.mark.parametrize("name", [n for n in networks.available() if n.startswith("tiny_resnet")])
def test_stage_maps_at_64_pixels(name: str) -> None:
    sides = {"maxpool": [16, 8, 4, 2], "3x3": [64, 32, 16, 8]}.get(name.rpartition("_")[2], [32, 16, 8, 4])
    taps = single_on_meta(name, 200).trace(torch.zeros(2, 3, 64, 64, device="meta")).taps
    assert [tuple(tap.shape[1:]) for tap in taps] == [(64 * 2**i, side, side) for i, side in enumerate(sides)]


@pytest.mark.parametrize("name", networks.available())
def test_channels_say_what_the_taps_are(name: str) -> None:
    architecture = networks.get(name)
    with weightless():
        parts = architecture.build(7)
        images = torch.zeros(2, 3, architecture.image_size, architecture.image_size)
    with CostCounter():
        trace = networks.Single(parts).trace(images)
    assert tuple(tap.shape[1] for tap in trace.taps) == parts.channels
    assert len(parts.stages) == len(parts.channels)
    assert 0 < parts.split < len(parts.stages)
    assert trace.features.shape == (2, parts.feature_dim)


# Where the OKDDip repository shares one dense block between branches, the counts that it means: own blocks.
OWN_BLOCKS = {"densenet40-12-10": (296_670, 356_944), "densenet40-12-100": (332_580, 404_824)}


@pytest.mark.parametrize("entry", NETWORKS["okddip_repository"]["nets"])
def test_several_branches_and_several_networks(entry: str) -> None:
    golden, (name, classes) = NETWORKS["okddip_repository"]["nets"][entry], identifier(entry)
    counts = golden["params"]
    with weightless():
        parts = [networks.get(name).build(classes) for _ in range(4)]
        many = {peers: count_parameters(Branched(parts[:peers])) for peers in (3, 4)}
    assert tuple(many.values()) == OWN_BLOCKS.get(entry, (counts["cl_3"], counts["cl_4"]))
    separate = [parameters_of(part) for part in parts]
    assert (sum(separate[:3]), sum(separate)) == (counts["dml_3"], counts["dml_4"])
    assert parts[0].channels[parts[0].split - 1] == golden["one_gate_input"]
    assert parts[0].feature_dim == golden["attention_dim"]


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("peers", [3, 4])
def test_the_block_that_the_okddip_repository_shares(classes: int, peers: int) -> None:
    golden = NETWORKS["okddip_repository"]["nets"][f"densenet40-12-{classes}"]["params"]
    labels = {
        "cl": ("cl@released", {}),
        "one": ("one", {}),
        "okddip_branch": ("okddip", {}),
        "okddip_network": ("okddip", {"sharing": "networks"}),
    }
    for entry, (label, settings) in labels.items():
        with weightless():
            m = method(label, "densenet40_12_bc_shared", classes, peers=peers, **settings)
        assert count_parameters(m) == golden[f"{entry}_{peers}"], entry


def test_macs_of_a_module_leave_it_alone() -> None:
    network = single("resnet8", 10)
    network.trunk.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    assert count_macs(network, 32) == count_cost(networks.get("resnet8"), 10).single.macs
    assert count_macs(network, 64) > 3 * count_macs(network, 32)
    assert network.branch.training
    assert not network.trunk.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_measuring_draws_nothing() -> None:
    state = torch.get_rng_state()
    count_cost(networks.get("vgg16_mlp"), 100)
    assert torch.equal(torch.get_rng_state(), state)


def single_on_meta(name: str, classes: int) -> networks.Single:
    with weightless():
        return single(name, classes)


def parameters_of(parts: networks.Parts) -> int:
    return count_parameters(parts.stem, *parts.stages, parts.head)


def is_listed(entry: list) -> bool:
    return entry[0] in ("conv", "bn", "linear")


def describe(layer: nn.Module) -> list | None:
    """The layer as networks.json writes it."""
    match layer:
        case nn.Conv2d():
            sizes = [layer.kernel_size[0], layer.stride[0], layer.padding[0]]
            return ["conv", layer.in_channels, layer.out_channels, *sizes, int(layer.bias is not None)]
        case nn.BatchNorm2d():
            return ["bn", layer.num_features]
        case nn.Linear():
            return ["linear", layer.in_features, layer.out_features, int(layer.bias is not None)]
        case nn.MaxPool2d():
            return ["maxpool", layer.kernel_size, layer.stride, layer.padding]
        case nn.AvgPool2d():
            return ["avgpool", layer.kernel_size, layer.stride, layer.padding]
    return None


def recorded(module: nn.Module, inputs: torch.Tensor) -> tuple:
    """The module's output and the described layers in the order in which they ran."""
    entries: list[list] = []
    for layer in module.modules():
        if is_layer(layer) or describe(layer):
            layer.register_forward_hook(lambda layer, *_: entries.append(describe(layer)))
    return module(inputs), entries


def test_shapes_worked_out_once_are_those_that_torch_finds() -> None:
    def step() -> list[tuple[object, ...]]:
        with torch.device("meta"):
            network = Single(networks.get("resnet8").build(10)).train()
            images, labels = torch.zeros(4, 3, 32, 32), torch.zeros(4, dtype=torch.long)
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        gradients = torch.autograd.grad(loss, [*network.parameters()], create_graph=True)
        second = torch.autograd.grad(sum(each.square().sum() for each in gradients), [*network.parameters()])
        columns = torch.zeros(1, 4, device="meta")
        found = [loss, *gradients, *second, *network.buffers(), columns.add_(1), columns.squeeze_(0)]
        return [(each.shape, each.stride(), each.dtype, each.device) for each in found]

    expected = step()
    for _ in range(2):
        with CostCounter():
            assert step() == expected


def test_tensors_that_hold_something_are_computed_as_ever() -> None:
    with CostCounter():
        assert [float(torch.tensor(value) + 1) for value in (1.0, 2.0)] == [2.0, 3.0]
        assert torch.zeros(2).add_(1).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("name", "classes", "parameters"), SWITOKD)
def test_parameters_of_switokd(name: str, classes: int, parameters: int) -> None:
    with weightless():
        assert count_parameters(Single(networks.get(name).build(classes))) == parameters
