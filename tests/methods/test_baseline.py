"""The controls without distillation: plain training, more views, and branches."""

import pytest
import torch
from methods.build import batch, method, progress, train
from torch.nn.functional import cross_entropy

from okdbench import networks
from okdbench.methods import Batch, Build
from okdbench.networks import Single


def test_by_default_it_is_one_network_on_one_view() -> None:
    m, plain = method("baseline"), Single(Build([networks.get("resnet8")], 10, seed=0)(0))
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    for step in range(2):
        optimizer.zero_grad()
        images = batch(seed=step)
        cross_entropy(plain(images.views[0]), images.labels).backward()
        optimizer.step()
    train(m, steps=2)
    assert (m.views, m.heads(), m.deployed, list(m.schedule(0, 300))) == (1, ("student",), "student", [])
    assert all(torch.equal(value, m.student.state_dict()[name]) for name, value in plain.state_dict().items())


def test_the_loss_is_the_mean_over_the_views() -> None:
    images = batch(views=3)
    several = method("baseline", views=3).losses(images, progress(method("baseline")))
    single = [
        method("baseline").losses(Batch((view,), images.labels), progress(method("baseline"))) for view in images.views
    ]
    assert several["ce"].item() == pytest.approx(sum(terms["ce"].item() for terms in single) / 3)


@pytest.mark.parametrize("views", ["shared", "different"])
def test_one_independent_branch_is_the_baseline_to_the_bit(views: str) -> None:
    branch, baseline = method("independent", peers=1, views=views), method("baseline")
    train(branch, steps=3)
    train(baseline, steps=3)
    images = batch(seed=9).views[0]
    branch.eval()
    baseline.eval()
    assert torch.equal(branch.predict(images)["peer0"], baseline.predict(images)["student"])


def test_branches_do_not_teach_one_another() -> None:
    m, images = method("independent", peers=3, views="different"), batch(views=3)
    m.losses(images, progress(m))["ce"].backward()
    for index, branch in enumerate(m.student.branches):
        alone = method("independent", peers=3, views="different")
        logits = alone.student(images.views)[index].logits
        cross_entropy(logits, images.labels).backward()
        for got, want in zip(branch.parameters(), alone.student.branches[index].parameters(), strict=True):
            assert torch.allclose(got.grad, want.grad, rtol=1e-4, atol=1e-6)


def test_the_trunk_receives_the_sum_of_the_branches_gradients() -> None:
    images, gradients = batch(), []
    for index in (0, 1, None):
        m = method("independent", peers=2).double()
        logits = [trace.logits for trace in m.student([images.views[0].double()])]
        losses = [cross_entropy(z, images.labels) for z in logits]
        (sum(losses) if index is None else losses[index]).backward()
        gradients.append([p.grad for p in m.student.trunk.parameters()])
    for one, two, both in zip(*gradients, strict=True):
        assert torch.allclose(one + two, both, rtol=1e-9, atol=1e-12)


def test_the_ensemble_is_the_mean_of_logits() -> None:
    m = method("independent", peers=2).eval()
    predictions = m.predict(batch(seed=5).views[0])
    assert torch.allclose(predictions["ensemble"], (predictions["peer0"] + predictions["peer1"]) / 2)
    assert m.deployed == "peer0"
