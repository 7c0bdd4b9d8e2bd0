"""Shared modules of the fusion methods: sizes, and what the methods built from them weigh and cost."""

import pytest
import torch
from golden.checker import load
from methods.build import batch, method, progress
from torch import nn

from okdbench import networks
from okdbench.methods import Batch, Build, Method, Progress, configure, get
from okdbench.methods.parts.fusion import FusionModule, SelfDistillation, Upsample, separable_block
from okdbench.networks.base import count_parameters
from okdbench.networks.counting import CostCounter, MapShape, count_cost, network_shapes, weightless

GOLDEN = load("networks.json", "fusion")


def on_meta(label: str, network: str, classes: int = 100, **settings: object):
    with weightless():
        return method(label, network, classes, **settings)


@pytest.mark.parametrize(
    ("channels", "classes", "count"),
    [
        (16, 100, 2_596),
        (32, 100, 6_116),
        (64, 100, 16_228),
        (128, 100, 48_740),
        (456, 100, 472_516),
        (512, 100, 587_876),
        (512, 1000, 1_049_576),
        (640, 100, 898_660),
        (1024, 100, 2_224_228),
    ],
)
def test_parameters_of_the_fusion_module(channels: int, classes: int, count: int) -> None:
    assert count_parameters(FusionModule(channels, 2, classes)) == count


def test_fresh_weights_are_the_authors() -> None:
    torch.manual_seed(0)
    mix = FusionModule(256, 2, 10).mix
    assert mix[0].weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.05)
    assert mix[3].weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("resnet20", "resnet20"),
        ("resnet32", "resnet32"),
        ("wrn16_2_bias", "wrn_16_2"),
        ("densenet40_12_plain", "densenet40_12"),
        ("imagenet_resnet18", "resnet18_imagenet"),
    ],
)
def test_parameters_and_arithmetic_of_the_modules_of_ffsd(name: str, entry: str) -> None:
    golden = GOLDEN[f"ffsd/{entry}"]
    classes = 1000 if "imagenet" in name else 100
    m = on_meta("ffsd@released", name, classes)
    taps, last, _ = network_shapes(networks.get(name))
    assert [(shape.channels, shape.side) for shape in (*taps[:-1], last)] == [tuple(tap[:2]) for tap in golden["taps"]]
    assert count_parameters(m.leader) == golden["params"]
    assert count_parameters(m.leader, m.transfusion) == golden["params_leader_with_transfusion"]
    assert count_parameters(m.fusion) == golden["params_fusion_module"]
    assert [count_parameters(module) for module in m.distillers] == 2 * [golden["params_self_distillation"]]
    map = torch.zeros(1, *golden["taps"][-1], device="meta")
    with torch.no_grad(), CostCounter() as counted:
        pseudo = m.distillers[0](map)
    assert counted.without_gradient.macs == golden["self_distillation_macs"]
    assert [list(made.shape[1:]) for made in reversed(pseudo)] == golden["self_distillation_outputs"]
    for module, given, key in ((m.transfusion, map, "transfusion_macs"), (m.fusion, [map, map], "fusion_module_macs")):
        with torch.no_grad(), CostCounter() as counted:
            module(given)
        assert counted.without_gradient.macs == golden[key]


def test_the_modules_of_ffsd_on_googlenet() -> None:
    m = on_meta("ffsd@released", "googlenet_cifar")
    counts = [count_parameters(module) for module in (m.transfusion, m.fusion, m.distillers[0])]
    assert counts == [2_112_512, 2_224_228, 11_264_576]


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_pseudo_maps_have_the_size_of_the_map_that_they_stand_for(stride: int) -> None:
    assert Upsample(6, 3, stride)(torch.zeros(2, 6, 5, 5)).shape == (2, 3, 5 * stride, 5 * stride)


def test_running_statistics_stay_where_a_module_is_frozen() -> None:
    module = SelfDistillation([MapShape(2, 8), MapShape(4, 4), MapShape(8, 2)])
    map = torch.randn(4, 8, 2, 2, generator=torch.Generator().manual_seed(0))
    module(map)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    frozen = module(map, frozen=True)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    for made, want, other in zip(frozen, module.eval()(map), module.train()(map), strict=True):
        assert torch.equal(made, want)
        assert not torch.allclose(made, other)


@pytest.mark.parametrize(
    ("name", "joint"),
    [
        ("resnet20", 490_520),
        ("resnet32", 832_920),
        ("resnet44", 1_175_320),
        ("resnet56", 1_517_720),
        ("resnet110_basic", 3_058_520),
    ],
)
def test_parameters_of_ffl(name: str, joint: int) -> None:
    m = on_meta("ffl", name)
    assert count_parameters(m.network) == joint
    assert count_parameters(m) == joint + 16_228
    golden = GOLDEN.get(f"ffl/joint_{name}")
    if golden:
        assert joint == golden["params"]
        assert count_parameters(on_meta("ffl", name, 10).network) == golden["params_cifar10"]


def test_parameters_of_ffsd_while_it_trains() -> None:
    assert count_parameters(on_meta("ffsd@released", "resnet32")) == 1_489_920


@pytest.mark.parametrize(
    ("name", "joint", "projections", "ends"),
    [
        ("resnet20", 610_536, 26_944, False),
        ("resnet32", 999_400, 26_944, False),
        ("resnet56", 1_777_128, 26_944, False),
        ("resnet110_basic", 3_527_016, 26_944, False),
        ("wrn16_2_dccl", 1_623_624, 107_392, False),
        ("wrn40_2_dccl", 4_730_952, 107_392, False),
        ("wrn28_10_bias", 78_427_720, 2_666_880, False),
        ("vgg16_dccl", 48_378_788, 9_049_600, True),
        ("vgg19_dccl", 59_298_980, 9_049_600, True),
    ],
)
def test_parameters_of_dccl(name: str, joint: int, projections: int, ends: bool) -> None:
    m = on_meta("dccl", name, share_ends=ends)
    assert [count_parameters(module) for module in m.integrations] == 2 * [projections]
    assert count_parameters(m.network, m.integrations) == joint


@pytest.mark.parametrize("entry", ["resnet20", "resnet32", "wrn_16_2", "vgg16"])
def test_arithmetic_and_knowledge_of_dccl(entry: str) -> None:
    golden = GOLDEN[f"dccl/joint_{entry}"]
    name = {"wrn_16_2": "wrn16_2_dccl", "vgg16": "vgg16_dccl"}.get(entry, entry)
    m = on_meta("dccl", name, share_ends=entry == "vgg16")
    with torch.no_grad(), CostCounter() as counted:
        traces = m.eval().network([torch.zeros(1, 3, 32, 32, device="meta")])
        integrated = m.integrate(traces)
    assert counted.without_gradient.macs == golden["macs"]
    assert [map[0].numel() for map in integrated] == golden["integrated_knowledge_lengths"]
    assert count_parameters(m.fusion) == golden["params_fusion_module"]


def losses_on_meta(m: Method) -> dict[str, torch.Tensor]:
    """The losses of two images, without numbers."""
    with weightless():
        scalar = torch.zeros(())
        now = Progress(scalar, scalar, dict.fromkeys(m.schedule(0, 1), scalar))
        return m.losses(Batch((torch.zeros(2, 3, 32, 32),), torch.zeros(2, dtype=torch.long)), now)


def relative_cost(label: str, network: str, **settings: object) -> float:
    """Arithmetic of a training step over that of the plain network's; a backward pass costs two forward passes."""
    m = on_meta(label, network, **settings)
    with CostCounter() as counted:
        losses_on_meta(m)
    with weightless():
        plain = count_cost(networks.get(network), 100).single.macs
    return (3 * counted.with_gradient.macs + counted.without_gradient.macs) / (2 * 3 * plain)


@pytest.mark.parametrize(
    ("label", "network", "cost"),
    [
        ("ffl", "resnet20", 1.34),
        ("ffl", "resnet32", 1.33),
        ("ffl", "resnet56", 1.33),
        ("ffsd@released", "resnet20", 3.18),
        ("ffsd@released", "resnet32", 3.11),
        ("ffsd@released", "resnet56", 3.06),
        ("ffsd@released", "wrn16_2_bias", 3.23),
        ("ffsd@released", "densenet40_12_plain", 5.10),
        ("ffsd@released", "googlenet_cifar", 5.65),
        ("dccl", "resnet20", 2.12),
        ("dccl", "resnet32", 2.07),
        ("dccl", "resnet56", 2.04),
        ("dccl", "wrn16_2_dccl", 2.15),
        ("dccl", "wrn40_2_dccl", 2.05),
        ("layer-fusion", "resnet32", 2.03),
    ],
)
def test_costs(label: str, network: str, cost: float) -> None:
    assert relative_cost(label, network) == pytest.approx(cost, abs=0.006)


def test_parameters_of_layer_fusion() -> None:
    m = on_meta("layer-fusion", "resnet32")
    assert [count_parameters(module) for module in m.fusions] == [2_596, 6_116, 16_228]
    assert count_parameters(m.network) == 2 * 472_756


def test_separable_keeps_the_size() -> None:
    module = separable_block(6, 12)
    assert module(torch.zeros(2, 6, 5, 5)).shape == (2, 12, 5, 5)
    assert isinstance(module[0], nn.Conv2d)
    assert module[0].groups == 6


@pytest.mark.parametrize("name", ["ffl", "ffsd", "dccl", "layer-fusion"])
def test_last_maps_are_fused_as_the_head_pools_them(name: str) -> None:
    m = method(name, "wrn16_2").eval()
    images = batch(count=2).views[0]
    network, module = (m.students, m.fusion) if name == "ffsd" else (m.network, getattr(m, "fusion", None))
    module = module or m.fusions[-1]
    traces = network([images])
    assert all((trace.taps[-1] < 0).any() and not (trace.final < 0).any() for trace in traces)
    want = module([trace.final for trace in traces]).logits
    assert torch.allclose(m.predict(images)["fused"], want, atol=1e-5)
    given = []
    module.register_forward_pre_hook(lambda _, maps: given.extend(maps[0]))
    m.losses(Batch((images,), torch.tensor([1, 2])), progress(m))
    assert all(torch.equal(map, trace.final) for map, trace in zip(given, traces, strict=True))


@pytest.mark.parametrize("name", ["ffl", "ffsd", "dccl", "layer-fusion"])
def test_the_neck_may_change_the_channels(name: str) -> None:
    m = on_meta(name, "shufflenetv2_05")
    assert "ce_fused" in losses_on_meta(m)
    fusion = m.fusions[-1] if name == "layer-fusion" else m.fusion
    assert fusion.classifier.in_features == 1024
    if name == "ffsd":
        assert all(module.steps[0].convolution.in_channels == 1024 for module in m.distillers)


@pytest.mark.parametrize(
    ("name", "settings"), [("ffl", {"sharing": "networks"}), ("dccl", {}), ("layer-fusion", {})], ids=str
)
def test_networks_of_a_pair_must_have_maps_of_one_shape(name: str, settings: dict) -> None:
    m = pair(name, "resnet8", "resnet20", **settings)
    counts = [count_parameters(network) for network in m.network.networks]
    assert counts == [count_parameters(method("baseline", network)) for network in ("resnet8", "resnet20")]
    assert all(term.isfinite() for term in m.losses(batch(), progress(m)).values())
    with pytest.raises(ValueError, match=r"puts maps of one shape together; those of resnet8\+wrn16_2 differ"):
        pair(name, "resnet8", "wrn16_2", **settings)


def pair(name: str, *networks_: str, **settings: object) -> Method:
    architectures = [networks.get(network) for network in networks_]
    return get(name)(Build(architectures, 10, seed=0), configure(name, settings)).train()


@pytest.mark.parametrize(("name", "settings"), [("ffl", {}), ("ffsd", {}), ("dccl", {"share_ends": True})], ids=str)
def test_what_shares_or_exchanges_roles_is_of_one_network(name: str, settings: dict) -> None:
    with pytest.raises(ValueError, match=r"cannot be trained as the pair resnet8\+resnet20"):
        pair(name, "resnet8", "resnet20", **settings)
