"""FFSD: the attention shift, who learns from whom, batch statistics, settings."""

import pytest
import torch
from methods.build import batch, method, progress

from okdbench.methods.ffsd import diversity, shift, shifted
from okdbench.methods.parts.fusion import attention, unit

REACH = {
    "ce": {"students"},
    "kl": {"students"},
    "diversity": {"students"},
    "sd": {"students"},
    "ce_fused": {"fusion"},
    "kl_fused": {"fusion"},
    "ce_leader": {"leader"},
    "kl_leader": {"leader"},
    "fusion_leader": {"leader"},
    "sd_leader": {"leader"},
    "transfusion_leader": {"leader", "transfusion"},
    "modules": {"distillers"},
    "modules_attention": {"distillers"},
}


def losses(m) -> dict[str, torch.Tensor]:
    return m.losses(batch(), progress(m, epoch=10))


def reached(m, loss: torch.Tensor) -> set[str]:
    """Names of the parameters with a gradient other than zero."""
    names, parameters = zip(*m.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return {name for name, g in zip(names, found, strict=True) if g is not None and bool((g != 0).any())}


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_no_term_reaches_what_another_optimiser_trains(preset: str) -> None:
    m = method(f"ffsd@{preset}")
    terms = losses(m)
    assert set(terms) == set(REACH) - ({"transfusion_leader"} if preset == "paper" else set())
    for name, term in terms.items():
        assert {where.partition(".")[0] for where in reached(m, term)} == REACH[name], name


def test_the_first_student_has_neither_diversity_nor_self_distillation() -> None:
    m = method("ffsd", peers=3)
    terms = losses(m)
    for name in ("diversity", "sd"):
        students = {where.split(".")[2] for where in reached(m, terms[name])}
        assert students == {"1", "2"}


def test_which_module_learns_from_whom() -> None:
    m = method("ffsd@released", peers=3)
    traces = m.students([batch().views[0]])
    got = m.terms(m.leader.trace(batch().views[0]), traces, batch().labels)
    assert {name: tuple(term.shape) for name, term in got.items() if term.ndim} == {
        "ce": (3,),
        "kl": (3,),
        "diversity": (2,),
        "sd": (2,),
        "modules": (3,),
        "modules_attention": (3,),
    }
    for student, index in ((1, 0), (2, 1)):
        want = diversity(traces[student].final, traces[student - 1].final)
        assert torch.allclose(got["diversity"][index], want)
    again = m.terms(m.leader.trace(batch().views[0]), [traces[0], *2 * [traces[2]]], batch().labels)
    assert not torch.allclose(got["modules"][0], again["modules"][0])
    assert torch.allclose(got["modules"][1:], again["modules"][1:], rtol=1e-4)


def test_the_shift_by_hand() -> None:
    map = torch.tensor([3.0, 1.0, 2.0, 4.0, 6.0, 5.0]).view(1, 1, 2, 3)
    a = torch.tensor([9.0, 1.0, 4.0, 16.0, 36.0, 25.0])
    r = a.norm()
    for norm, top in (("attention", r), ("unit", torch.tensor(1.0))):
        moved = shift(map, norm)
        want = top - a / r  # above the second smallest, which is the threshold
        want[1], want[2] = a[1] / r, top / 2
        assert torch.allclose(moved.target[0], want)
        assert torch.allclose(moved.length, r)
        assert torch.allclose(moved.attention[0], a / r)
        assert torch.allclose(shifted(map, norm), map + ((want - a / r) * r).view(1, 1, 2, 3))
    assert torch.allclose(diversity(map, map), (a / r - shift(map).target[0]).square().mean())


def test_the_shift_adds_the_same_to_all_channels_and_bears_small_maps() -> None:
    map = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    added = shifted(map) - map
    assert torch.allclose(added, added[:, :1].expand_as(added), atol=1e-6)
    moved = shift(map)
    assert torch.allclose(added[:, 0].flatten(1) * 5, (moved.target - moved.attention) * moved.length, atol=1e-5)
    assert shifted(map[:, :, :1, :1]).isfinite().all()
    assert torch.allclose(unit(attention(map)), moved.attention)


def test_pseudo_maps_that_are_mimicked_use_and_leave_the_running_statistics() -> None:
    m = method("ffsd@released")
    losses(m)
    counts = [value for name, value in m.distillers.state_dict().items() if name.endswith("num_batches_tracked")]
    assert counts
    assert all(int(count) == 1 for count in counts), "only the modules' own pass moves them"


def test_where_pseudo_maps_come_from() -> None:
    view, labels = batch().views[0], batch().labels
    for source, moves in (("other", True), ("own", False)):
        m = method("ffsd", sd_source=source).eval()  # in which no statistics move
        leader, (first, second) = m.leader.trace(view), m.students([view])
        before = m.terms(leader, [first, second], labels)
        other = first._replace(final=first.final * torch.linspace(1, 2, 8))
        after = m.terms(leader, [other, second], labels)
        assert bool(before["sd"][0] != after["sd"][0]) == moves
        assert bool(before["sd_leader"] != after["sd_leader"]) == moves
        assert before["diversity"][0] != after["diversity"][0]


def test_lambdas() -> None:
    m = method("ffsd", lambda_diversity=1.0, lambda_fusion=2.0, lambda_sd=3.0)
    assert m.schedule(0, 300) == pytest.approx({"diversity": 0.0408, "fusion": 0.0815, "sd": 0.1223}, abs=1e-4)
    assert m.schedule(4, 300) == m.schedule(299, 300) == {"diversity": 1.0, "fusion": 2.0, "sd": 3.0}
    m = method("ffsd", lambda_fusion=0.0)
    assert losses(m)["fusion_leader"] == losses(m)["sd_leader"] == 0


def test_who_is_who() -> None:
    m, view = method("ffsd").eval(), batch().views[0]
    assert m.heads() == ("peer0", "peer1", "leader", "fused", "ensemble")
    assert m.deployed == "leader"
    predictions = m.predict(view)
    assert torch.equal(predictions["leader"], method("baseline").eval().student(view))
    assert torch.allclose(predictions["ensemble"], (predictions["peer0"] + predictions["peer1"]) / 2)
    groups = [(group.optimizer, group.lr, group.weight_decay) for group in m.parameter_groups()]
    assert groups == [("sgd", None, None), ("sgd", None, 1e-5), ("adam", 1e-3, 1e-4)]
