"""CL-ILR, ONE and OKDDip against the numbers computed with the authors' code (float64): losses, gradients, forward."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from golden.checker import close, fill, images, load
from methods.build import method
from torch import Tensor, nn

from okdbench.methods import Method
from okdbench.methods.cl import rescale
from okdbench.methods.parts.gate import mixed

CLASSES = [10, 100]


def inputs(golden: dict, *names: str) -> list[Tensor]:
    return [torch.from_numpy(golden[name]).requires_grad_() for name in names]


def check_epochs(golden: dict, m: Method, run: Callable[[], tuple[dict[str, Tensor], dict[str, Tensor]]]) -> None:
    """Total and gradients at every epoch; ``run`` gives the unweighted terms and the tensors whose gradient counts."""
    for e, epoch in enumerate(golden["epochs"]):
        weight = m.schedule(int(epoch), 300)["distillation"]
        assert weight == pytest.approx(golden["ramp_weight"][e], rel=1e-12)
        terms, tensors = run()
        total = sum(term.sum() for name, term in terms.items() if name != "kl") + weight * terms["kl"].sum()
        assert close(total, golden["total"][e])
        gradients = torch.autograd.grad(total, list(tensors.values()))
        for name, gradient in zip(tensors, gradients, strict=True):
            assert close(gradient, golden[f"grad_{name}"][e]), (name, epoch)


def fill_from(golden: dict, layers: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in layers.items():
            parameter.copy_(torch.from_numpy(golden[name]))


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("rescaling", [True, False])
def test_cl(classes: int, rescaling: bool) -> None:
    golden = load(f"losses/cl-{classes}.npz")
    peers = len(golden["z"])
    m = method("cl@released", peers=peers, rescaling=rescaling)
    trunk, weight, bias = inputs(golden, "trunk", "classifier_weight", "classifier_bias")
    stored, others = weight.split([10, classes - 10], dim=1)  # gradients are stored for the first 10 classes
    labels = torch.from_numpy(golden["labels"])

    def run() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        split = rescale(trunk, 1 / peers) if rescaling else trunk
        z = torch.einsum("bd,mcd->mbc", split, torch.cat([stored, others], dim=1)) + bias[:, None]
        assert close(z, golden["z"])
        tensors = {"z": z, "trunk": trunk, "classifier_weight": stored, "classifier_bias": bias}
        return m.terms(z, labels), tensors

    terms, _ = run()
    for name in ("ce", "kl"):
        assert close(terms[name], golden[f"term_{name}"])
    if not rescaling:
        golden["grad_trunk"] = golden["grad_trunk_without_rescaling"]
    check_epochs(golden, m, run)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize(("preset", "file"), [("released", "one_official"), ("okddip", "one_okddip")])
def test_one(preset: str, file: str, classes: int) -> None:
    golden = load(f"losses/{file}-{classes}.npz")
    z, pooled = inputs(golden, "z", "trunk_pooled")
    labels = torch.from_numpy(golden["labels"])
    m = method(f"one@{preset}", peers=len(z)).double()
    linear, norm = m.gate.linear, m.gate.norm
    layers = {"weight": linear.weight, "bias": linear.bias, "bn_weight": norm.weight, "bn_bias": norm.bias}
    fill_from(golden, {f"gate_{name}": tensor for name, tensor in layers.items()})

    def teacher() -> tuple[Tensor, Tensor]:
        gate = m.gate(pooled[:, :, None, None])
        return gate, mixed(z, gate)

    gate, logits = teacher()
    assert close(gate, golden["gate_train"])
    assert close(gate.sum(dim=1), np.ones(len(labels)))
    assert close(logits, golden["teacher_logits"])
    if "gate_eval_after" in golden:
        assert close(norm.running_mean, golden["gate_bn_running_mean_after"])
        assert close(norm.running_var, golden["gate_bn_running_var_after"])
        m.gate.eval()
        assert close(teacher()[0], golden["gate_eval_after"])
        m.gate.train()
    terms = m.terms(z, logits, labels)
    assert close(torch.cat([terms["ce"], terms["ce_ensemble"][None]]), golden["term_ce"])
    assert close(terms["kl"], golden["term_kl"])
    tensors = {"z": z, "trunk_pooled": pooled, **{f"gate_{name}": tensor for name, tensor in layers.items()}}
    del tensors["gate_bias"]  # BN removes it: its gradient is zero and not stored
    check_epochs(golden, m, lambda: (m.terms(z, teacher()[1], labels), tensors))


@pytest.mark.parametrize("classes", CLASSES)
def test_okddip(classes: int) -> None:
    golden = load(f"losses/okddip-{classes}.npz")
    z, h = inputs(golden, "z", "h")
    labels, leader = torch.from_numpy(golden["labels"]), torch.zeros_like(h[:1])
    m = method("okddip@released", peers=len(z)).double()
    query, key = m.attention.query.weight, m.attention.key.weight
    fill_from(golden, {"w_query": query, "w_key": key})

    assert close(m.attention(h).exp(), golden["attention"])
    targets = m.targets(torch.cat([h, leader]), z)
    assert close(targets[:-1], golden["peer_target_logits"])
    assert close(targets[-1], golden["leader_target_logits"])
    terms = m.terms(torch.cat([h, leader]), z, labels)
    for name in ("ce", "kl"):
        assert close(terms[name], golden[f"term_{name}"])
    assert close(terms["ce"][:-1].sum(), golden["loss_true_peers"])
    assert close(terms["kl"][:-1].sum(), golden["loss_group_peers"])
    tensors = {"z": z, "h": h, "w_query": query, "w_key": key}
    check_epochs(golden, m, lambda: (m.terms(torch.cat([h, leader]), z, labels), tensors))


class Called(nn.Module):
    """A method as a module to call, so that the formula can fill its layers in the order in which they run."""

    def __init__(self, m: nn.Module, run: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.method, self.run = m, run

    def forward(self, view: Tensor) -> tuple[Tensor, ...]:
        return self.run(view)


PASSES = [("eval", False), ("train", True), ("eval_after_train", False)]


@torch.no_grad()
def test_one_forward() -> None:
    golden = load("forward/one-resnet32-10.npz")
    m = method("one@okddip", "resnet32").double()
    network, view = Called(m, m.logits), images(4, 32, 0)
    assert len(fill(network, view)) == golden["num_filled_layers"]
    for tag, training in PASSES:
        logits, teacher = network.train(training)(view)
        assert close(logits, golden[f"logits_{tag}"])
        assert close(teacher, golden[f"teacher_logits_{tag}"])
    assert close(m.gate.norm.running_mean, golden["gate_bn_running_mean_after"])
    assert close(m.gate.norm.running_var, golden["gate_bn_running_var_after"])
    assert torch.equal(m.predict(view)["ensemble"], teacher)


@torch.no_grad()
def test_okddip_forward() -> None:
    golden = load("forward/okddip-resnet32-10.npz")
    m = method("okddip@released", "resnet32").double()

    def run(view: Tensor) -> tuple[Tensor, Tensor]:
        traces = m.network([view])
        logits = torch.stack([trace.logits for trace in traces])
        return logits, m.targets(torch.stack([trace.features for trace in traces]), logits)

    network, view = Called(m, run), images(4, 32, 0)
    assert len(fill(network, view)) == golden["num_filled_layers"]
    for tag, training in PASSES:
        logits, targets = network.train(training)(view)
        assert close(logits[:-1], golden[f"logits_{tag}"])
        assert close(logits[-1], golden[f"leader_logits_{tag}"])
        assert close(targets[:-1], golden[f"peer_target_logits_{tag}"])
    assert torch.equal(m.predict(view)["leader"], logits[-1])
