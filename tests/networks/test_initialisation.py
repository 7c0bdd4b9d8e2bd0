"""Initial weights (keyed, distributed and copied as the authors do) and what splitting keeps."""

import math

import pytest
import torch
from torch import Tensor, nn

from okdbench import networks
from okdbench.networks import Branched, Parts, Single
from okdbench.networks.base import count_parameters
from okdbench.networks.counting import weightless
from okdbench.seeds import seeded

SMALL = ["densenet40_12_bc", "densenet40_12_bc_nofinalbn", "resnet8", "resnet32", "resnet110_bottleneck"]
SMALL += ["densenet40_12_bc_shared", "hcgnet_a1", "shufflenetv2_05", "wrn16_2", "wrn16_2_bias", "mobilenet"]
EVERY = networks.available()


def keyed(name: str, seed: int, index: int = 0, classes: int = 10) -> Parts:
    with seeded(seed, "init", index):
        return networks.get(name).build(classes)


def weights(parts: Parts) -> list[Tensor]:
    return [p for module in (parts.stem, *parts.stages, parts.head) for p in module.parameters()]


@pytest.mark.parametrize("name", [*SMALL, "vgg16_mlp", "imagenet_resnet18"])
def test_weights_are_keyed_and_leave_the_global_generator_alone(name: str) -> None:
    state = torch.get_rng_state()
    first, again, other = weights(keyed(name, 1)), weights(keyed(name, 1)), weights(keyed(name, 1, index=1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    torch.manual_seed(12345)  # whatever state the program is in
    assert all(torch.equal(a, b) for a, b in zip(first, weights(keyed(name, 1)), strict=True))


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", EVERY)
def test_single_is_each_branch_on_the_stem(name: str) -> None:
    side = networks.get(name).image_size
    branched = Branched([keyed(name, 0, index) for index in range(2)]).eval()
    singles = []
    for branch in branched.branches:
        with weightless():
            plain = Single(networks.get(name).build(10)).eval()
        plain.trunk, plain.branch = branched.trunk, branch
        singles.append(plain)
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    map = branched.trunk(images)
    shared = branched([images])
    for single, branch, trace in zip(singles, branched.branches, shared, strict=True):
        assert torch.equal(single(images), branch(map).logits)
        assert torch.equal(single(images), trace.logits)


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_every_split_is_the_same_network(name: str) -> None:
    parts = keyed(name, 0)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    whole = Single(parts).eval()(images)
    for split in range(len(parts.stages) + 1):
        branched = Branched([parts], split=split).eval()
        assert torch.equal(branched([images])[0].logits, whole)


@pytest.mark.parametrize("name", EVERY)
def test_branches_own_their_weights(name: str) -> None:
    with weightless():
        parts = [networks.get(name).build(10) for _ in range(3)]
        branched = Branched(parts)
    branch = branched.branches[0]
    once = count_parameters(branched.trunk)
    if parts[0].shared_stages:
        assert count_parameters(branched) == once + count_parameters(branch.stages) + 3 * count_parameters(branch.head)
    else:
        assert count_parameters(branched) == once + 3 * count_parameters(branch)


@pytest.mark.parametrize("name", ["resnet32", "densenet40_12_bc", "resnet110_bottleneck", "vgg16_mlp"])
def test_classifiers_of_branches_start_as_the_authors(name: str) -> None:
    parts = [keyed(name, 0, index) for index in range(3)]
    first, second, third = (branch.head.classifier for branch in Branched(parts).branches)
    same = name != "vgg16_mlp"
    for other in (second, third):
        pairs = list(zip(first.parameters(), other.parameters(), strict=True))
        assert all(torch.equal(a, b) == (same or a.dim() == 1) for a, b in pairs)
        assert not any(a is b for a, b in pairs)
    convolutions = [
        next(m for m in branch.stages.modules() if isinstance(m, nn.Conv2d)) for branch in Branched(parts).branches
    ]
    assert not torch.equal(convolutions[0].weight, convolutions[1].weight)


@pytest.mark.parametrize("name", ["resnet32", "vgg16_mlp"])
@pytest.mark.parametrize("classifiers", ["identical", "independent"])
def test_classifiers_of_branches_on_request(name: str, classifiers: str) -> None:
    branched = Branched([keyed(name, 0, index) for index in range(2)], classifiers=classifiers)
    first, second = (next(branch.head.classifier.parameters()) for branch in branched.branches)
    assert torch.equal(first, second) == (classifiers == "identical")


KAIMING = ["resnet32", "wrn20_8_tv", "vgg16_mlp", "densenet40_12_bc", "tiny_resnet18", "densenet40_12_plain"]
KAIMING += ["googlenet_cifar", "wrn16_2", "wrn16_2_bias", "vgg16_dccl", "imagenet_resnet18", "resnext29_2x64d"]
KAIMING += ["mobilenet", "densenet190_40_bc"]


@pytest.mark.parametrize("name", KAIMING)
def test_convolutions_are_kaiming_normal(name: str) -> None:
    convolutions = large_convolutions(name)
    assert convolutions
    for convolution in convolutions:
        side = convolution.weight.shape[1 if name.endswith("_bc") else 0]
        wanted = math.sqrt(2 / (side * convolution.weight[0, 0].numel()))
        assert convolution.weight.std().item() == pytest.approx(wanted, rel=0.05)
    for module in modules(keyed(name, 0)):
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all())
            assert bool((module.bias == 0).all())


@pytest.mark.parametrize("name", ["hcgnet_a2", "shufflenetv2_1", "wrn16_2_dccl", "imagenet_shufflenetv2_1"])
def test_convolutions_are_as_torch_draws_them(name: str) -> None:
    convolutions = large_convolutions(name)
    assert convolutions
    for convolution in convolutions:
        bound = 1 / math.sqrt(convolution.weight[0].numel())
        assert convolution.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert convolution.weight.abs().max().item() <= bound


@pytest.mark.parametrize(
    ("name", "zero"), [("wrn16_2", True), ("wrn16_2_bias", False), ("densenet40_12_plain", False), ("hcgnet_a1", False)]
)
def test_bias_of_the_classifier(name: str, zero: bool) -> None:
    assert bool((keyed(name, 0).head.classifier.bias == 0).all()) == zero


def large_convolutions(name: str) -> list[nn.Conv2d]:
    return [m for m in modules(keyed(name, 0)) if isinstance(m, nn.Conv2d) and m.weight.numel() > 4_000]


def test_densenet_and_vgg_set_their_linear_layers() -> None:
    assert bool((keyed("densenet40_12_bc", 0).head.classifier.bias == 0).all())
    for module in modules(keyed("vgg16_mlp", 0)):
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert bool((module.bias == 0).all())
        if isinstance(module, nn.Linear) and module.out_features == 512:
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_every_parameter(name: str) -> None:
    network = Single(keyed(name, 0))
    network(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


def test_vgg_feature_is_the_flattened_map() -> None:
    network = Single(keyed("vgg16_mlp", 0)).eval()
    with torch.no_grad():
        trace = network.trace(torch.zeros(2, 3, 32, 32))
    assert trace.taps[-1].shape == (2, 512, 1, 1)
    assert torch.equal(trace.features, trace.taps[-1].flatten(1))


def modules(parts: Parts) -> list[nn.Module]:
    return [m for part in (parts.stem, *parts.stages, parts.head) for m in part.modules()]


@pytest.mark.parametrize("network", ["vgg16_mlp", "densenet40_12_bc"])
def test_a_layer_that_a_method_adds_starts_as_the_authors_start_it(network: str) -> None:
    parts = networks.get(network).build(10)
    layer = torch.nn.Linear(300, 10)
    parts.initialise(layer)
    assert not layer.bias.any()
    if network == "vgg16_mlp":
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.1)
