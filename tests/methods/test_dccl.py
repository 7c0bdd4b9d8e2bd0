"""DCCL: integrated maps, their losses, what is shared, where gradients go."""

import pytest
import torch
from methods.build import batch, method, progress
from torch import nn
from torch.nn.functional import kl_div

from okdbench.methods.parts.losses import distillation
from okdbench.networks.counting import weightless


@pytest.fixture
def view() -> torch.Tensor:
    return batch().views[0]


def test_maps_are_integrated_from_all_shallower_ones(view: torch.Tensor) -> None:
    m = method("dccl")
    traces = m.network([view])
    integrated = m.integrate(traces)
    assert [map.flatten(2).shape[2] for map in integrated] == [16_384, 8_192, 4_096]
    assert torch.equal(integrated[0][1], traces[1].taps[0])
    one, two, three = traces[1].taps
    from_one, from_two = m.integrations[1].projections[2]
    assert torch.allclose(integrated[2][1], three + from_one(one) + from_two(two), atol=1e-5)


def test_projections_are_the_networks_own_and_leave_the_forward_path_alone(view: torch.Tensor) -> None:
    m, without = method("dccl").eval(), method("dccl", features="off").eval()
    first, second = (list(integration.parameters()) for integration in m.integrations)
    assert not any(p is q for p in first for q in second)
    assert not torch.equal(first[0], second[0])
    assert not list(without.integrations.parameters())
    predictions = without.predict(view)
    assert all(torch.equal(logits, predictions[head]) for head, logits in m.predict(view).items())


def test_only_networks_that_normalise_in_the_end_normalise_before_they_project() -> None:
    with weightless():
        firsts = [type(method("dccl", name).integrations[0].projections[1][0][0]) for name in ("resnet8", "wrn16_2")]
    assert firsts == [nn.Conv2d, nn.BatchNorm2d]


def test_all_terms_of_the_fused_classifier_reach_networks_and_fusion_as_they_should() -> None:
    m = method("dccl")
    terms = m.losses(batch(), progress(m, epoch=100))
    for name in ("ce_fused", "kl_fused"):
        assert gradient(terms[name], m.network) > 0
        assert gradient(terms[name], m.fusion) > 0
    assert gradient(terms["kl_from_fused"], m.fusion) == 0
    assert gradient(terms["features"], m.integrations) > 0


def gradient(loss: torch.Tensor, of: nn.Module) -> float:
    found = torch.autograd.grad(loss, list(of.parameters()), allow_unused=True, retain_graph=True)
    return max((float(g.abs().max()) for g in found if g is not None), default=0.0)


def test_targets_are_constant() -> None:
    m = method("dccl", features="off").double()
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 10, generator=generator, dtype=torch.float64).requires_grad_()
    fused = torch.randn(4, 10, generator=generator, dtype=torch.float64).requires_grad_()
    terms = m.terms(logits, fused, [], batch().labels[:4])
    terms["kl"][0].backward()
    assert logits.grad[0].any()
    assert not logits.grad[1].any()
    logits.grad = None
    terms["kl_fused"].sum().backward()
    assert logits.grad is None or not logits.grad.any()
    assert fused.grad.any()


@pytest.mark.parametrize("over", ["all", "channel", "spatial"])
def test_what_the_softmax_of_the_feature_terms_goes_over(over: str) -> None:
    m = method("dccl", features=over)
    maps = torch.randn(2, 4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    got = m.terms(torch.zeros(2, 4, 10), torch.zeros(4, 10), [maps], batch().labels[:4])["features"]
    rows = {
        "all": [[map.flatten() for map in net] for net in maps],
        "channel": [[map[:, i, j] for map in net for i in range(5) for j in range(5)] for net in maps],
        "spatial": [[map[c].flatten() for map in net for c in range(3)] for net in maps],
    }[over]
    own, other = (torch.stack(row) / 3 for row in rows)
    want = 9 * kl_div(own.log_softmax(1), other.softmax(1), reduction="batchmean")
    assert torch.allclose(got[0, 0], want, rtol=1e-4)
    assert torch.allclose(got[0, 1], distillation(3 * other, 3 * own, 3), rtol=1e-4)


def test_shared_ends_are_one_stem_and_one_classifier(view: torch.Tensor) -> None:
    m = method("dccl", share_ends=True)
    first, second = m.network.networks
    assert first.trunk.stem is second.trunk.stem
    assert first.branch.head.classifier is second.branch.head.classifier
    assert not torch.equal(first.trunk.stages[0][0].conv1.weight, second.trunk.stages[0][0].conv1.weight)
    stem = count(m)
    m.network([view])
    assert count(m) == stem + 2, "it runs once for each network, as in the authors' code"


def count(m: nn.Module) -> int:
    """Batches that the first network's stem has seen."""
    return int(m.network.networks[0].trunk.stem[1].num_batches_tracked)


@pytest.mark.parametrize(("preset", "follows"), [("paper", True), ("released", False)])
def test_the_rate_of_the_fusion_module(preset: str, follows: bool) -> None:
    networks, fusion = method(f"dccl@{preset}").parameter_groups()
    assert (networks.scheduled, fusion.scheduled) == (True, follows)
    assert (networks.weight_decay, fusion.weight_decay) == (None, 1e-5)
    [_, fusion] = method("dccl", fusion_weight_decay=None).parameter_groups()
    assert fusion.weight_decay is None
