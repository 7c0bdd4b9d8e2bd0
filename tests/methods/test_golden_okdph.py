"""OKDPH against numbers computed with the authors' code (float64): losses, mixtures, fusion, gradients, whole runs."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from golden.checker import load
from golden.maps import Golden, Tensors, check, check_all, fill
from golden.tiny import case, named, tiny
from methods.build import batch, method, progress
from torch import Tensor

from okdbench.config import MultistepSchedule, OptimizerSettings, TrainingSettings
from okdbench.methods import Batch, Build, Progress, configure
from okdbench.methods.okdph import OKDPH
from okdbench.networks.precision import set_compute_dtype
from okdbench.training import Step
from okdbench.training.optimizer import rate_factor


def golden(name: str) -> Golden:
    return case(f"okdph_{name}.npz", "okdph")


def tensor(values: Any) -> Tensor:
    return torch.from_numpy(values)


def on_tiny(meta: dict[str, Any], preset: str = "released") -> OKDPH:
    """The method of a golden case, with the settings that its description has."""
    every, _, unit = meta.get("interval", "").partition("_")
    settings = {key: meta[key] for key in ("omega", "beta", "gamma", "temperature", "same_init") if key in meta}
    settings |= {"peers": meta["M"], "fuse_every": int(every or 0), "fuse_by": unit or "epoch"}
    found = OKDPH(Build([tiny(4)], meta["C"], seed=0), configure(f"okdph@{preset}", settings))
    return found.double().train()


def tensors(m: OKDPH) -> Tensors:
    """Weights and statistics of the students and the hybrid model by their golden names."""
    students = [named(f"net{number}", student) for number, student in enumerate(m.students)]
    return {name: value for each in (*students, named("hwm", m.hybrid)) for name, value in each.items()}


def of_students(m: OKDPH) -> Tensors:
    return {name: value for name, value in tensors(m).items() if name.startswith("net")}


def training(meta: dict[str, Any]) -> TrainingSettings:
    optimizer = OptimizerSettings(**{key: meta[key] for key in ("lr", "momentum", "nesterov", "weight_decay")})
    milestones = tuple(meta.get("milestones", ()))
    return TrainingSettings(
        epochs=meta.get("epochs", 1),
        batch_size=meta["B"],
        optimizer=optimizer,
        schedule=MultistepSchedule(name="multistep", milestones=milestones),
    )


@pytest.mark.parametrize("name", ["losses_1", "losses_2"])
def test_losses_and_gradients_of_given_logits(name: str) -> None:
    found = golden(name)
    for number, settings in enumerate(found["meta"]["settings"]):
        m = method("okdph@released", peers=found["meta"]["M"], **settings).double()
        students, hybrid = (tensor(found[f"in_{which}"]).requires_grad_() for which in ("z", "z_hwm"))
        terms = m.terms(students, hybrid, tensor(found["in_labels"]))
        for term, key in {"ce": "ce", "kd": "kd", "ce_hybrid": "ce_hwm"}.items():
            check(terms[term], found, f"s{number}_out_{key}")
        parts = m.combine(terms)
        loss = parts["ce"] + parts["kd"] + parts["ce_hybrid"]
        check(loss, found, f"s{number}_out_loss")
        loss.sum().backward()
        check(students.grad, found, f"s{number}_grad_z")
        check(hybrid.grad, found, f"s{number}_grad_z_hwm")


def test_the_hybrid_model_and_fusion_with_every_gamma() -> None:
    found = golden("weights_1")
    m = on_tiny(found["meta"])
    fill(of_students(m), found, "w_")
    m.hybridise(m.drawn(progress(m)))
    hybrid = named("hwm", m.hybrid)
    assert check_all(tensors(m), {key: found[key] for key in found if "out_hwm" in key}, "out_") == len(hybrid)
    for number, gamma in enumerate(found["meta"]["gammas"]):
        fused = deepcopy(m)
        fill(named("hwm_moved", fused.hybrid), found, "w_")
        fused.fuse(torch.tensor(gamma, dtype=torch.float64))
        own = of_students(fused)
        assert check_all(own, found, f"out_fused_g{number}_") == len(own)


@pytest.mark.parametrize("name", ["steps_1_nofusion", "steps_2_batch", "steps_3_epoch", "steps_4_four"])
def test_complete_runs(name: str) -> None:
    found = golden(name)
    meta = found["meta"]
    m = on_tiny(meta)
    fill(of_students(m), found, "w_")
    step = Step(m, training(meta))
    for epoch in range(meta["epochs"]):
        step.begin_epoch(epoch, steps=meta["steps_per_epoch"])
        for number in range(meta["steps_per_epoch"]):
            t = epoch * meta["steps_per_epoch"] + number
            check(step.rate, {"lr": found["out_lr"][t]}, "lr")
            terms = step(Batch(tensor(found["in_images"][t]).unbind(1), tensor(found["in_labels"][t])), number)
            for term, (key, weight) in {"ce": ("ce", meta["omega"]), "kd": ("kd", meta["beta"])}.items():
                check(terms[term].detach(), {"sum": weight * found[f"out_{key}"][t].sum()}, "sum")
            check(terms["ce_hybrid"].detach(), {"ce": (1 - meta["omega"]) * found["out_ce_hwm"][t]}, "ce")
            if t == 0:
                gradients = [key for key in found if key.startswith("grad_step0_")]
                assert check_all(tensors(m), found, "grad_step0_", gradients=True) == len(gradients) > 0
            assert check_all(tensors(m), found, f"out_step{t}_") == len(tensors(m))
        answers = deepcopy(m).eval().predict(tensor(found["in_test_images"]))
        *networks, ensemble = answers.values()
        check(torch.stack(networks), {"logits": found["out_test_logits"][epoch]}, "logits")
        torch.testing.assert_close(ensemble, torch.stack(networks).mean(dim=0))
        fused = deepcopy(m)
        if m.config.fuse_by == "epoch" and m.config.fuse_every and epoch % m.config.fuse_every == 0:
            fused.fuse(torch.tensor(meta["gamma"], dtype=torch.float64))
        own = of_students(fused)
        assert check_all(tensors(fused), found, f"out_epoch{epoch}_") >= len(own)


def test_training_steps_of_the_papers_form() -> None:
    found = golden("paper_steps_1")
    meta = found["meta"]
    m = on_tiny(meta, "paper")
    m.coefficients = tensor(found["in_r"])
    fill(of_students(m), found, "w_")
    step = Step(m, training(meta))
    step.begin_epoch(0, steps=meta["steps"])
    for t in range(meta["steps"]):
        step(Batch(tensor(found["in_images"][t]).unbind(1), tensor(found["in_labels"][t])), t)
        gradients = [key for key in found if key.startswith(f"grad_step{t}_")]
        assert check_all(tensors(m), found, f"grad_step{t}_", gradients=True) == len(gradients) > 0
        assert check_all(tensors(m), found, f"out_step{t}_") >= len(of_students(m))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("gradient", [False, True])
def test_only_the_papers_form_carries_the_hybrid_models_loss_to_the_students(
    gradient: bool, dtype: torch.dtype | None
) -> None:
    m = method("okdph", hybrid_gradient=gradient)
    set_compute_dtype(m, dtype)
    inputs = batch(m.views)
    m.hybridise(m.drawn(progress(m)))
    terms = m.losses(inputs, progress(m))
    assert terms["ce_hybrid"].requires_grad == gradient
    if gradient:
        terms["ce_hybrid"].backward()
        own = [p.grad for student in m.students for p in student.parameters()]
        count = len(own) // 2
        ratio = m.drawn(progress(m))
        assert all(each.isfinite().all() and each.any() for each in own)
        for first, second in zip(own[:count], own[count:], strict=True):
            torch.testing.assert_close(first * ratio[1], second * ratio[0])


def test_full_fusion_makes_all_students_equal_and_equal_students_mix_to_themselves() -> None:
    m = method("okdph", same_init=False)
    m.hybridise(m.drawn(progress(m)))
    m.fuse(torch.tensor(1.0))
    first, second = (list(student.state_dict().values()) for student in m.students)
    assert all(map(torch.equal, first, second))
    m.hybridise(m.drawn(progress(m, step=1)))
    for own, mixed in zip(m.students[0].parameters(), m.hybrid.parameters(), strict=True):
        torch.testing.assert_close(own, mixed)


def test_students_start_alike_or_apart() -> None:
    def start(same: bool) -> list[Tensor]:
        return [next(student.parameters()) for student in method("okdph", same_init=same).students]

    assert torch.equal(*start(True))
    assert not torch.equal(*start(False))


@pytest.mark.parametrize(("name", "settings"), [("okdph@released", {}), ("okdph", {"omega": 1.0})])
def test_students_that_nothing_sets_apart_are_refused(name: str, settings: dict[str, Any]) -> None:
    configure("okdph", {"views": "shared"})
    with pytest.raises(ValueError, match="stay equal; set same_init: false"):
        configure(name, {**settings, "views": "shared"})
    configure(name, {**settings, "views": "shared", "same_init": False})


def test_coefficients_are_keyed_convex_and_uniform_on_the_simplex() -> None:
    m, same, other = (method("okdph", peers=3, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(m.coefficients, same.coefficients)
    assert not torch.equal(m.coefficients, other.coefficients)
    torch.testing.assert_close(m.coefficients.sum(dim=1), torch.ones(len(m.coefficients)))
    # Dirichlet(1, 1, 1): mean 1/3, variance 1/18, and P(r_1 > 1/2) = 1/4.
    first = m.coefficients[:, 0]
    assert float(first.mean()) == pytest.approx(1 / 3, abs=0.01)
    assert float(first.var()) == pytest.approx(1 / 18, abs=0.003)
    assert float((first > 0.5).double().mean()) == pytest.approx(1 / 4, abs=0.02)
    assert torch.equal(m.drawn(progress(m, step=5)), m.coefficients[5])


def test_schedule_of_the_released_commands() -> None:
    found = load("okdph_schedule.json", "okdph")
    settings = TrainingSettings(
        epochs=found["epochs"],
        optimizer=OptimizerSettings(lr=0.1),
        schedule=MultistepSchedule(name="multistep", milestones=(150, 225)),
    )
    rates = [0.1 * rate_factor(settings, epoch) for epoch in range(found["epochs"])]
    assert rates == pytest.approx(found["lr"], rel=1e-9)


@pytest.mark.parametrize(("interval", "unit"), [("1_epoch", "epochs"), ("5_epoch", "epochs"), ("5_batch", "batches")])
def test_when_fusion_happens(interval: str, unit: str) -> None:
    told = load("okdph_schedule.json", "okdph")
    meta = {"M": 2, "C": 5, "interval": interval, "gamma": 0.5}
    m = on_tiny(meta)
    factors: list[float] = []
    m.fuse = lambda factor: factors.append(float(factor))
    inputs = Batch(tuple(torch.randn(2, 3, 6, 6, dtype=torch.float64) for _ in range(3)), torch.arange(2))

    def fused(epoch: int, number: int) -> bool:
        now = Progress(torch.tensor(float(epoch)), torch.tensor(0.0), number=torch.tensor(float(number)))
        factors.clear()
        m.training_step(inputs, now, lambda loss: None)
        m.after_step(now)
        return factors == [0.5]

    if unit == "epochs":  # fused after the test of an epoch, which is before the first step of the next
        assert [e for e in range(20) if fused(e + 1, 0)] == told["fusion_after_epochs_first20"][interval]
        assert not fused(0, 0)
        assert not fused(1, 1)
    else:
        first = told["fusion_after_batches_first20_of_each_epoch"][interval]
        assert [i for i in range(20) if fused(3, i)] == first
