"""MCL and L-MCL against numbers computed with the authors' code (float64): modules, losses, gradients, meta steps."""

import json
from collections.abc import Iterable

import pytest
import torch
from golden.checker import load
from golden.contrastive import aggregators, embedding_heads, mlp, watched_episode, weight_network
from golden.maps import Golden, Tensors, architecture, check, check_all, fill, golden
from torch import Tensor, nn

from okdbench.config import CosineSchedule, MultistepSchedule, OptimizerSettings, Schedule, TrainingSettings
from okdbench.methods import Batch, Build, Method, Progress, configure, get
from okdbench.methods.l_mcl import LMCL, Aggregator, WeightNetwork
from okdbench.methods.mcl import MCL
from okdbench.methods.parts.contrastive import ContrastiveConfig, Embedding, contrast, soft
from okdbench.methods.parts.exits import Exits
from okdbench.methods.parts.hypergradient import Lookahead
from okdbench.methods.parts.losses import distillation
from okdbench.training.optimizer import rate_factor

TERMS = ("vcl", "icl", "soft_vcl", "soft_icl")
RULES = {"paper": "exact_adjoint", "released": "as_released"}
"""Preset of L-MCL -> what the golden data call its adjoint."""


def meta(path: str) -> dict:
    """The configuration of a case."""
    return json.loads(str(load(path, "fusion")["meta"]))


def inputs(found: Golden, *names: str) -> Tensors:
    """Inputs of these names, or all, ready to collect gradients."""
    tensors = {key.removeprefix("in_"): torch.from_numpy(value) for key, value in found.items() if key[:3] == "in_"}
    return {
        name: tensor.requires_grad_(tensor.is_floating_point())
        for name, tensor in tensors.items()
        if name in names or not names
    }


def method(label: str, width: int, classes: int, **settings: object) -> Method:
    """Any method on a network of three stages whose feature is so wide, in float64."""
    network = architecture([(1, 1, 1, 1), (1, 1, 1, 1), (1, width, 1, 1)])
    kind = get(label.partition("@")[0])
    return kind(Build([network], classes, seed=0), configure(label, settings)).double()


def contrastive_terms(m: MCL | LMCL, terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without their weights."""
    weights = (m.config.alpha, m.config.beta, m.config.gamma, m.config.lam)
    return {name: terms[name] / weight for name, weight in zip(TERMS, weights, strict=True)}


@pytest.mark.parametrize("case", ["mcl_losses_1", "mcl_losses_2_multipos", "mcl_losses_4_k3"])
def test_terms_of_given_embeddings(case: str) -> None:
    found = golden(f"modules/{case}.npz")
    given = inputs(found)
    labels = given.pop("labels")
    rows = contrast(torch.stack(list(given.values())), labels, ContrastiveConfig())
    peers = len(given)
    pairs = 1 - torch.eye(peers, dtype=torch.float64)[..., None]
    total = rows.total(torch.ones(peers, 1, dtype=torch.float64), pairs)
    for name in TERMS:
        for z in given.values():
            z.grad = None
        check(getattr(total, name), found, f"out_{name}")
        getattr(total, name).backward(retain_graph=True)
        assert check_all(given, found, f"grad_{name}_", gradients=True) == peers


def test_terms_of_one_weighted_pair() -> None:
    found = golden("modules/lmcl_pair_losses_1.npz")
    given = inputs(found)
    labels, weight = given.pop("labels"), given["weight"]
    rows = contrast(torch.stack([given["za"], given["zb"]]), labels, ContrastiveConfig())
    pairs = (1 - torch.eye(2, dtype=torch.float64)[..., None]) * weight
    total = rows.total(pairs.sum(dim=1), pairs)
    for name in TERMS:
        for tensor in given.values():
            tensor.grad = None
        check(getattr(total, name), found, f"out_{name}")
        getattr(total, name).backward(retain_graph=True)
        assert check_all(given, found, f"grad_{name}_", gradients=True) == 3


def test_kl_of_mcl() -> None:
    found = golden("modules/kl_mcl_1.npz")
    given = inputs(found)
    loss = distillation(given["student"], given["teacher"], 3.0)
    loss.backward()
    check(loss, found, "out_loss")
    check(given["student"].grad, found, "grad_student")
    check(given["teacher"].grad, found, "grad_teacher_not_detached")


def test_weighted_kl_of_lmcl() -> None:
    found = golden("modules/kl_lmcl_1.npz")
    for kind in ("weighted", "unweighted"):
        given = inputs(found)
        rows = soft(given["student"], given["teacher"], 3.0, torch.ones(8, 20, dtype=torch.bool))
        loss = ((given["weight"] if kind == "weighted" else 1) * rows).mean()
        loss.backward()
        check(loss, found, f"out_loss_{kind}")
        assert check_all(given, found, f"grad_{kind}_", gradients=True) == (2 if kind == "weighted" else 1)


def test_embedding() -> None:
    found = golden("modules/mcl_embed_1.npz")
    module = Embedding(16, 12).double()
    fill(mlp("proj_head", module.layers), found, "w_")
    given = inputs(found)
    z = module(given["h"])
    check(z, found, "out_z")
    (z * torch.from_numpy(found["cotangent_z"])).sum().backward()
    assert check_all(mlp("proj_head", module.layers), found, "grad_w_", gradients=True) == 4
    check(given["h"].grad, found, "grad_h")


def exits_of(given: Tensors, exits: int = 3) -> list[Exits]:
    """The answers of two networks from ``e1_1``, ``logits1_1``, .."""
    return [
        Exits(*(torch.stack([given[f"{what}{n}_{j + 1}"] for j in range(exits)]) for what in ("e", "logits")))
        for n in (1, 2)
    ]


def test_aggregator() -> None:
    found = golden("modules/lmcl_aggregator_1.npz")
    given = inputs(found)
    modules = [Aggregator(3, 8).double() for _ in range(2)]
    named = {**mlp("proj_head_0", modules[0].layers), **mlp("proj_head_1", modules[1].layers)}
    fill(named, found, "w_")
    total = torch.zeros((), dtype=torch.float64)
    for n, (module, exits) in enumerate(zip(modules, exits_of(given), strict=True), start=1):
        aggregated = module(exits)
        check(aggregated, found, f"out_agg{n}")
        total = total + (aggregated * torch.from_numpy(found[f"cotangent_agg{n}"])).sum()
    total.backward()
    assert check_all(named, found, "grad_w_", gradients=True) == 8
    assert (
        check_all({**named, **given}, {k: v for k, v in found.items() if "_w_" not in k}, "grad_", gradients=True) == 12
    )


def both_directions(weights: Tensor) -> Tensor:
    """[n, n, B] as the authors' code lists them: (net 1, net 2) row by row, then (net 2, net 1)."""
    return torch.cat([weights.flatten(0, 1), weights.transpose(0, 1).flatten(0, 1)])


def test_weight_network() -> None:
    found = golden("modules/lmcl_weight_network_1.npz")
    given = inputs(found)
    module = WeightNetwork([3, 3], [8, 8]).double()
    fill(weight_network(module), found, "w_")
    first, second = (torch.stack([given[f"e{n}_{j}"] for j in (1, 2, 3)]) for n in (1, 2))
    weights = both_directions(module(first, second))
    check(weights, found, "out_weights")
    (weights * torch.from_numpy(found["cotangent_weights"])).sum().backward()
    assert check_all(weight_network(module), found, "grad_w_", gradients=True) == 12
    features = {key: value for key, value in found.items() if key.startswith("grad_e")}
    assert check_all(given, features, "grad_", gradients=True) == 6


@pytest.mark.parametrize("case", ["mcl_1", "mcl_2_logit", "mcl_4_k4"])
def test_an_iteration_of_mcl(case: str) -> None:
    path = f"losses/{case}.npz"
    found, settings = golden(path), meta(path)
    peers = settings["K"]
    kd = "off" if not settings["logit_distill"] else "all" if peers == 2 else "last"
    m = method("mcl", settings["D"], settings["classes"], peers=peers, embedding=settings["feat_dim"], logit_kd=kd)
    heads = [mlp(f"embed_list.{i}.proj_head", head.layers) for i, head in enumerate(m.embeddings)]
    named = {name: tensor for each in heads for name, tensor in each.items()}
    fill(named, found, "w_")
    given = inputs(found)
    features = [given[f"h{i + 1}"] for i in range(peers)]
    terms = m.terms(features, torch.stack([given[f"logits{i + 1}"] for i in range(peers)]), given["labels"])
    total = sum(terms.values())
    total.backward()
    check(total, found, "out_loss")
    check(terms["ce"], found, "out_loss_cls")
    check(terms.get("kd", 0.0), found, "out_loss_logit_kd")
    check(sum(terms[name] for name in TERMS), found, "out_loss_mcl")
    for name, term in contrastive_terms(m, terms).items():
        check(term, found, f"out_loss_{name}")
    features_and_logits = {key: value for key, value in found.items() if "_w_" not in key}
    assert check_all(given, features_and_logits, "grad_", gradients=True) == 2 * peers
    assert check_all(named, found, "grad_w_", gradients=True) == 4 * peers
    step(named.values(), settings)
    assert check_all(named, found, "after_step_w_") >= 2 * peers


def step(parameters: Iterable[Tensor], settings: dict) -> None:
    """What the authors' optimiser does first: SGD with Nesterov momentum."""
    rate = settings.get("lr_used", settings.get("lr"))
    torch.optim.SGD(
        list(parameters), lr=rate, momentum=settings["momentum"], weight_decay=settings["wd"], nesterov=True
    ).step()


@pytest.mark.parametrize("case", ["lmcl_1", "lmcl_3_r32shape"])
def test_an_iteration_of_lmcl(case: str) -> None:
    path = f"losses/{case}.npz"
    found, settings = golden(path), meta(path)
    m = method("l-mcl", settings["dims"][0], settings["classes"], embedding=settings["feat_dim"])
    heads, mixers, weights = embedding_heads(m), aggregators(m), weight_network(m.matching)
    for prefix, named in (("w_heads.", heads), ("w_agg.", mixers), ("w_weightnet.", weights)):
        fill(named, found, prefix)
    given = inputs(found)
    answers = exits_of(given)
    check(both_directions(m.matching(answers[0].features, answers[1].features)), found, "out_weights")
    for n, aggregated in enumerate(m.aggregate(answers), start=1):
        check(aggregated, found, f"out_agg{n}")
    terms = m.terms(answers, given["labels"])
    total = sum(terms.values())
    total.backward()
    check(total, found, "out_loss")
    check(terms["ce"] + terms["ce_aggregated"], found, "out_loss_cls")
    check(terms["kd"], found, "out_loss_logit_kd")
    check(sum(terms[name] for name in TERMS), found, "out_loss_mcl")
    for name, term in contrastive_terms(m, terms).items():
        check(term, found, f"out_loss_{name}")
    features_and_logits = {key: value for key, value in found.items() if "_w_" not in key}
    assert check_all(given, features_and_logits, "grad_", gradients=True) == 12
    assert check_all(heads, found, "grad_w_heads.", gradients=True) == 24
    assert check_all(mixers, found, "grad_w_agg.", gradients=True) == 8
    assert all(parameter.grad is None for parameter in m.matching.parameters())


def test_steps_on_given_gradients() -> None:
    path = "modules/lmcl_meta_sgd_given_gradients_1.npz"
    found, settings = golden(path), meta(path)
    given = inputs(found)
    parameters = {name: given[name] for name in ("p1", "p2")}
    seen: list[dict[str, Tensor]] = []

    def loss(number: int) -> Tensor:
        seen.append({name: p.detach().clone() for name, p in parameters.items()})
        flat = sum((p**2).sum() * 0 for p in parameters.values())
        return flat + sum((p * given[f"g{number}_{name}"].detach()).sum() for name, p in parameters.items())

    ahead = Lookahead(list(parameters.values()), [], rate(settings), settings["momentum"], settings["weight_decay"])
    ahead.hypergradient([lambda: loss(1), lambda: loss(2)], lambda: loss(2), [torch.zeros(1, requires_grad=True)])
    for number in (1, 2):
        for name in parameters:
            check(seen[number][name], found, f"out_step{number}_{name}")
            moved = (seen[number - 1][name] - seen[number][name]) / settings["lr"]
            check(moved, found, f"out_step{number}_momentum_{name}")


def rate(settings: dict) -> Tensor:
    return torch.tensor(settings["lr"], dtype=torch.float64)


@pytest.mark.parametrize("preset", RULES)
@pytest.mark.parametrize("case", [1, 2])
def test_hypergradients_of_a_toy(case: int, preset: str) -> None:
    path = f"modules/lmcl_meta_hypergrad_{case}.npz"
    found, settings = golden(path), meta(path)
    given = inputs(found)
    p1, p2, matrix, target, shape = (given[name] for name in ("p1", "p2", "A", "c", "lmbd"))
    matrix.requires_grad_(False)
    seen: list[dict[str, Tensor]] = []
    judged: list[Tensor] = []

    def point() -> None:
        seen.append({"p1": p1.detach().clone(), "p2": p2.detach().clone()})

    def inner() -> Tensor:
        point()
        twisted = (p1[:2] * (p2 @ p1[1:3]) * shape[0]).sum()
        return 0.5 * (matrix @ p1).square().sum() + (shape.sigmoid() * p2**2).sum() + twisted

    def outer() -> Tensor:
        point()
        judged.append(((p1 - target) ** 2).mean() + 0.5 * (p2 @ p1[:2]).square().sum())
        return judged[-1]

    coupling = None if preset == "paper" else 1.0
    ahead = Lookahead([p1, p2], [], rate(settings), settings["momentum"], settings["weight_decay"], coupling)
    steps = [inner] * settings["inner_steps"] + [outer] * settings["outer_step"]
    [hypergradient] = ahead.hypergradient(steps, outer, [shape])
    check(hypergradient, found, f"out_hypergrad_{RULES[preset]}")
    check(judged[settings["outer_step"]], found, "out_outer_loss")
    for name, values in zip(("inner1", "inner2", "outer")[: len(steps)], seen[1:], strict=False):
        assert check_all(values, found, f"out_after_{name}_") == 2


class Tiny(nn.Module):
    """One network of the golden meta step: h = tanh(trunk x), e_j = softplus(exits_j h), l_j = fc_j e_j."""

    def __init__(self, inputs: int, hidden: int, width: int, classes: int) -> None:
        super().__init__()
        self.trunk = nn.Linear(inputs, hidden)
        self.exits = nn.ModuleList(nn.Linear(hidden, width) for _ in range(3))
        self.fc = nn.ModuleList(nn.Linear(width, classes) for _ in range(3))

    def forward(self, x: Tensor) -> Exits:
        hidden = self.trunk(x).tanh()
        features = [nn.functional.softplus(layer(hidden)) for layer in self.exits]
        logits = [layer(each) for layer, each in zip(self.fc, features, strict=True)]
        return Exits(torch.stack(features), torch.stack(logits))


def tiny_networks(m: LMCL) -> Tensors:
    """Golden names: the number of the network comes after that of the part."""
    found: Tensors = {}
    for n, network in enumerate(m.networks):
        for name, tensor in network.named_parameters():
            part, _, rest = name.partition(".")
            found[f"{part}.{n}.{rest}"] = tensor
    return found


def copies(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@pytest.mark.parametrize("preset", RULES)
def test_a_meta_step_of_lmcl(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "losses/lmcl_4_meta_episode.npz"
    found, settings = golden(path), meta(path)
    m = method(f"l-mcl@{preset}", settings["dims"][0], settings["classes"], embedding=settings["feat_dim"])
    m.networks = nn.ModuleList(
        Tiny(5, settings["dh"], settings["dims"][0], settings["classes"]) for _ in range(2)
    ).double()
    networks, heads, mixers = tiny_networks(m), embedding_heads(m), aggregators(m)
    weights = weight_network(m.matching)
    for prefix, named in (("net", networks), ("heads", heads), ("agg", mixers), ("weightnet", weights)):
        fill(named, found, f"w_{prefix}.")
    given = inputs(found)
    batch = Batch((given["x"].detach(),), given["labels"])
    zero = torch.zeros((), dtype=torch.float64)
    now = Progress(zero, zero, rate=rate(settings))

    loss = sum(m.losses(batch, now).values())
    loss.backward()
    check(loss, found, "out_loss")
    [group] = m.parameter_groups()
    step(group.parameters, settings)
    after = {"net": networks, "heads": heads, "agg": mixers}
    assert [check_all(named, found, f"out_{name}_after.") for name, named in after.items()] == [28, 24, 8]
    before = copies(dict(m.named_parameters()))
    gradients = {name: (p.grad, p.grad.clone()) for name, p in m.named_parameters() if p.grad is not None}

    seen, stepped = watched_episode(monkeypatch, m, lambda: copies(networks))
    m.meta_step(batch, now)

    for name, (at, _) in zip(("inner1", "inner2", "outer"), seen[1:], strict=False):
        assert check_all(at, found, f"out_net_after_{name}.") == 28
    check(torch.stack([value for _, value in seen[:2]]), found, "out_inner_losses")
    check(seen[2][1], found, "out_outer_loss_step")
    rule = RULES[preset]
    hypergradient = dict(zip(dict(m.matching.named_parameters()).values(), stepped, strict=True))
    assert check_all({name: hypergradient[p] for name, p in weights.items()}, found, f"out_hypergrad_{rule}.") == 12
    assert check_all(weights, found, f"out_weightnet_after_{rule}.") == 12
    trained = {name: p for name, p in m.named_parameters() if not name.startswith("matching")}
    assert all(torch.equal(p, before[name]) for name, p in trained.items())
    for name, p in m.named_parameters():
        kept, value = gradients.get(name, (None, None))
        assert p.grad is kept
        assert kept is None or torch.equal(kept, value)


@pytest.mark.parametrize(
    ("recipe", "schedule"),
    [
        ("mcl_cifar_cosine", CosineSchedule(name="cosine")),
        ("lmcl_cifar_cosine", CosineSchedule(name="cosine")),
        ("mcl_imagenet", MultistepSchedule(name="multistep", milestones=(30, 60))),
    ],
)
def test_learning_rates(recipe: str, schedule: Schedule) -> None:
    expected = load("schedule.json", "fusion")[recipe]["lr"]
    training = TrainingSettings(epochs=len(expected), optimizer=OptimizerSettings(lr=0.1), schedule=schedule)
    assert [0.1 * rate_factor(training, epoch) for epoch in range(len(expected))] == pytest.approx(expected, rel=1e-12)
