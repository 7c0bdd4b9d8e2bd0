"""Several views in one pass equal one pass each, and lower precision stays within the stages."""

import pytest
import torch
from torch import Tensor, nn

from okdbench import networks
from okdbench.methods import Batch, Build, Method, Progress, configure, get
from okdbench.networks import Branched, Single, counted_together, counting_norms, fold_views, set_compute_dtype
from okdbench.networks.precision import ViewNorm
from okdbench.seeds import seeded

FOLDABLE = ["resnet8", "densenet40_12_bc", pytest.param("vgg16_mlp", marks=pytest.mark.slow), "shufflenetv2_05"]


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def branched(name: str, dtype: torch.dtype = torch.float64) -> Branched:
    architecture = networks.get(name)
    with seeded(0, "init"):
        made = Branched([architecture.build(10) for _ in range(3)]).train()
    return made.to(dtype)


def views(count: int = 3, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Views of different mean and spread, so that mixing up their statistics would show."""
    return [(1 + view) * noise(4, 3, 32, 32, seed=view, dtype=dtype) + view for view in range(count)]


def passed(network: Branched, batch: list[Tensor]) -> tuple[list[Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Logits, gradients and buffers after a training pass."""
    logits = [trace.logits for trace in network(batch)]
    torch.stack(logits).square().sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    return logits, gradients, dict(network.named_buffers())


@pytest.mark.parametrize("name", FOLDABLE)
def test_views_in_one_pass_equal_passes_one_by_one(name: str) -> None:
    apart, together = branched(name), branched(name)
    assert together.fold()
    for one, other in zip(passed(apart, views()), passed(together, views()), strict=True):
        pairs = zip(one, other, strict=True) if isinstance(one, list) else ((one[key], other[key]) for key in one)
        for left, right in pairs:
            assert torch.allclose(left, right, rtol=1e-10, atol=1e-10)
    assert next(b for n, b in together.named_buffers() if n.startswith("trunk") and "num_batches" in n) == 3
    norms = [norm for norm in together.modules() if isinstance(norm, ViewNorm)]
    assert all(isinstance(parameter, nn.Parameter) for norm in norms for parameter in (norm.weight, norm.bias))


def test_frozen_norms_of_folded_views_have_no_gradient() -> None:
    network = branched("resnet8")
    network.fold()
    frozen = network.trunk.stem[1].requires_grad_(False)
    _, gradients, _ = passed(network, views())
    assert frozen.weight.grad is None and frozen.bias.grad is None
    assert sum(gradient is None for gradient in gradients.values()) == 2


def test_a_view_that_all_share_passes_as_ever() -> None:
    apart, together = branched("resnet8"), branched("resnet8")
    together.fold()
    for network in (apart, together):
        network(views(1))
    assert all(torch.equal(a, b) for a, b in zip(apart.buffers(), together.buffers(), strict=True))
    assert all(norm.views == 1 for norm in together.modules() if isinstance(norm, ViewNorm))


def test_folding_changes_no_name_and_no_tensor() -> None:
    network = branched("resnet8")
    before = [*network.named_parameters(), *network.named_buffers()]
    network.fold()
    after = [*network.named_parameters(), *network.named_buffers()]
    assert all(a[0] == b[0] and a[1] is b[1] for a, b in zip(before, after, strict=True))
    assert any(isinstance(module, ViewNorm) for module in network.trunk.modules())
    assert not any(isinstance(module, ViewNorm) for module in network.branches.modules())


def test_counters_raised_together_are_those_of_passes_one_by_one() -> None:
    apart, together = branched("resnet8"), branched("resnet8")
    together.fold()
    together.branches[1].eval()
    apart.branches[1].eval()
    norms = counting_norms(together)
    for _ in range(2):
        passed(apart, views())
        with counted_together(norms):
            passed(together, views())
    assert together.state_dict().keys() == apart.state_dict().keys()
    counters = {name: value for name, value in apart.state_dict().items() if "num_batches" in name}
    assert all(torch.equal(together.state_dict()[name], value) for name, value in counters.items())
    assert {int(value) for value in counters.values()} == {0, 2, 6}
    together(views())
    assert all(norm.num_batches_tracked == 9 for norm in norms if norm in set(together.trunk.modules()))


def test_norms_that_need_their_own_count_keep_it() -> None:
    layers = nn.Sequential(nn.BatchNorm2d(2, momentum=None), nn.BatchNorm2d(2, track_running_stats=False))
    assert counting_norms(layers) == []


def test_a_trunk_with_other_statistics_stays_as_it_is() -> None:
    network = branched("resnet8")
    network.trunk.stages.append(nn.SyncBatchNorm(32))
    fold_views(network)
    assert not network.folded
    assert not any(isinstance(module, ViewNorm) for module in network.modules())


def losses(method: Method) -> dict[str, Tensor]:
    batch = Batch(tuple(views(method.views, torch.float32)), torch.arange(4))
    weights = {name: torch.tensor(value) for name, value in method.schedule(150, 300).items()}
    return method.losses(batch, Progress(torch.tensor(150.0), torch.tensor(0.0), weights))


def method(name: str) -> Method:
    return get(name)(Build([networks.get("resnet8")], 10, seed=0), configure(name, {})).train()


def test_stages_compute_in_the_lower_precision_and_nothing_else_does() -> None:
    with seeded(0, "init"):
        network = Single(networks.get("resnet8").build(10)).train()
    seen: dict[str, set[torch.dtype]] = {"conv": set(), "norm": set(), "classifier": set()}
    for module in network.modules():
        kind = {nn.Conv2d: "conv", nn.BatchNorm2d: "norm", nn.Linear: "classifier"}.get(type(module))
        if kind:
            module.register_forward_hook(lambda m, i, output, kind=kind: seen[kind].add(output.dtype))
    set_compute_dtype(network, torch.bfloat16)
    trace = network.trace(views(1, torch.float32)[0])
    assert seen == {"conv": {torch.bfloat16}, "norm": {torch.bfloat16}, "classifier": {torch.float32}}
    assert {tensor.dtype for tensor in (*trace.taps, trace.final, trace.features, trace.logits)} == {torch.float32}
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32, torch.long}
    set_compute_dtype(network, None)
    assert all(part.compute_dtype is None for part in (network.trunk, network.branch))


@pytest.mark.parametrize("name", ["cl", "dccl", "dkel", "ffsd", "l-mcl", "mcl", "okddip", "one"])
def test_losses_in_lower_precision_are_nearly_those_of_float32(name: str) -> None:
    single, half = method(name), method(name)
    set_compute_dtype(half, torch.bfloat16)
    for one, other in zip(losses(single).items(), losses(half).items(), strict=True):
        assert one[0] == other[0]
        assert other[1].dtype == torch.float32
        assert other[1].item() == pytest.approx(one[1].item(), rel=0.05, abs=0.02), one[0]


def test_weights_that_changed_are_cast_anew_within_a_step() -> None:
    """As in the sequential form of DML, which predicts without and with gradients and updates in between."""
    dml, seen = method("dml"), []
    set_compute_dtype(dml, torch.bfloat16)
    optimizer = torch.optim.SGD(dml.parameters(), lr=0.1)

    def update(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        seen.append(sum(p.grad is not None for p in dml.parameters()))
        optimizer.step()

    batch = Batch(tuple(views(1, torch.float32)), torch.arange(4))
    dml.training_step(batch, Progress(torch.tensor(0.0), torch.tensor(0.0), {}), update)
    assert seen == [len(list(peer.parameters())) for peer in dml.peers]


def test_weights_cast_together_give_the_bits_of_weights_cast_one_by_one() -> None:
    def gradients(together: bool) -> list[Tensor | None]:
        with seeded(0, "init"):
            network = Single(networks.get("resnet8").build(10)).train()
        images = views(1, torch.float32)[0]
        if together:
            set_compute_dtype(network, torch.bfloat16)
            logits = network(images)
            assert all(isinstance(m.weight, nn.Parameter) for m in network.modules() if isinstance(m, nn.Conv2d))
        else:
            with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
                map = nn.Sequential(network.trunk.stem, *network.trunk.stages, *network.branch.stages)(images)
            logits = network.branch.head(map.float())[-1]
        logits.square().sum().backward()
        return [p.grad for p in network.parameters()]

    for one, other in zip(gradients(together=True), gradients(together=False), strict=True):
        assert one is not None and other is not None and torch.equal(one, other)


def test_layers_that_no_loss_reaches_have_no_gradient() -> None:
    network = branched("resnet8", torch.float32)
    set_compute_dtype(network, torch.bfloat16)
    network.trunk(views(1, torch.float32)[0])
    trace = network(views(1, torch.float32))[0]
    trace.logits.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.branches[0].parameters())
    assert all(p.grad is None for p in network.branches[1].parameters())


def test_gradients_of_a_dilated_depthwise_convolution_do_not_depend_on_what_memory_held_before() -> None:
    """On a CPU torch's own gradient in bfloat16 does; see `okdbench.networks.hcgnet.DilatedDepthwise`."""
    torch.manual_seed(0)
    network = Single(networks.get("hcgnet_a1").build(10)).to(memory_format=torch.channels_last).train()
    set_compute_dtype(network, torch.bfloat16)
    images = torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last)
    gradients = []
    for value in (float("nan"), 1e30, 0.0):
        network.zero_grad()
        logits = network(images)
        for size in (10_000, 50_000, 300_000):
            torch.full((size,), value)  # memory that is free again
        logits.square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters()})
    for name, first in gradients[0].items():
        assert all(torch.equal(first, other[name]) for other in gradients[1:]), name
