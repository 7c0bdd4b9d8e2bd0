"""L-MCL: exits, pairs and their weights, what learns when, and what a meta step leaves behind."""

import math
from copy import deepcopy

import pytest
import torch
from golden.checker import load
from methods.build import batch, method
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from okdbench import networks
from okdbench.methods import Batch, Build, Progress, configure, get, l_mcl
from okdbench.methods.l_mcl import LMCL
from okdbench.methods.parts.contrastive import ContrastiveConfig, contrast
from okdbench.methods.parts.exits import Exits
from okdbench.networks.base import count_parameters
from okdbench.networks.counting import weightless

COUNTS = load("networks.json", "fusion")
IDENTIFIERS = {
    "lmcl/resnet32": "resnet32",
    "lmcl/wrn_16_2": "wrn16_2",
    "lmcl/wrn_28_4": "wrn28_4",
    "lmcl/ShuffleNetV2_05x": "shufflenetv2_05",
    "lmcl/hcgnet_A1": "hcgnet_a1",
}
PAIRS = {
    "lmcl/pair_res32_res110": ("resnet32", "resnet110_bottleneck"),
    "lmcl/pair_shufflev2_wrn_40_2": ("shufflenetv2_1", "wrn40_2"),
    "lmcl/pair_wrn_16_2_wrn_40_2": ("wrn16_2", "wrn40_2"),
}


def now(rate: float = 0.1, dtype: torch.dtype = torch.float32) -> Progress:
    zero = torch.zeros((), dtype=dtype)
    return Progress(zero, zero, rate=torch.tensor(rate, dtype=dtype))


def aware(dtype: torch.dtype = torch.float32) -> Batch:
    """Two small images each of four classes."""
    return Batch((batch().views[0][..., :16, :16].to(dtype),), torch.tensor([5, 5, 2, 2, 9, 9, 0, 0]))


def answers(m: LMCL, given: Batch) -> list[Exits]:
    return [network(given.views[0]) for network in m.networks]


def values(tensors: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(tensor.detach()) for name, tensor in tensors.items()}


@pytest.mark.parametrize("entry", IDENTIFIERS)
def test_parameters(entry: str) -> None:
    with weightless():
        m = method("l-mcl", IDENTIFIERS[entry], 100)
    golden = COUNTS[entry]
    assert count_parameters(m.networks) == golden["params_pair"]
    assert count_parameters(m.embeddings) == golden["params_heads_pair"]
    assert count_parameters(m.aggregators) == golden["params_aggregator_pair"]
    assert count_parameters(m.matching) == golden["params_weight_network_pair"]


@pytest.mark.parametrize("entry", PAIRS)
def test_networks_may_differ(entry: str) -> None:
    with weightless():
        m = get("l-mcl")(Build([networks.get(name) for name in PAIRS[entry]], 100, seed=0), configure("l-mcl", {}))
        given = torch.zeros(2, 3, 32, 32)
        exits = [network(given) for network in m.networks]
    assert count_parameters(m.networks) == COUNTS[entry]["params"]
    assert [[each.features.shape[-1]] * 3 for each in exits] == COUNTS[entry]["exit_embedding_dims"]
    terms = m.terms(exits, torch.zeros(2, dtype=torch.long, device="meta"))
    assert set(terms) == {"ce", "ce_aggregated", "kd", "vcl", "icl", "soft_vcl", "soft_icl"}


def test_two_networks_and_no_more() -> None:
    with pytest.raises(ValueError, match="L-MCL trains 2 networks, not 3"):
        get("l-mcl")(Build([networks.get("resnet8")] * 3, 10, seed=0), configure("l-mcl", {}))


def test_every_exit_has_weights_of_its_own_and_the_first_network_is_everybodys() -> None:
    m = method("l-mcl")
    stages = [
        stage
        for network in m.networks
        for stage in (network.backbone.branch.stages[-1], *(branch.stages[-1] for branch in network.branches))
    ]
    weights = [next(stage.parameters()) for stage in stages]
    assert len(weights) == 6
    assert not any(torch.equal(a, b) for i, a in enumerate(weights) for b in weights[:i])
    single = method("baseline").student.state_dict()
    assert all(torch.equal(value, single[name]) for name, value in m.networks[0].backbone.state_dict().items())


def test_a_network_of_four_stages_has_four_exits() -> None:
    with weightless():
        m = method("l-mcl", "tiny_resnet18", 200)
        features, logits = m.networks[0](torch.zeros(2, 3, 64, 64))
    assert features.shape == (4, 2, 512)
    assert logits.shape == (4, 2, 200)
    assert [len(branch.stages) for branch in m.networks[0].branches] == [3, 2, 1]


def test_heads_and_what_they_answer() -> None:
    m = method("l-mcl").eval()
    auxiliary = [f"peer{i}.exit{j}" for i in (0, 1) for j in (1, 2)]
    assert m.heads() == ("peer0", "peer1", "ensemble", *auxiliary, "aggregated0", "aggregated1")
    given = batch()
    with torch.no_grad():
        predictions, exits = m.predict(given.views[0]), answers(m, given)
    assert torch.equal(predictions["peer1"], m.networks[1].backbone(given.views[0]))
    assert torch.equal(predictions["peer0.exit2"], exits[0].logits[1])
    assert torch.allclose(predictions["ensemble"], (predictions["peer0"] + predictions["peer1"]) / 2)
    assert torch.equal(predictions["aggregated1"], m.aggregators[1](exits[1]))
    shares = m.aggregators[1].layers(torch.cat(list(exits[1].features), dim=1)).softmax(dim=1)
    mixed = sum(shares[:, j, None] * exits[1].logits[j] for j in range(3))
    assert torch.allclose(predictions["aggregated1"], mixed, atol=1e-6)


def test_pair_weights_stay_near_one_half() -> None:
    m = method("l-mcl")
    first, second = answers(m, batch())
    weights = m.matching(first.features, second.features)
    assert weights.shape == (3, 3, 8)
    assert weights.min() > 1 / (1 + math.e)
    assert weights.max() < 1 / (1 + math.exp(-1))
    one, two = m.matching.projections[0].layers[2], m.matching.projections[1].layers[0]
    cosine = cosine_similarity(one(first.features[2]), two(second.features[0]))
    assert torch.allclose(weights[2, 0], cosine.sigmoid(), atol=1e-6)


@pytest.mark.parametrize("pair_weight", [2.0, 1.0])
def test_each_pair_counts_in_both_directions_with_the_same_weights(pair_weight: float) -> None:
    """Pair by pair, as the authors' code has it: once for (1, 2) and once more for (2, 1)."""
    m = method("l-mcl", pair_weight=pair_weight).double()
    given = aware(torch.float64)
    exits = answers(m, given)
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(3, 3, 8, dtype=torch.float64, generator=generator)
    embedded = [
        [head(each) for head, each in zip(heads.layers, exit.features, strict=True)]
        for heads, exit in zip(m.embeddings, exits, strict=True)
    ]
    expected = dict.fromkeys(("vcl", "icl", "soft_vcl", "soft_icl"), 0.0)
    for k, a in enumerate(embedded[0]):
        for z, b in enumerate(embedded[1]):
            rows = contrast(torch.stack([a, b]), given.labels, ContrastiveConfig())
            both = {
                "vcl": rows.vcl.sum(dim=0),
                "icl": rows.icl[0, 1] + rows.icl[1, 0],
                "soft_vcl": rows.soft_vcl[0, 1] + rows.soft_vcl[1, 0],
                "soft_icl": rows.soft_icl[0, 1] + rows.soft_icl[1, 0],
            }
            for name, row in both.items():
                expected[name] += pair_weight * float((weights[k, z] * row).mean().detach())
    scale = {"vcl": 0.1, "icl": 0.1, "soft_vcl": 1.0, "soft_icl": 1.0}
    got = values(m.contrastive(exits, given.labels, weights))
    assert got == pytest.approx({name: scale[name] * value for name, value in expected.items()}, rel=1e-12)


def test_only_final_exits_learn_from_aggregated_logits() -> None:
    m = method("l-mcl")
    exits = [Exits(e.features.detach(), e.logits.detach().requires_grad_()) for e in answers(m, aware())]
    m.terms(exits, aware().labels)["kd"].backward()
    for each in exits:
        assert each.logits.grad.abs().amax(dim=(1, 2)).nonzero().flatten().tolist() == [2]
    assert all(p.grad is None for p in m.aggregators.parameters())


def test_auxiliary_exits_alone_are_a_control() -> None:
    m = method("l-mcl@exits-ce")
    assert (len(m.embeddings), len(m.aggregators), m.matching, m.meta_every) == (0, 0, None, 0)
    assert m.heads()[3:] == ("peer0.exit1", "peer0.exit2", "peer1.exit1", "peer1.exit2")
    given = aware()
    terms = m.losses(given, now())
    logits = [each for exits in answers(m, given) for each in exits.logits]
    expected = sum(cross_entropy(each, given.labels) for each in logits)
    assert values(terms) == pytest.approx({"ce": float(expected.detach())}, rel=1e-5)
    cross_entropy(logits[0], given.labels).backward()
    assert m.networks[0].backbone.trunk.stem[0].weight.grad.abs().max() > 0  # no stop-gradient below an exit


def test_one_exit_needs_no_aggregation() -> None:
    m = method("l-mcl", exits="final")
    assert m.heads() == ("peer0", "peer1", "ensemble")
    terms = m.losses(aware(), now())
    assert set(terms) == {"ce", "kd", "vcl", "icl", "soft_vcl", "soft_icl"}
    assert count_parameters(m.networks) == 2 * count_parameters(method("baseline").student)


def test_the_aggregators_learn_from_their_own_cross_entropy_only() -> None:
    trained = {p for group in method("l-mcl").parameter_groups() for p in group.parameters}
    assert trained
    untrained = method("l-mcl", aggregator_ce=False)
    assert "ce_aggregated" not in untrained.losses(aware(), now())
    groups = {id(p) for group in untrained.parameter_groups() for p in group.parameters}
    assert not groups & {id(p) for p in untrained.aggregators.parameters()}


@pytest.mark.parametrize("every", [0, 7])
def test_how_often_the_weight_network_learns(every: int) -> None:
    m = method("l-mcl", meta_every=every)
    assert m.meta_every == every
    groups = {id(p) for group in m.parameter_groups() for p in group.parameters}
    assert not groups & {id(p) for p in m.matching.parameters()}


def test_a_meta_step_trains_the_weight_network_and_nothing_else() -> None:
    m = method("l-mcl").to(memory_format=torch.channels_last)
    given = aware()
    given = Batch((given.views[0].contiguous(memory_format=torch.channels_last),), given.labels)
    other = deepcopy(m)
    before = {name: value.clone() for name, value in m.state_dict().items()}
    m.meta_step(given, now())
    after = m.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {name for name in changed if name.startswith("matching.projections")}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert all(name.startswith("matching.") or name.endswith(statistics) for name in changed)
    assert all(p.grad is None for p in m.parameters())
    answers(other, given)  # statistics: as if the batch had passed once more
    for name, value in other.state_dict().items():
        if name.startswith("networks."):
            assert torch.equal(value, after[name]), name


def test_the_hypergradient_agrees_with_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the terms without constant targets: autograd, as the authors' code, ignores that targets move on the way."""
    m = method("l-mcl", gamma=0.0, lam=0.0).double()
    direction, _ = excursion(m, monkeypatch)
    size = float(torch.sqrt(sum(g.square().sum() for g in direction)))
    epsilon, ends = 1e-5, []
    for sign in (1, -1):
        other = deepcopy(m)
        with torch.no_grad():
            for p, g in zip(other.matching.parameters(), direction, strict=True):
                p.add_(g / size, alpha=sign * epsilon)
        ends.append(excursion(other, monkeypatch)[1])
    assert (ends[0] - ends[1]) / (2 * epsilon) == pytest.approx(size, rel=1e-6)


def excursion(m: LMCL, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Tensor], float]:
    """The hypergradient of a meta step that is not taken, and the loss after its three inner steps."""
    losses: list[float] = []
    found: list[Tensor] = []
    outer = l_mcl.cross_entropy_of_exits

    def watched(*given) -> Tensor:
        value = outer(*given)
        losses.append(float(value.detach()))
        return value

    with monkeypatch.context() as patch:
        patch.setattr(l_mcl, "cross_entropy_of_exits", watched)
        patch.setattr(l_mcl.WeightNetwork, "step", lambda _, given, *rest: found.extend(given))
        m.meta_step(aware(torch.float64), now(0.01, torch.float64))
    return found, losses[1]


def test_state_continues_the_meta_steps() -> None:
    m = method("l-mcl")
    m.meta_step(aware(), now())
    copy = method("l-mcl", seed=1)
    copy.load_state_dict(m.state_dict())
    for each in (m, copy):
        each.meta_step(aware(), now(0.05))
    for name, value in m.state_dict().items():
        assert torch.equal(value, copy.state_dict()[name]), name


def test_a_meta_step_is_sgd_with_nesterov_momentum() -> None:
    m = method("l-mcl")
    reference = deepcopy(m.matching)
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    generator = torch.Generator().manual_seed(0)
    for rate in (0.1, 0.1, 0.02):
        gradients = [torch.randn(p.shape, generator=generator) for p in reference.parameters()]
        for p, g in zip(reference.parameters(), gradients, strict=True):
            p.grad = g
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        m.matching.step(gradients, torch.tensor(rate), 0.9, 5e-4)
    for p, q in zip(m.matching.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-6, atol=1e-7)


def test_pair_weights_reach_the_features_in_the_inner_steps_unless_told_otherwise() -> None:
    found = []
    for detach in (False, True):
        m = method("l-mcl", lambda_detach_inner=detach)
        m.meta_step(aware(), now())
        found.append(torch.cat([p.detach().flatten() for p in m.matching.parameters()]))
    assert not torch.equal(*found)
