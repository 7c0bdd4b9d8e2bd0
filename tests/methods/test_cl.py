"""CL: sharing, gradient rescaling at every split, targets, weights."""

import pytest
import torch
from golden.students import NETWORKS, identifier
from methods.build import batch, method, progress
from torch import Tensor
from torch.nn.functional import cross_entropy

from okdbench.methods.cl import rescale
from okdbench.networks.base import count_parameters
from okdbench.networks.counting import weightless


@pytest.mark.parametrize("entry", [e for e in NETWORKS["okddip_repository"]["nets"] if "densenet" not in e])
@pytest.mark.parametrize("peers", [3, 4])
def test_parameters_of_one_split(entry: str, peers: int) -> None:
    name, classes = identifier(entry)
    with weightless():
        m = method("cl@released", name, classes, peers=peers)
    assert count_parameters(m) == NETWORKS["okddip_repository"]["nets"][entry]["params"][f"cl_{peers}"]


def test_parameters_of_the_tree() -> None:
    tree, flat, plain = method("cl"), method("cl@released"), method("baseline")
    stage2 = count_parameters(plain.student.trunk.stages[1])
    assert count_parameters(tree) == count_parameters(flat) + stage2
    assert len(tree.network.middles) == 2
    assert len(tree.network.trunk.stages) == 1
    assert len(flat.network.trunk.stages) == 2


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_the_first_head_starts_as_the_plain_network_and_every_head_is_a_path(preset: str) -> None:
    m, images = method(f"cl@{preset}"), batch().views[0]
    logits = m.network(images)
    assert torch.equal(logits[0], method("baseline").student(images))
    for index, branch in enumerate(m.network.branches):
        map = m.network.trunk(images)
        if m.network.middles:
            map = m.network.middles[index // 2](map)
        assert torch.equal(branch(map).logits, logits[index])
    assert not torch.equal(logits[0], logits[1])


def gradients(preset: str, heads: list[int], rescaling: bool = True) -> dict[str, Tensor]:
    """Gradient of the heads' summed CE with respect to every parameter (0 in the branches of the other heads)."""
    m, images = method(f"cl@{preset}", rescaling=rescaling).double(), batch()
    logits = m.network(images.views[0].double())
    sum(cross_entropy(logits[head], images.labels) for head in heads).backward()
    return {name: p.grad for name, p in m.network.named_parameters()}


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_shared_parts_receive_the_mean_over_their_heads(preset: str) -> None:
    rescaled = gradients(preset, [0, 1, 2, 3])
    summed = gradients(preset, [0, 1, 2, 3], rescaling=False)
    apart = [gradients(preset, [head], rescaling=False) for head in range(4)]
    for name, gradient in rescaled.items():
        heads = 4 if name.startswith("trunk") else 2 if name.startswith("middles") else 1
        total = sum(one[name] for one in apart)
        assert torch.allclose(summed[name], total, rtol=1e-9, atol=1e-12)
        assert torch.allclose(gradient, total / heads, rtol=1e-9, atol=1e-12), name
        assert sum(bool((one[name] != 0).any()) for one in apart) == heads


def test_rescale_is_the_identity_forward() -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = rescale(x, 0.25)
    assert torch.equal(x, y)
    (3 * y).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 0.75))


def test_the_target_of_a_head_leaves_it_out() -> None:
    m, images = method("cl"), batch()
    logits = torch.zeros(4, 8, 10)
    logits[0] = torch.randn(8, 10, generator=torch.Generator().manual_seed(1))
    soft = m.terms(logits, images.labels)["kl"]
    to_uniform = 4 * (torch.log_softmax(torch.zeros(10), 0) - (logits[0] / 2).log_softmax(-1)).mean()
    third = (logits[0] / 3 / 2).log_softmax(-1)
    from_a_third = 4 * (third.exp() * (third - torch.log_softmax(torch.zeros(10), 0))).sum(-1).mean()
    assert soft[0].item() == pytest.approx(to_uniform.item(), rel=1e-5)
    assert soft[1].item() == pytest.approx(from_a_third.item(), rel=1e-5)


def test_detached_targets_are_constants() -> None:
    labels = batch().labels
    for detach in (True, False):
        m = method("cl", detach=detach)
        logits = torch.randn(4, 8, 10, generator=torch.Generator().manual_seed(1)).requires_grad_()
        m.terms(logits, labels)["kl"][0].backward()
        assert (logits.grad[1:] == 0).all() == detach
        assert (logits.grad[0] != 0).any()


def test_weights() -> None:
    assert method("cl").schedule(0, 300) == {"ce": 0.5, "distillation": 0.5}
    assert method("cl", beta=0.3).schedule(7, 300) == pytest.approx({"ce": 0.3, "distillation": 0.7})
    released = method("cl@released")
    assert released.schedule(0, 300) == pytest.approx({"ce": 1.0, "distillation": 0.0067379}, rel=1e-5)
    assert released.schedule(80, 300) == {"ce": 1.0, "distillation": 1.0}


def test_the_soft_loss_carries_t_squared_where_asked() -> None:
    images = batch()
    soft = [method("cl", squared=squared).losses(images, progress(method("cl")))["kl"] for squared in (True, False)]
    assert soft[0].item() == pytest.approx(4 * soft[1].item())


def test_a_tree_has_four_heads() -> None:
    with pytest.raises(ValueError, match="sharing: hierarchical is a tree of 4 heads; set peers: 4 or sharing: flat"):
        method("cl", peers=3)
    assert len(method("cl", peers=3, sharing="flat").heads()) == 4
