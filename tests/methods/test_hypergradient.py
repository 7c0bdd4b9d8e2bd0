"""Hypergradients against explicit unrolling and finite differences, and what an excursion leaves behind."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from okdbench.methods.parts.hypergradient import Lookahead

RATE, MOMENTUM, DECAY = 0.1, 0.9, 0.01


class Model(nn.Module):
    """A small convolutional network with batch normalisation and kinks; ``idle`` is reached by no loss."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.classifier = nn.Linear(4, 5)
        self.idle = nn.Parameter(torch.ones(3))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.norm(self.convolution(images)).relu().mean(dim=(2, 3)))


def case(dtype: torch.dtype = torch.float64) -> tuple[Model, Tensor, Tensor, nn.Linear]:
    """A model, images, labels, and a layer that says how much each image counts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, weigh = Model().to(dtype), nn.Linear(5, 1).to(dtype)
        return model.train(), torch.randn(8, 3, 6, 6, dtype=dtype), torch.arange(8) % 5, weigh


def inner(logits: Tensor, labels: Tensor, weigh: Callable[[Tensor], Tensor]) -> Tensor:
    """Images weighted by what their own logits say, so that weights reach the network, too."""
    return (weigh(logits).sigmoid()[:, 0] * cross_entropy(logits, labels, reduction="none")).mean()


def lookahead(model: nn.Module, coupling: float | None = None) -> Lookahead:
    like = next(model.parameters())
    rate = torch.tensor(RATE, dtype=like.dtype)
    return Lookahead(list(model.parameters()), list(model.buffers()), rate, MOMENTUM, DECAY, coupling)


def excursion(model: Model, images: Tensor, labels: Tensor, weigh: nn.Linear, coupling: float | None = None):
    """Two weighted steps and a plain one, judged by the plain loss."""

    def weighted() -> Tensor:
        return inner(model(images), labels, weigh)

    def plain() -> Tensor:
        return cross_entropy(model(images), labels)

    return lookahead(model, coupling).hypergradient([weighted, weighted, plain], plain, list(weigh.parameters()))


def unrolled(model: Model, images: Tensor, labels: Tensor, weigh: nn.Linear) -> Tensor:
    """The plain loss at the end, with the graph of all steps."""
    theta = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    velocity = {name: torch.zeros_like(p) for name, p in theta.items()}
    buffers = {name: b.clone() for name, b in model.named_buffers()}

    def logits() -> Tensor:
        return functional_call(model, {**theta, **buffers}, (images,))

    for number in range(3):
        loss = inner(logits(), labels, weigh) if number < 2 else cross_entropy(logits(), labels)
        gradients = torch.autograd.grad(loss, list(theta.values()), create_graph=True, materialize_grads=True)
        for (name, p), g in zip(list(theta.items()), gradients, strict=True):
            velocity[name] = MOMENTUM * velocity[name] + g + DECAY * p
            theta[name] = p - RATE * velocity[name]
    return cross_entropy(logits(), labels)


def test_it_is_the_derivative_of_the_unrolled_steps() -> None:
    model, images, labels, weigh = case()
    expected = torch.autograd.grad(unrolled(model, images, labels, weigh), list(weigh.parameters()))
    got = excursion(model, images, labels, weigh)
    assert all((g - e).abs().max() <= 1e-12 * e.abs().max() for g, e in zip(got, expected, strict=True))
    off = excursion(model, images, labels, weigh, coupling=1.0)
    assert all((g - e).abs().max() > 1e-3 * e.abs().max() for g, e in zip(off, expected, strict=True))


def test_it_agrees_with_finite_differences() -> None:
    model, images, labels, weigh = case()
    got = excursion(model, images, labels, weigh)
    step = 1e-5
    for parameter, gradient in zip(weigh.parameters(), got, strict=True):
        for place in range(parameter.numel()):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter.view(-1)[place] += sign * step
                    values.append(float(unrolled_value(model, images, labels, weigh)))
                    parameter.view(-1)[place] -= sign * step
            difference = (values[0] - values[1]) / (2 * step)
            assert difference == pytest.approx(float(gradient.view(-1)[place]), rel=1e-5, abs=1e-10)


def unrolled_value(*given) -> Tensor:
    with torch.enable_grad():
        return unrolled(*given).detach()


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_leaves_nothing_behind_but_one_more_batch_in_the_statistics(
    memory: torch.memory_format, dtype: torch.dtype
) -> None:
    model, images, labels, weigh = case(dtype)
    model, images = model.to(memory_format=memory), images.to(memory_format=memory)
    cross_entropy(model(images), labels).backward()
    gradients = {name: None if p.grad is None else (p.grad, p.grad.clone()) for name, p in model.named_parameters()}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    excursion(model, images, labels, weigh)
    after = {name: value.clone() for name, value in model.state_dict().items()}
    assert all(torch.equal(before[name], after[name]) for name, _ in model.named_parameters())
    for name, p in model.named_parameters():
        assert (p.grad is None) == (gradients[name] is None) == (name == "idle")
        assert p.grad is None or (p.grad is gradients[name][0] and torch.equal(p.grad, gradients[name][1]))
    assert all(p.grad is None for p in weigh.parameters())
    model.load_state_dict(before)
    model(images)
    assert all(torch.equal(value, after[name]) for name, value in model.state_dict().items())
    assert int(after["norm.num_batches_tracked"]) == int(before["norm.num_batches_tracked"]) + 1


def test_a_parameter_that_no_loss_reaches_decays_on_the_way() -> None:
    model, images, labels, weigh = case()
    seen: list[Tensor] = []

    def plain() -> Tensor:
        seen.append(model.idle.detach().clone())
        return inner(model(images), labels, weigh)

    lookahead(model).hypergradient([plain, plain], plain, list(weigh.parameters()))
    first = 1 - RATE * DECAY
    assert torch.allclose(seen[1], torch.full_like(seen[1], first), rtol=1e-15)
    second = first - RATE * (MOMENTUM * DECAY + DECAY * first)
    assert torch.allclose(seen[2], torch.full_like(seen[2], second), rtol=1e-15)
