"""MCL and L-MCL on ImageNet against numbers computed with the authors' code (float64): memory banks and light exits."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from golden.bank import FOLDER, TERMS, banked, case, check_banks, drop_gradients, slots, tensor
from golden.checker import fill, images, labels, load
from golden.contrastive import aggregators, embedding_heads, mlp, watched_episode, weight_network
from golden.maps import Golden, Tensors, check, check_all
from golden.maps import fill as fill_named
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from okdbench import networks
from okdbench.methods import Batch, Build, Progress, configure, get
from okdbench.methods.l_mcl import LMCL, WeightNetwork
from okdbench.methods.parts.bank import bank_contrast
from okdbench.methods.parts.contrastive import Contrast
from okdbench.methods.parts.exits import Exits, MultiExit
from okdbench.methods.parts.hypergradient import Lookahead
from okdbench.networks import Branched
from okdbench.networks.base import count_parameters
from okdbench.networks.counting import count_macs, weightless

RULES = {"own": "exact_adjoint", "released": "as_released"}


@pytest.mark.parametrize("name", ["bank_mcl_1", "bank_mcl_2_k4", "bank_mcl_4_d128"])
def test_terms_of_given_embeddings(name: str) -> None:
    found = case(name)
    peers = found["meta"]["K"]
    bank = banked("mcl", found, 3, peers=peers).bank
    off = 1 - torch.eye(peers, dtype=torch.float64)[..., None]
    for step in range(found["meta"]["steps"]):
        given = {f"z{m}": tensor(found, f"in_step{step}_z{m}", grad=True) for m in range(peers)}
        drawn, z = slots(found, f"in_step{step}_"), torch.stack(list(given.values()))
        total = bank_contrast(bank.similarities(drawn, z, 0.07), 3.0).total(torch.ones_like(off[0]), off)
        for term in TERMS:
            drop_gradients(given)
            check(getattr(total, term), found, f"out_step{step}_{term}")
            getattr(total, term).backward(retain_graph=True)
            assert check_all(given, found, f"grad_step{step}_{term}_", gradients=True) == peers
        bank.update(drawn[:, 0], z.detach(), 0.5)
        for m, rows in enumerate(bank.rows):
            check(rows, found, f"out_bank{m}_after_step{step}")


@pytest.mark.parametrize("name", ["step_mcl_1", "step_mcl_2_k4_logit"])
def test_iterations_of_mcl(name: str) -> None:
    found = case(name)
    meta = found["meta"]
    peers, kd = meta["K"], "last" if meta["logit_distill"] else "off"
    m = banked("mcl", found, meta["DH"], peers=peers, logit_kd=kd, kd_target_detach=False)
    heads = [mlp(f"embed_list.{i}.proj_head", head.layers) for i, head in enumerate(m.embeddings)]
    named = {key: value for each in heads for key, value in each.items()}
    fill_named(named, found, "w_")
    kept = {key: meta[key] for key in ("lr", "momentum", "nesterov", "weight_decay")}
    optimizer = torch.optim.SGD(named.values(), **kept)
    for step in range(meta["steps"]):
        before = f"in_step{step}_"
        given = {
            f"{what}{i}": tensor(found, f"{before}{what}{i}", grad=True)
            for what in ("h", "logits")
            for i in range(peers)
        }
        features, logits = ([given[f"{what}{i}"] for i in range(peers)] for what in ("h", "logits"))
        terms = m.terms(features, torch.stack(logits), tensor(found, f"{before}labels"), slots(found, before))
        optimizer.zero_grad()
        total = sum(terms.values())
        total.backward()
        check(total, found, f"out_step{step}_loss")
        check(terms["ce"], found, f"out_step{step}_loss_cls")
        check(terms.get("kd", 0.0), found, f"out_step{step}_loss_logit_kd")
        for term, weight in zip(TERMS, (0.1, 0.1, 1.0, 1.0), strict=True):
            check(terms[term] / weight, found, f"out_step{step}_loss_{term}")
        assert check_all({**given, **named}, found, f"grad_step{step}_", gradients=True) == 2 * peers + 4 * peers
        optimizer.step()
        assert check_all(named, found, f"after_step{step}_") == 4 * peers
        m.after_step(now())
        check_banks(m, found, f"after_step{step}")


def now(rate: float = 0.1) -> Progress:
    zero = torch.zeros((), dtype=torch.float64)
    return Progress(zero, zero, rate=torch.tensor(rate, dtype=torch.float64))


def test_both_visits_to_a_pair_are_what_the_collapsed_terms_add_up() -> None:
    """The golden terms are of one pair of exits, in both orders; one exit for each network is such a pair."""
    found = case("pair_lmcl_1")
    for order in ("01", "10"):
        assert found[f"out_order{order}_icl"] == pytest.approx(found["out_order01_icl"], rel=1e-12)
    m = banked("l-mcl", found, 3, exits="final", vcl_bank="released")
    given = {f"z{n}": tensor(found, f"in_z{n}", grad=True) for n in (0, 1)}
    given["weight"] = tensor(found, "in_weight", grad=True)
    z = torch.stack([given["z0"], given["z1"]])
    total = m._with_banks(m.bank, z, slots(found), given["weight"][None, None])
    for term in TERMS:
        drop_gradients(given)
        both = sum(found[f"out_order{order}_{term}"] for order in ("01", "10"))
        check(getattr(total, term), {"out": both}, "out")
        getattr(total, term).backward(retain_graph=True)
        gradients = {key: sum(found[f"grad_order{order}_{term}_{key}"] for order in ("01", "10")) for key in given}
        assert check_all(given, gradients, "", gradients=True) == 3


@pytest.mark.parametrize("name", ["exits_lmcl_1", "exits_lmcl_2_hetero"])
def test_all_pairs_of_exits(name: str) -> None:
    found = case(name)
    meta = found["meta"]
    m = lmcl(found, vcl_bank="released")
    heads = {key.removeprefix("embed_list."): value for key, value in embedding_heads(m).items()}
    fill_named(heads, found, "w_heads.")
    exits = range(meta["exits"])
    for step in range(meta["steps"]):
        before = f"in_step{step}_"
        given = {f"e{n}_{j}": tensor(found, f"{before}e{n}_{j}", grad=True) for n in (0, 1) for j in exits}
        given["weights"] = tensor(found, f"{before}weights", grad=True)
        drop_gradients(heads)
        features = [torch.stack([given[f"e{n}_{j}"] for j in exits]) for n in (0, 1)]
        embedded = torch.cat([embed(each) for embed, each in zip(m.embeddings, features, strict=True)])
        terms = of_ordered_pairs(m, embedded, slots(found, before), given["weights"])
        total = sum(m.config.weighted(terms).values())
        total.backward()
        for term in TERMS:
            check(getattr(terms, term), found, f"out_step{step}_{term}")
        check(total, found, f"out_step{step}_loss")
        got = {**given, **{f"heads.{key}": value for key, value in heads.items()}}
        assert check_all(got, found, f"grad_step{step}_", gradients=True) == 2 * 4 + 1 + 2 * 4 * 4
        m.note(slots(found, before), embedded.detach()[[3, 7]])
        m.after_step(now())
        check_banks(m, found, f"after_step{step}")


def of_ordered_pairs(m: LMCL, embedded: Tensor, drawn: Tensor, weights: Tensor) -> Contrast:
    """The terms where the two visits to a pair of exits have weights of their own, as the golden data have it.

    ``weights`` are the authors' list: (net 0, net 1) row by row, then (net 1, net 0). In training both are equal. The
    visits differ in nothing but the bank that VCL reads, so each is a visit with one bank twice.
    """
    exits = len(embedded) // 2
    visits = weights.view(2, exits, exits, -1)
    visits = torch.stack([visits[0], visits[1].transpose(0, 1)])
    both = m._with_banks(m.bank, embedded, drawn, visits.mean(dim=0))
    rows = m.bank.rows
    alone = []
    for number, visit in enumerate(visits):
        m.bank.rows = rows[[number, number]]
        alone.append(m._with_banks(m.bank, embedded, drawn, visit))
    m.bank.rows = rows
    vcl, soft_vcl = (sum(getattr(each, term) for each in alone) / 2 for term in ("vcl", "soft_vcl"))
    return both._replace(vcl=vcl, soft_vcl=soft_vcl)


class Tiny(nn.Module):
    """One network of the golden meta step: h = tanh(bn(trunk x)), e_j = softplus(exits_j h), l_j = fc_j e_j."""

    def __init__(self, inputs: int, hidden: int, width: int, exits: int, classes: int) -> None:
        super().__init__()
        self.trunk, self.bn = nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden)
        self.exits = nn.ModuleList(nn.Linear(hidden, width) for _ in range(exits))
        self.fc = nn.ModuleList(nn.Linear(width, classes) for _ in range(exits))

    def forward(self, x: Tensor) -> Exits:
        hidden = self.bn(self.trunk(x)).tanh()
        features = [nn.functional.softplus(layer(hidden)) for layer in self.exits]
        logits = [layer(each) for layer, each in zip(self.fc, features, strict=True)]
        return Exits(torch.stack(features), torch.stack(logits))


def lmcl(found: Golden, **settings: Any) -> LMCL:
    """L-MCL whose networks may have features of two widths."""
    meta = found["meta"]
    m = banked("l-mcl", found, meta["dims"][0], alpha=0.01, beta=0.01, meta_weight_decay=1e-4, **settings)
    if meta["dims"][0] != meta["dims"][1]:
        other = banked("l-mcl", found, meta["dims"][1], **settings)
        m.embeddings[1], m.aggregators[1] = other.embeddings[1], other.aggregators[1]
        m.matching = WeightNetwork([meta["exits"]] * 2, meta["dims"]).double()
    return m


def tiny_networks(m: LMCL) -> Tensors:
    """Golden names: the number of the network comes after that of the part."""
    found: Tensors = {}
    for n, network in enumerate(m.networks):
        for name, value in network.state_dict(keep_vars=True).items():
            part, _, rest = name.partition(".")
            if rest != "num_batches_tracked":
                found[f"{part}.{n}.{rest}"] = value
    return found


def copies(tensors: Tensors) -> Tensors:
    return {name: value.detach().clone() for name, value in tensors.items()}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["meta_episode_1", "meta_episode_2_hetero"])
def test_a_meta_step(name: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = case(name)
    meta = found["meta"]
    adjoint = "released" if rule == "released" else "exact"
    m = lmcl(found, vcl_bank="released", adjoint=adjoint)
    sizes = [(meta["din"], meta["dh"], width, meta["exits"], meta["classes"]) for width in meta["dims"]]
    m.networks = nn.ModuleList(Tiny(*size) for size in sizes).double().train()
    nets, mixers, weights = tiny_networks(m), aggregators(m), weight_network(m.matching)
    heads = {key.removeprefix("embed_list."): value for key, value in embedding_heads(m).items()}
    trained = {key: value for key, value in nets.items() if "running" not in key}
    for prefix, named in (("net", trained), ("heads", heads), ("agg", mixers), ("weightnet", weights)):
        fill_named(named, found, f"w_{prefix}.")
    drawn = slots(found)
    batch = Batch((tensor(found, "in_x"),), tensor(found, "in_labels"), drawn[:, 0])
    monkeypatch.setattr(m, "slots", lambda *given: drawn)

    terms = m.losses(batch, now())
    total = sum(terms.values())
    total.backward()
    check(total, found, "out_loss")
    check(terms["ce"] + terms["ce_aggregated"], found, "out_loss_cls")
    check(terms["kd"], found, "out_loss_logit_kd")
    for term, weight in zip(TERMS, (0.01, 0.01, 1.0, 1.0), strict=True):
        check(terms[term] / weight, found, f"out_loss_{term}")
    assert check_all(trained, found, "grad_net.", gradients=True) == len(trained)
    [group] = m.parameter_groups()
    torch.optim.SGD(group.parameters, lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True).step()
    m.after_step(now())
    assert check_all(nets, found, "out_net_after.") == len(nets)
    assert check_all(heads, found, "out_heads_after.") == len(heads)
    assert check_all(mixers, found, "out_agg_after.") == len(mixers)
    check_banks(m, found, "after")

    seen, stepped = watched_episode(monkeypatch, m, lambda: (copies(nets), copies(heads), m.bank.rows.clone()))
    m.meta_step(batch, now())
    for tag, ((net, head, rows), _) in zip(("inner1", "inner2", "outer"), seen[1:], strict=False):
        # Statistics have already seen the batch of the loss that is watched, except where it has run before.
        weights_alone = {key: value for key, value in found.items() if "running" not in key}
        assert check_all(net, weights_alone, f"out_net_after_{tag}.") == len(trained)
        assert check_all(head, found, f"out_heads_after_{tag}.") == len(heads)
        for number in (0, 1):
            check(rows[number], found, f"out_bank{number}_after_{tag}")
    check(torch.stack([value for _, value in seen[:2]]), found, "out_inner_losses")
    check(torch.stack([value for _, value in seen[2:4]]), found, "out_outer_losses")
    hypergradient = dict(zip(dict(m.matching.named_parameters()).values(), stepped, strict=True))
    got = {key: hypergradient[p] for key, p in weights.items()}
    assert check_all(got, found, f"out_hypergrad_{RULES[rule]}.") == len(weights)
    assert check_all(weights, found, f"out_weightnet_after_{RULES[rule]}.") == len(weights)
    assert check_all(nets, found, "out_net_after_episode.") == len(nets)
    assert check_all(heads, found, "out_heads_after_episode.") == len(heads)
    check_banks(m, found, "after_episode")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["meta_toy_1", "meta_toy_2_three_inner"])
def test_hypergradients_of_a_toy(name: str, rule: str) -> None:
    found = case(name)
    meta = found["meta"]
    p1, p2, shape = (tensor(found, f"in_{key}", grad=True) for key in ("p1", "p2", "lmbd"))
    matrix, target = tensor(found, "in_A"), tensor(found, "in_c")

    def inner() -> Tensor:
        twisted = (p1[:2] * (p2 @ p1[1:3]) * shape[0]).sum()
        return 0.5 * (matrix @ p1).square().sum() + (shape.sigmoid() * p2**2).sum() + twisted

    def outer() -> Tensor:
        return ((p1 - target) ** 2).mean() + 0.5 * (p2 @ p1[:2]).square().sum()

    rate = torch.tensor(meta["lr"], dtype=torch.float64)
    coupling = 1.0 if rule == "released" else None
    ahead = Lookahead([p1, p2], [], rate, meta["momentum"], meta["weight_decay"], coupling)
    [hypergradient] = ahead.hypergradient([inner] * meta["inner_steps"] + [outer], outer, [shape])
    check(hypergradient, found, f"out_hypergrad_{RULES[rule]}")


def with_exits(name: str, classes: int) -> MultiExit:
    architecture = networks.get(f"imagenet_{name}")
    return MultiExit(architecture.build(classes), architecture.light_exits(classes))


@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow), "shufflenetv2_1"])
def test_networks_with_light_exits(name: str) -> None:
    found = case(f"forward_{name}")
    meta = found["meta"]
    network = with_exits(name, meta["classes"]).double()
    given = images(meta["B"], meta["size"], meta["view"])
    order = fill(network, given)
    assert len(order) == meta["num_filled_layers"]
    check_passes(found, network, given, lambda exits: (exits.logits, exits.features))
    fill(network, given)
    network.train()
    logits = network(given).logits
    loss = torch.stack([cross_entropy(each, labels(meta["B"], meta["classes"])) for each in logits]).sum()
    loss.backward()
    check(loss, found, "out_loss")
    gradients = [layer.weight.grad.numpy().reshape(-1) for layer in order]
    for what, of in {"sum": np.sum, "sumsq": lambda g: g @ g, "maxabs": lambda g: np.abs(g).max()}.items():
        want = found[f"grad_weight_{what}"]
        scale = np.array([np.abs(g).sum() if what == "sum" else abs(of(g)) for g in gradients])
        assert (np.abs(np.array([of(g) for g in gradients]) - want) <= 1e-9 * scale.max()).all(), what
    cosdot = np.array([g @ np.cos(np.arange(g.size)) for g in gradients])
    assert np.abs(cosdot - found["grad_weight_cosdot"]).max() <= 1e-9 * np.abs(found["grad_weight_sumsq"]).max() ** 0.5


def check_passes(found: Golden, network: nn.Module, given: Tensor, read: Any) -> None:
    for mode in ("eval", "train", "eval_after_train"):
        network.train(mode == "train")
        with torch.no_grad():
            logits, features = read(network(given))
        check(logits, found, f"out_logits_{mode}")
        check(torch.stack([each.reshape(-1)[:16] for each in features]), found, f"out_feat_first16_{mode}")
        check(torch.stack([each.mean() for each in features]), found, f"out_feat_mean_{mode}")


def test_branches_of_mcl() -> None:
    found = case("forward_x4_resnet18")
    meta = found["meta"]
    network = get("mcl")(
        Build([networks.get("imagenet_resnet18")], meta["classes"], seed=0), configure("mcl@x4", {})
    ).network.double()
    assert isinstance(network, Branched)
    given = [images(meta["B"], meta["size"], meta["view"])]
    assert len(fill(network, given)) == meta["num_filled_layers"]

    def read(traces: Any) -> tuple[Tensor, Tensor]:
        return torch.stack([t.logits for t in traces]), torch.stack([t.features for t in traces])

    for mode in ("eval", "train", "eval_after_train"):
        network.train(mode == "train")
        with torch.no_grad():
            logits, features = read(network(given))
        check(logits, found, f"out_logits_{mode}")
        check(features.flatten(1)[:, :16], found, f"out_feat_first16_{mode}")


COUNTS = load("networks.json", FOLDER)
NAMES = ["resnet18", "resnet50", "shufflenetv2_1"]


@pytest.mark.parametrize("name", NAMES)
def test_sizes_with_light_exits(name: str) -> None:
    golden = COUNTS[f"lmcl/{name}_imagenet"]
    with weightless():
        network = with_exits(name, 1000)
    assert count_parameters(network) == golden["params"]
    assert count_macs(network, 224) == golden["macs"]


@pytest.mark.parametrize(
    ("one", "two"), [pair for pair in product(NAMES, NAMES) if f"lmcl/pair_{'+'.join(pair)}_imagenet" in COUNTS]
)
def test_sizes_of_pairs(one: str, two: str) -> None:
    golden = COUNTS[f"lmcl/pair_{one}+{two}_imagenet"]
    pair = [networks.get(f"imagenet_{name}") for name in dict.fromkeys((one, two))]
    with weightless():
        m = get("l-mcl")(Build(pair, 1000, seed=0), configure("l-mcl@imagenet", {}))
    assert count_parameters(m.networks) == golden["params_pair"]
    assert count_parameters(m.embeddings) == golden["params_heads_pair"]
    assert count_parameters(m.aggregators) == golden["params_aggregator_pair"]
    assert count_parameters(m.matching) == golden["params_weight_network_pair"]
