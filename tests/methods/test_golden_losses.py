"""Losses and their gradients, and schedules, against the numbers computed with the authors' code (float64)."""

import numpy as np
import pytest
import torch
from golden.checker import close, load

from okdbench import networks
from okdbench.methods import Build, Method, configure, get
from okdbench.methods.parts.ema import EMA
from okdbench.methods.parts.schedules import ramp_up, ramp_up_released

CLASSES = [10, 100]


def method(label: str, **settings: object) -> Method:
    config = configure(label, settings)
    return get(label.partition("@")[0])(Build([networks.get("resnet8")], 10, seed=0), config)


RAMPS = {
    "0.1": {"ramp": "released", "weight": 0.1},
    "1.0": {"ramp": "released", "weight": 1.0},
    "none": {"ramp": "none", "weight": 1.0},
}


def check_objective(m, golden, place: tuple[int, ...], epoch: int, grad: np.ndarray | None) -> None:
    """PCL or DKEL in one configuration at one epoch: every peer's loss, the total and its gradients."""
    z, ensemble = (torch.from_numpy(golden[name]).requires_grad_() for name in ("z", "z_ensemble"))
    teachers, labels = (torch.from_numpy(golden[name]) for name in ("z_teacher", "labels"))
    weights = {name: torch.tensor(value, dtype=torch.float64) for name, value in m.schedule(epoch, 300).items()}
    terms = m.combine(m.terms(z, ensemble, teachers, labels), weights)
    peers = sum(terms[name] for name in terms if name != "ce_ensemble")
    total = terms["ce_ensemble"] + peers.sum()
    total.backward()
    assert close(peers, golden["loss_peer"][place])
    assert close(total, golden["total"][place])
    assert grad is None or close(z.grad, grad)
    assert close(ensemble.grad, golden["grad_z_ensemble"])


def check_terms(m, golden, names: tuple[str, ...]) -> None:
    inputs = (torch.from_numpy(golden[name]) for name in ("z", "z_ensemble", "z_teacher", "labels"))
    terms = m.terms(*inputs)
    for name in names:
        assert close(terms[name], golden[f"term_{name}"]), name


@pytest.mark.parametrize("classes", CLASSES)
def test_pcl(classes: int) -> None:
    golden = load(f"losses/pcl-{classes}.npz")
    check_terms(method("pcl"), golden, ("ce_ensemble", "ce", "pe", "pm"))
    for r, ramp in enumerate(golden["ramps"]):
        m = method("pcl", **RAMPS[str(ramp)])
        for e, epoch in enumerate(golden["epochs"]):
            weight = m.schedule(int(epoch), 300)["distillation"]
            assert weight == pytest.approx(golden["ramp_weight"][r, e], rel=1e-12, abs=0)
            check_objective(m, golden, (r, e), int(epoch), golden["grad_z"][r, e])


def test_pcl_taught_by_each_peers_own_mean_model() -> None:
    golden = load("losses/pcl-10.npz")
    z, ensemble, teachers, labels = (
        torch.from_numpy(golden[name]) for name in ("z", "z_ensemble", "z_teacher", "labels")
    )
    own, others = (method("pcl", taught_by=whose).terms(z, ensemble, teachers, labels) for whose in ("own", "others"))
    for i, (peer, teacher) in enumerate(zip(z, teachers, strict=True)):
        log_peer, target = (peer / 3).log_softmax(dim=1), (teacher / 3).softmax(dim=1)
        expected = 9 * torch.nn.functional.kl_div(log_peer, target, reduction="batchmean")
        assert close(own["pm"][i], expected)
    assert not close(own["pm"], golden["term_pm"])
    assert all(torch.equal(own[name], others[name]) for name in ("ce_ensemble", "ce", "pe"))


@pytest.mark.parametrize("classes", CLASSES)
def test_dkel(classes: int) -> None:
    golden = load(f"losses/dkel-{classes}.npz")
    check_terms(method("dkel"), golden, ("ce_ensemble", "ce", "pe", "pm", "de"))
    with_gradient = list(golden["grad_alphas"])
    for r, ramp in enumerate(golden["ramps"]):
        for a, alpha in enumerate(golden["alphas"]):
            m = method("dkel@released", alpha=float(alpha), **RAMPS[str(ramp)])
            for e, epoch in enumerate(golden["epochs"]):
                weight = m.schedule(int(epoch), 300)["ensemble"]
                assert weight == pytest.approx(golden["decay_weight"][a, e], rel=1e-12, abs=0)
                grad = golden["grad_z"][r, with_gradient.index(alpha), e] if alpha in with_gradient else None
                check_objective(m, golden, (r, a, e), int(epoch), grad)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize(("target", "key"), [("logit-mean", "ensemble_first"), ("pairwise", "pairwise")])
def test_dml_of_the_okddip_harness(classes: int, target: str, key: str) -> None:
    golden = load(f"losses/dml-{classes}.npz")
    z, labels = torch.from_numpy(golden["z"]).requires_grad_(), torch.from_numpy(golden["labels"])
    terms = method("dml@released", target=target).terms(z, labels)
    assert close(terms["ce"], golden["term_ce"])
    peers = len(z)
    kl = golden[f"{key}_term_kl"]
    if target == "pairwise":
        kl = kl.reshape(peers, peers - 1).mean(axis=1)
    assert close(terms["kl"], kl)
    total = terms["ce"].sum() + terms["kl"].sum()
    total.backward()
    assert close(total, golden[f"{key}_total"])
    assert close(z.grad, golden[f"{key}_grad_z"])


def test_schedules() -> None:
    golden = load("schedule.json")
    assert close([ramp_up(e) for e in range(300)], golden["ramp_intended_length_80"], 1e-12)
    for weight, key in ((0.1, "ramp_released_lambda_0.1"), (1.0, "ramp_released_lambda_1")):
        assert np.allclose([ramp_up_released(e, weight) for e in range(300)], golden[key], rtol=1e-12, atol=0)
    for alpha, decay in golden["decay_weight"].items():
        m = method("dkel@released", alpha=float(alpha))
        got = [m.schedule(e, 300)["ensemble"] for e in range(300)]
        assert np.allclose(got, decay, rtol=1e-12, atol=0)
        assert got.index(0.0) == golden["decay_first_zero_epoch"][alpha]


def test_ema_coefficient() -> None:
    golden = load("schedule.json")["ema"]
    ema = EMA(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1), golden["beta"])
    got = [float(ema.coefficient(torch.tensor(float(g), dtype=torch.float64))) for g in golden["global_step"]]
    assert np.allclose(got, golden["coefficient"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_kd_of_the_okddip_harness(classes: int, weight: float) -> None:
    golden = load(f"losses/kd-{classes}.npz")
    build = Build([networks.get("resnet8")], 10, seed=0)
    build.teacher = get("baseline")(build, configure("baseline", {}))
    m = get("kd")(build, configure("kd@released", {"weight": weight}))
    z = torch.from_numpy(golden["z_student"]).requires_grad_()
    terms = m.terms(z, torch.from_numpy(golden["z_teacher"]), torch.from_numpy(golden["labels"]))
    total = terms["ce"] + terms["kd"]
    total.backward()
    key = f"alpha{weight:g}"
    assert close(terms["ce"], golden["term_ce"])
    assert close(terms["kd"] / weight, golden["term_kl"])
    assert close(total, golden[f"{key}_total"])
    assert close(z.grad, golden[f"{key}_grad_z_student"])


def test_dml_probability_mean_stays_finite_where_probabilities_underflow() -> None:
    m = method("dml", target="probability-mean", peers=3, temperature=1.0, update="simultaneous")
    labels = torch.tensor([0, 1])
    mild = torch.randn(3, 2, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    others = [(mild.softmax(-1).sum(0) - mild[i].softmax(-1)) / 2 for i in range(3)]
    expected = [(q * (q.log() - mild[i].log_softmax(-1))).sum(-1).mean() for i, q in enumerate(others)]
    assert close(m.terms(mild, labels)["kl"], torch.stack(expected))
    assert m.terms(1000 * mild, labels)["kl"].isfinite().all()
