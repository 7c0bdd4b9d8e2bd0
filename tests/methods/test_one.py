"""ONE: the gate, what its gradient is, counts."""

import pytest
import torch
from golden.students import NETWORKS, identifier
from methods.build import batch, method, progress

from okdbench.networks.base import count_parameters
from okdbench.networks.counting import weightless

HARNESS = NETWORKS["okddip_repository"]["nets"]
OFFICIAL = NETWORKS["one_repository"]["nets"]


@pytest.mark.parametrize("entry", [e for e in HARNESS if "densenet" not in e])
@pytest.mark.parametrize("peers", [3, 4])
def test_parameters(entry: str, peers: int) -> None:
    name, classes = identifier(entry)
    with weightless():
        m = method("one", name, classes, peers=peers)
    assert count_parameters(m) == HARNESS[entry]["params"][f"one_{peers}"]


@pytest.mark.parametrize("classes", [10, 100])
def test_parameters_of_the_official_networks(classes: int) -> None:
    for entry, name in (("resnet32", "resnet32"), ("resnet110", "resnet164_bottleneck")):
        with weightless():
            m = method("one@released", name, classes)
        assert count_parameters(m) == OFFICIAL[f"{entry}-{classes}"]["one_3"]


@pytest.mark.parametrize(("classes", "peers", "count"), [(10, 3, 296_670 + 189), (100, 4, 404_824 + 252)])
def test_densenet_branches_own_their_blocks(classes: int, peers: int, count: int) -> None:
    with weightless():
        assert count_parameters(method("one", "densenet40_12_bc", classes, peers=peers)) == count


def test_the_gate_weighs_branches_image_by_image() -> None:
    m, images = method("one"), batch().views[0]
    map = m.network.trunk(images)
    gate = m.gate(map)
    assert torch.allclose(gate.sum(dim=1), torch.ones(8))
    assert gate.std(dim=0).min() > 0
    logits, ensemble = m.logits(images)
    for image in range(8):
        mixed = sum(gate[image, i] * logits[i, image] for i in range(3))
        assert torch.allclose(ensemble[image], mixed, atol=1e-5)


def test_without_a_gate_the_teacher_is_the_mean() -> None:
    m = method("one", gate="mean")
    logits, ensemble = m.logits(batch().views[0])
    assert torch.allclose(ensemble, logits.mean(dim=0))
    assert count_parameters(m) == count_parameters(method("cl@released", peers=3))


def test_without_sharing_the_gate_reads_the_target_networks_map() -> None:
    m, images = method("one", sharing="networks"), batch().views[0]
    assert count_parameters(m.network) == 3 * count_parameters(method("baseline"))
    traces = m.network([images])
    logits, ensemble = m.logits(images)
    assert torch.equal(logits, torch.stack([trace.logits for trace in traces]))
    shared = method("one")
    with torch.no_grad():
        assert torch.equal(traces[0].taps[m.split - 1], shared.network.trunk(images)), "the same weights as the trunk"
        assert torch.equal(m.gate(traces[0].taps[m.split - 1]), shared.gate(shared.network.trunk(images)))
    gate = m.gate(traces[0].taps[m.split - 1])
    assert torch.allclose(ensemble, torch.einsum("mbc,bm->bc", logits, gate), atol=1e-5)


@pytest.mark.parametrize(("preset", "learns"), [("paper", False), ("released", False), ("okddip", True)])
def test_distillation_reaches_the_gate_only_where_the_target_is_not_detached(preset: str, learns: bool) -> None:
    m, images = method(f"one@{preset}"), batch()
    terms = m.losses(images, progress(m, epoch=100))
    got = torch.autograd.grad(terms["kl"], m.gate.linear.weight, retain_graph=True, allow_unused=True)[0]
    assert (got is not None) == learns
    assert torch.autograd.grad(terms["ce_ensemble"], m.gate.linear.weight)[0].abs().max() > 0


def test_weights() -> None:
    assert method("one").schedule(0, 300) == {"distillation": 1.0}
    assert method("one", weight=0.0).schedule(5, 300) == {"distillation": 0.0}
    assert method("one@released").schedule(40, 300)["distillation"] == pytest.approx(0.2865, abs=1e-4)


def test_branches_start_with_classifiers_of_their_own_and_the_first_as_the_plain_network() -> None:
    m, images = method("one"), batch().views[0]
    weights = [branch.head.classifier.weight for branch in m.network.branches]
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(m.logits(images)[0][0], method("baseline").student(images))
