"""FFL: what is shared, where gradients go, what the 1e-7 of its code does."""

import pytest
import torch
from golden import maps
from methods.build import batch, method, progress

from okdbench.methods.parts.losses import distillation
from okdbench.networks.base import count_parameters
from okdbench.networks.counting import weightless


def gradient(m, term: str, of: torch.nn.Module) -> float:
    """Largest gradient of a term at full weight in a module."""
    parameters = list(of.parameters())
    loss = m.losses(batch(), progress(m, epoch=80))[term]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return max((float(g.abs().max()) for g in found if g is not None), default=0.0)


def test_sub_networks_share_all_but_the_last_stage() -> None:
    branches, networks = method("ffl"), method("ffl", sharing="networks")
    plain = method("baseline")
    assert count_parameters(networks.network) == 2 * count_parameters(plain)
    assert count_parameters(branches.network.trunk) == count_parameters(plain.student.trunk)
    weights = [branch.head.classifier.weight for branch in branches.network.branches]
    assert not torch.equal(*weights)
    images = batch().views[0]
    for m in (branches, networks):
        assert torch.equal(m.network([images])[0].logits, plain.student(images)), (
            "the first starts as the plain network"
        )


@pytest.mark.parametrize(("classes", "millions"), [(10, "3.10"), (100, "3.19")])
def test_three_sub_networks_have_the_parameters_that_pcl_prints(classes: int, millions: str) -> None:
    with weightless():
        m = method("ffl", "resnet110_bottleneck", classes, peers=3)
    assert f"{count_parameters(m) / 1e6:.2f}" == millions


@pytest.mark.parametrize("term", ["ce_fused", "kl_fused"])
@pytest.mark.parametrize("sharing", ["branches", "networks"])
def test_the_fused_classifier_trains_the_sub_networks_unless_it_is_detached(term: str, sharing: str) -> None:
    for detach in (False, True):
        m = method("ffl", sharing=sharing, detach_fusion=detach)
        assert (gradient(m, term, m.network) > 0) == (not detach)
        assert gradient(m, term, m.fusion) > 0


def test_targets_are_constant() -> None:
    m = method("ffl")
    assert gradient(m, "kl", m.fusion) == 0
    assert all(gradient(m, "kl", branch) > 0 for branch in m.network.branches)
    logits = torch.randn(2, 4, 10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    m.terms(logits, torch.zeros(4, 10, requires_grad=True), batch().labels[:4])["kl_fused"].backward()
    assert logits.grad is None


def test_heads() -> None:
    m = method("ffl").eval()
    predictions = m.predict(batch().views[0])
    assert m.heads() == ("peer0", "peer1", "fused", "ensemble") == tuple(predictions)
    assert torch.allclose(predictions["ensemble"], (predictions["peer0"] + predictions["peer1"]) / 2)


def test_what_is_added_to_the_target_matters_more_the_more_classes_there_are() -> None:
    golden = maps.golden("modules/kl_ffl_dccl_1.npz")
    student, teacher = (torch.from_numpy(golden[f"in_{who}"]) for who in ("student", "teacher"))
    with_it, without = (distillation(student, teacher, 3, epsilon=epsilon) for epsilon in (1e-7, 0.0))
    assert 0 < abs(with_it - without) < 2e-4
    golden = maps.golden("losses/dccl_2_r32shape.npz")
    student, teacher = (torch.from_numpy(golden[f"in_net{net}_stage1"]).flatten(1) for net in (1, 2))
    with_it, without = (distillation(student, teacher, 3, epsilon=epsilon) for epsilon in (1e-7, 0.0))
    assert float(with_it / without) == pytest.approx(1.037, abs=0.001)
