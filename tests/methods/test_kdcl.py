"""KDCL: each target against its mathematics; there is no official code."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from methods.build import batch, method, progress
from torch import Tensor
from torch.nn.functional import cross_entropy

from okdbench import networks
from okdbench.methods import Batch, Build, configure, get
from okdbench.methods.kdcl import error_weights, simplex_weights, solve
from okdbench.methods.parts.losses import distillation
from okdbench.networks.base import count_parameters

EPOCH = torch.tensor(0.0)


def logits(peers: int = 3, count: int = 64, classes: int = 10, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    """Float64 logits [m, B, C] of networks that mostly agree with the labels [B]."""
    generator = torch.Generator().manual_seed(peers)
    labels = torch.randint(classes, (count,), generator=generator)
    z = scale * torch.randn(peers, count, classes, generator=generator, dtype=torch.float64)
    z[:, torch.arange(count), labels] += scale
    return z.requires_grad_(), labels


def losses_of(z: Tensor, labels: Tensor) -> Tensor:
    """CE of every image, [m, B] from [m, B, C]."""
    return torch.stack([cross_entropy(peer, labels, reduction="none") for peer in z])


def test_minlogit() -> None:
    z, labels = logits()
    z = z.detach()
    target = method("kdcl").target(z, labels, EPOCH)
    assert (target.gather(1, labels[:, None]) == 0).all()
    assert (losses_of(target[None], labels)[0] <= losses_of(z, labels).min(dim=0).values + 1e-12).all()
    image, label = 5, int(labels[5])
    want = [min(float(z[i, image, c] - z[i, image, label]) for i in range(3)) for c in range(10)]
    assert torch.allclose(target[image], torch.tensor(want, dtype=torch.float64))


def test_naive_takes_the_best_network_of_each_image() -> None:
    z, labels = logits()
    target = method("kdcl", variant="naive").target(z, labels, EPOCH)
    best = losses_of(z, labels).argmin(dim=0)
    assert torch.equal(target, torch.stack([z[best[image], image] for image in range(64)]))
    assert len(best.unique()) == 3


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_linear_weights_of_two_networks_match_a_search(scale: float) -> None:
    z, labels = logits(peers=2, scale=scale)
    weights = simplex_weights(z, labels, 50)
    assert (weights >= 0).all()
    assert torch.allclose(weights.sum(dim=0), torch.ones(64, dtype=torch.float64))
    grid = torch.linspace(0, 1, 501, dtype=torch.float64)
    searched = losses_of(torch.stack([a * z[0] + (1 - a) * z[1] for a in grid]), labels).min(dim=0).values
    reached = losses_of(torch.einsum("mb,mbc->bc", weights, z)[None], labels)[0]
    assert (reached - searched).max() < 0.05
    assert (reached - searched).mean() < 0.01


def test_linear_steps_never_make_it_worse_and_come_close() -> None:
    z, labels = logits(peers=4, classes=100, scale=4.0)
    z = z.detach()
    reached = [
        losses_of(torch.einsum("mb,mbc->bc", simplex_weights(z, labels, steps), z)[None], labels)[0]
        for steps in (1, 2, 5, 20, 50, 400)
    ]
    assert all((after <= before + 1e-9).all() for before, after in pairwise(reached))
    assert (reached[0] <= losses_of(z.mean(dim=0)[None], labels)[0] + 1e-9).all()
    assert (reached[-2] - reached[-1]).mean() < 0.1
    spread = torch.stack([(one - other).amax(-1) - (one - other).amin(-1) for one in z for other in z]).amax(dim=0)
    assert (reached[-2] - reached[-1] <= spread**2 / 16 * np.log(4) / 50).all()  # the bound that the solver states


def test_linear_is_at_rest_where_networks_agree() -> None:
    z, labels = logits(peers=1)
    weights = simplex_weights(z.expand(3, -1, -1), labels, 10)
    assert torch.allclose(weights, torch.full_like(weights, 1 / 3))


def test_error_weights_minimise_the_error_of_the_mixture() -> None:
    z, labels = logits()
    errors = z.detach().softmax(dim=-1) - torch.eye(10, dtype=torch.float64)[labels]
    correlation = torch.einsum("ibc,jbc->ij", errors, errors)
    weights = error_weights(correlation)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-12)
    inverse = np.linalg.inv(correlation.numpy())
    assert np.allclose(weights, inverse.sum(axis=1) / inverse.sum(), rtol=1e-4)
    best = weights @ correlation @ weights
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        other = weights + 0.1 * (noise := torch.randn(3, generator=generator, dtype=torch.float64)) - 0.1 * noise.mean()
        assert other @ correlation @ other >= best


@pytest.mark.parametrize("correlation", [torch.zeros(3, 3), torch.ones(3, 3)])
def test_error_weights_of_networks_that_err_alike_are_equal(correlation: Tensor) -> None:
    assert torch.allclose(error_weights(correlation.double()), torch.full((3,), 1 / 3, dtype=torch.float64))


@pytest.mark.parametrize("peers", [1, 2, 3, 5])
def test_elimination_is_equal_to_torch_s_solver(peers: int) -> None:
    drawn = torch.Generator().manual_seed(peers)
    errors = torch.randn(peers, 40, generator=drawn, dtype=torch.float64)
    matrix, right = errors @ errors.T, torch.randn(peers, generator=drawn, dtype=torch.float64)
    assert torch.allclose(solve(matrix, right), torch.linalg.solve(matrix, right), rtol=1e-12, atol=1e-12)


def test_general_weighs_by_the_errors_of_the_epoch_before() -> None:
    m = method("kdcl", variant="general", peers=3)
    z, labels = logits()
    halves = [(z[:, :32], labels[:32]), (z[:, 32:], labels[32:])]
    for half in halves:
        assert torch.allclose(m.target(*half, torch.tensor(0.0)), half[0].mean(dim=0))
    errors = z.detach().softmax(dim=-1) - torch.eye(10, dtype=torch.float64)[labels]
    first = error_weights(torch.einsum("ibc,jbc->ij", errors, errors))
    assert (first - 1 / 3).abs().max() > 1e-3
    for half in halves:  # both batches of the next epoch use the whole epoch before
        assert torch.allclose(m.target(*half, torch.tensor(1.0)), torch.einsum("m,mbc->bc", first, half[0]))
    m.target(*halves[0], torch.tensor(2.0))
    assert torch.allclose(m.mixture, first)
    m.target(*halves[0], torch.tensor(3.0))  # epoch 2 had seen one half only
    assert not torch.allclose(m.mixture, first, rtol=1e-3)


def test_mean() -> None:
    z, labels = logits()
    assert torch.allclose(method("kdcl", variant="mean").target(z, labels, EPOCH), z.mean(dim=0))


@pytest.mark.parametrize("variant", ["minlogit", "naive", "linear", "general", "mean"])
def test_objective_and_constant_target(variant: str) -> None:
    m = method("kdcl", variant=variant, peers=3)
    z, labels = logits()
    terms = m.terms(z, labels, EPOCH)
    target = m.target(z.detach(), labels, EPOCH)
    for peer in range(3):
        assert terms["kl"][peer].item() == pytest.approx(distillation(z[peer], target, 2.0).item())
    own = torch.autograd.grad(terms["kl"][0], z)[0]
    assert (own[1:] == 0).all()
    plain = z.detach()[0].requires_grad_()
    distillation(plain, target, 2.0).backward()
    assert torch.allclose(own[0], plain.grad)


@pytest.mark.parametrize("variant", ["minlogit", "naive", "linear", "general", "mean"])
def test_without_detach_the_target_learns(variant: str) -> None:
    z, labels = logits()
    kl = method("kdcl", variant=variant, peers=3, detach=False).terms(z, labels, EPOCH)["kl"]
    assert (torch.autograd.grad(kl[0], z)[0][1:] != 0).any()


def test_each_network_sees_its_own_view() -> None:
    m, images = method("kdcl", peers=2, weight=0.5), batch(views=2)
    assert (m.views, method("kdcl", views="shared").views) == (2, 1)
    z = torch.stack([network(view) for network, view in zip(m.network.networks, images.views, strict=True)])
    terms = m.terms(z, images.labels, EPOCH)
    losses = m.losses(images, progress(m))
    assert losses["ce"].item() == pytest.approx(terms["ce"].sum().item())
    assert losses["kl"].item() == pytest.approx(0.5 * terms["kl"].sum().item())


def test_networks_may_differ() -> None:
    build = Build([networks.get("resnet8"), networks.get("resnet20")], 10, seed=0)
    m, images = get("kdcl")(build, configure("kdcl", {})), batch(views=2)
    small, large = (count_parameters(network) for network in m.network.networks)
    assert small < large
    assert m.losses(images, progress(m))["kl"] > 0


def test_a_wrong_number_of_views_is_refused() -> None:
    m, images = method("kdcl", peers=3), batch(views=2)
    with pytest.raises(ValueError, match="3 networks take 1 view or one each, not 2"):
        m.losses(Batch(images.views, images.labels), progress(m))
