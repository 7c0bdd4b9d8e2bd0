"""Networks of the timm package, where it is installed."""

import sys

import pytest
import torch

from okdbench import networks
from okdbench.errors import UsageError
from okdbench.networks import Branched, Single
from okdbench.networks.counting import count_cost
from okdbench.seeds import seeded

LARGE = pytest.param("vgg11_bn", marks=pytest.mark.slow)
MODELS = ["resnet18", "convnext_atto", "densenet121", "efficientnet_b0", "mobilenetv3_small_050", LARGE]


def test_without_timm_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"needs the package timm: pip install 'timm>=.*'$"):
        networks.get("timm/resnet18")


def test_timm_networks_are_not_listed() -> None:
    assert not any(name.startswith("timm/") for name in networks.available())


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_pieces_are_the_same_network(name: str) -> None:
    timm = pytest.importorskip("timm")
    architecture = networks.get(f"timm/{name}")
    with seeded(0, "init"):
        whole = timm.create_model(name, num_classes=10).eval()
    with seeded(0, "init"):
        parts = architecture.build(10)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    trace = Single(parts).eval().trace(images)
    assert torch.equal(trace.logits, whole(images))
    assert trace.features.shape == (2, parts.feature_dim)
    assert tuple(tap.shape[1] for tap in trace.taps) == parts.channels
    assert parts.split == len(parts.stages) - 1
    assert count_cost(architecture, 10).single.parameters == sum(p.numel() for p in whole.parameters())


def test_branches_share_all_but_the_last_stage() -> None:
    timm = pytest.importorskip("timm")
    whole = timm.create_model("resnet18", num_classes=10)
    last = sum(p.numel() for module in (whole.layer4, whole.fc) for p in module.parameters())
    cost = count_cost(networks.get("timm/resnet18"), 10)
    assert cost.branch.parameters == last
    parts = [networks.get("timm/resnet18").build(10) for _ in range(2)]
    traces = Branched(parts)([torch.zeros(2, 3, 32, 32)])
    assert [trace.logits.shape for trace in traces] == [(2, 10), (2, 10)]


def test_unknown_and_unsplittable_models() -> None:
    pytest.importorskip("timm")
    with pytest.raises(UsageError, match='did you mean "resnet18"'):
        networks.get("timm/resnet18x")
    with pytest.raises(UsageError, match="cannot be split into stages"):
        networks.get("timm/vit_tiny_patch16_224").build(10)
