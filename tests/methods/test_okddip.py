"""OKDDip: attention, mixing, what is constant, who counts."""

import pytest
import torch
from golden.students import NETWORKS, identifier
from methods.build import batch, method
from torch import Tensor

from okdbench.networks.base import count_parameters
from okdbench.networks.counting import weightless

HARNESS = NETWORKS["okddip_repository"]["nets"]


def inputs(peers: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Features [m, B, 64], logits [m, B, 10], labels."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(peers, 8, 64, generator=generator)
    return features.requires_grad_(), torch.randn(peers, 8, 10, generator=generator).requires_grad_(), batch().labels


@pytest.mark.parametrize("entry", HARNESS)
@pytest.mark.parametrize(("sharing", "key"), [("branches", "branch"), ("networks", "network")])
@pytest.mark.parametrize("peers", [3, 4])
def test_parameters(entry: str, sharing: str, key: str, peers: int) -> None:
    name, classes = identifier(entry)
    own_blocks = {(10, 3): 296_670, (100, 3): 332_580, (10, 4): 356_944, (100, 4): 404_824}
    with weightless():
        m = method("okddip", name, classes, peers=peers, sharing=sharing)
    shared_by_mistake = "densenet" in entry and sharing == "branches"
    golden = HARNESS[entry]["params"][f"okddip_{key}_{peers}"]
    assert count_parameters(m) == (own_blocks[classes, peers] + 4_224 if shared_by_mistake else golden)


def test_attention_rows_sum_to_one_and_include_the_peer_itself() -> None:
    m = method("okddip")
    features, _, _ = inputs()
    alpha = m.attention(features[:3]).exp()
    assert alpha.shape == (8, 3, 3)
    assert torch.allclose(alpha.sum(dim=-1), torch.ones(8, 3))
    assert alpha.diagonal(dim1=1, dim2=2).min() > 0
    query, key = (layer.weight for layer in (m.attention.query, m.attention.key))
    energy = torch.stack([(query @ features[1, 0]) @ (key @ features[b, 0]) for b in range(3)])
    assert torch.allclose(alpha[0, 1], energy.softmax(dim=0), atol=1e-6)


@pytest.mark.parametrize("mix", ["probability", "logit"])
def test_the_leader_enters_no_target(mix: str) -> None:
    m = method("okddip", mix=mix)
    features, logits, _ = inputs()
    before = m.targets(features, logits)
    with torch.no_grad():
        features[3] += 1
        logits[3] += torch.randn(8, 10, generator=torch.Generator().manual_seed(3))
    assert torch.equal(m.targets(features, logits), before)


def test_targets_are_averages_of_probabilities_or_of_logits() -> None:
    features, logits, _ = inputs()
    m = method("okddip")
    alpha = m.attention(features[:3]).exp()
    softened = (logits / 3).softmax(dim=-1)
    target = (m.targets(features, logits) / 3).softmax(dim=-1)
    for peer in range(3):
        want = torch.stack([sum(alpha[b, peer, k] * softened[k, b] for k in range(3)) for b in range(8)])
        assert torch.allclose(target[peer], want, atol=1e-6)
    assert torch.allclose(target[3], softened[:3].mean(dim=0), atol=1e-6)
    m = method("okddip", mix="logit")
    target = m.targets(features, logits)
    assert torch.allclose(target[1, 2], sum(alpha[2, 1, k] * logits[k, 2] for k in range(3)), atol=1e-6)
    assert torch.allclose(target[3], logits[:3].mean(dim=0), atol=1e-6)


def test_probabilities_that_underflow_do_no_harm() -> None:
    m = method("okddip")
    features, logits, labels = inputs()
    (m.terms(features, logits * 1000, labels)["kl"].sum()).backward()
    assert logits.grad.isfinite().all()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("mix", ["probability", "logit"])
@pytest.mark.parametrize(("detach", "values", "attention"), [("none", 1, 1), ("values", 0, 1), ("full", 0, 0)])
def test_what_is_constant(mix: str, detach: str, values: bool, attention: bool) -> None:
    m = method("okddip", mix=mix, detach=detach)
    features, logits, labels = inputs()
    kl = m.terms(features, logits, labels)["kl"]
    kl[:3].sum().backward(retain_graph=True)
    weights = [m.attention.query.weight, m.attention.key.weight]
    assert all((w.grad is not None and bool(w.grad.abs().max() > 0)) == attention for w in weights)
    assert all(w.requires_grad == attention for w in weights)
    logits.grad = None
    kl[3].backward()  # the leader's: pushes the peers only where nothing is detached
    assert bool((logits.grad[:3] != 0).any()) == values
    assert (logits.grad[3] != 0).any()


def test_attention_forms_of_table_5() -> None:
    features, logits, _ = inputs()
    symmetric = method("okddip", attention="symmetric")
    assert symmetric.attention.query is symmetric.attention.key
    energy = torch.einsum("abd,cbd->bac", *(symmetric.attention.query(features[:3]),) * 2)
    assert torch.allclose(symmetric.attention(features[:3]), energy.log_softmax(-1), atol=1e-6)
    mean = method("okddip", attention="mean")
    assert mean.attention is None
    targets = mean.targets(features, logits)
    assert torch.allclose(targets, targets[3].expand_as(targets), atol=1e-6)


def test_without_a_leader_everyone_is_a_peer() -> None:
    m = method("okddip", leader=False)
    features, logits, _ = inputs()
    assert m.heads() == ("peer0", "peer1", "peer2", "peer3", "ensemble")
    assert m.deployed == "ensemble"
    assert m.attention(features).shape == (8, 4, 4)
    assert m.targets(features, logits).shape == (4, 8, 10)
    images = batch().views[0]
    predictions = m.eval().predict(images)
    assert torch.allclose(predictions["ensemble"], torch.stack([predictions[f"peer{i}"] for i in range(4)]).mean(0))


def test_heads() -> None:
    m = method("okddip")
    assert m.heads() == ("peer0", "peer1", "peer2", "leader", "ensemble")
    assert m.deployed == "leader"
    predictions = m.eval().predict(batch().views[0])
    peers = torch.stack([predictions[f"peer{i}"] for i in range(3)])
    assert torch.allclose(predictions["ensemble"], peers.mean(dim=0))


def test_peers_need_company() -> None:
    with pytest.raises(
        ValueError, match="two auxiliary peers are needed; set peers: 3, or peers: 2 with leader: false"
    ):
        method("okddip", peers=2)
    assert method("okddip", peers=2, leader=False).heads() == ("peer0", "peer1", "ensemble")
