"""SwitOKD against numbers computed with the authors' code (float64): decisions, losses, gradients, whole steps."""

from typing import Any

import numpy as np
import pytest
import torch
from golden.checker import load
from golden.maps import Golden, Tensors, check, check_all, fill
from golden.tiny import case, named, tiny
from methods.build import method
from torch import Tensor

from okdbench.config import MultistepSchedule, OptimizerSettings, TrainingSettings
from okdbench.methods import Batch, Build, configure, get
from okdbench.methods.base import sum_terms
from okdbench.methods.switokd import SwitOKD
from okdbench.training import Step
from okdbench.training.optimizer import rate_factor

NAMES = {"student": "s", "teacher": "t", "gap": "gap", "epsilon": "epsilon", "delta": "delta", "expert": "expert"}
"""Fields of a decision and their golden names."""


def tensor(values: Any) -> Tensor:
    return torch.from_numpy(values)


@pytest.mark.parametrize("name", ["batches_1_c10", "batches_2_c100", "threshold_1"])
def test_decisions_losses_and_gradients_of_given_logits(name: str) -> None:
    found = case(f"switokd_{name}.npz", "switokd")
    m, form, rash = (method("switokd", **s).double() for s in ({}, {"epsilon_form": "student"}, {"guard": False}))
    for number in range(found["meta"]["batches"]):
        here = {key: value[number] for key, value in found.items() if key != "meta"}
        student, teacher = (tensor(here[f"in_z_{which}"]).requires_grad_() for which in ("student", "teacher"))
        labels = tensor(here["in_labels"])
        logits = {"student": student, "teacher": teacher}
        decisions = m.decisions(logits, labels)
        [decision] = decisions.values()
        for field, golden in NAMES.items():
            check(getattr(decision, field), here, f"out_{golden}")
        never = {pair: each._replace(expert=torch.zeros(())) for pair, each in decisions.items()}
        for term, value in m.terms(logits, labels, never).items():
            check(value, here, f"out_{term}")
        if "grad_z_student" in here:
            sum_terms(m.terms(logits, labels, decisions)).backward()
            check(student.grad, here, "grad_z_student")
            check(teacher.grad, here, "grad_z_teacher")
        if "figure_expert" in here:
            figure = form.decide(student, teacher, labels)
            for field in ("epsilon", "delta", "expert"):
                check(getattr(figure, field), here, f"figure_{field}")
            check(rash.decide(student, teacher, labels).expert, here, "noguard_expert")


@pytest.mark.parametrize("name", ["steps_1_c10", "steps_2_c100"])
def test_training_steps(name: str) -> None:
    found = case(f"switokd_{name}.npz", "switokd")
    meta = found["meta"]
    networks = [tiny(meta["student_width"]), tiny(meta["teacher_width"])]
    rates = {"student_lr": meta["lr_student"], "teacher_lr": meta["lr_teacher"]}
    m = SwitOKD(Build(networks, meta["C"], seed=0), configure("switokd", rates)).double().train()
    tensors = named("student", m.student) | named("teacher", m.teacher)
    fill(tensors, found, "w_")
    step = Step(m, settings(meta["weight_decay"]))
    step.begin_epoch(0)
    for number in range(meta["steps"]):
        before = [value.detach().clone() for value in m.teacher.parameters()]
        terms = step(Batch((tensor(found["in_images"][number]),), tensor(found["in_labels"][number])), number)
        assert check_all(tensors, found, f"out_step{number}_") == len(tensors)
        assert float(terms["expert"]) == found["out_expert"][number]
        still = [torch.equal(*pair) for pair in zip(before, m.teacher.parameters(), strict=True)]
        assert all(still) == bool(found["out_expert"][number])
        loss = float((terms["ce_student"] + terms["kl_student"]).detach())
        assert loss == pytest.approx(found["out_loss_student"][number], rel=1e-9)


def settings(decay: float = 5e-4, epochs: int = 2, milestones: tuple[int, ...] = ()) -> TrainingSettings:
    optimizer = OptimizerSettings(lr=0.1, momentum=0.9, nesterov=False, weight_decay=decay)
    return TrainingSettings(
        epochs=epochs,
        batch_size=8,
        optimizer=optimizer,
        schedule=MultistepSchedule(name="multistep", milestones=milestones),
    )


def test_a_teacher_that_waits_keeps_weights_and_momenta_and_moves_its_statistics() -> None:
    m = method("switokd", threshold=-1.0, guard=False)
    step = Step(m, settings())
    step.begin_epoch(0)
    one, two = (Batch((torch.randn(4, 3, 16, 16),), torch.arange(4)) for _ in range(2))
    m.config = m.config.model_copy(update={"threshold": 3.0})
    step(one)
    before = [value.clone() for value in step.optimizers.tensors()]
    weights = [value.detach().clone() for value in m.teacher.parameters()]
    students = [value.detach().clone() for value in m.student.parameters()]
    means = [value.clone() for name, value in m.teacher.named_buffers() if name.endswith("running_mean")]
    m.config = m.config.model_copy(update={"threshold": -1.0})
    terms = step(two)
    assert float(terms["expert"]) == 1.0
    assert all(map(torch.equal, weights, m.teacher.parameters()))
    count = len(students)
    momenta = list(step.optimizers.tensors())
    assert not all(map(torch.equal, before[:count], momenta[:count])), "the student learns"
    assert all(map(torch.equal, before[count:], momenta[count:])), "the teacher's momenta stand still"
    assert not any(map(torch.equal, students, m.student.parameters()))
    after = [value for name, value in m.teacher.named_buffers() if name.endswith("running_mean")]
    assert not any(map(torch.equal, means, after))


def test_equal_logits_let_the_teacher_learn_and_without_switching_it_never_waits() -> None:
    m = method("switokd")
    logits, labels = torch.randn(4, 10), torch.arange(4)
    assert float(m.decide(logits, logits, labels).expert) == 0.0
    wrong, right = 20.0 * torch.eye(10)[4:8], 2.0 * torch.eye(10)[:4]
    assert float(m.decide(wrong, right, labels).expert) == 1.0
    assert float(m.decide(right, wrong, labels).expert) == 0.0, "the teacher is behind"
    assert float(method("switokd", switching=False).decide(wrong, right, labels).expert) == 0.0


@pytest.mark.parametrize(("threshold", "epsilon"), [("lower", 1.0), ("upper", 0.0)])
def test_thresholds_at_the_ends(threshold: str, epsilon: float) -> None:
    student, teacher, labels = torch.randn(6, 10), 2 * torch.eye(10)[:6], torch.arange(6)
    found = method("switokd", threshold=threshold).decide(student, teacher, labels)
    assert float(found.epsilon) == epsilon
    torch.testing.assert_close(found.delta, found.student - epsilon * found.teacher)
    assert float(method("switokd", threshold=0.6).decide(student, teacher, labels).delta) == pytest.approx(0.6)


ROLES = {"1t2s": ("student2", "teacher", "student"), "2t1s": ("teacher", "teacher2", "student")}
"""What the networks 0, 1 and 2 of the golden files are here."""
PAIRS = {
    "1t2s": {"A": ("teacher", "student2"), "B": ("teacher", "student")},
    "2t1s": {"A": ("teacher", "student"), "B": ("teacher2", "student")},
}


def check_decisions(m: SwitOKD, logits: Tensors, labels: Tensor, found: Golden, kind: str) -> None:
    decisions = m.decisions(logits, labels)
    for pair, names in PAIRS[kind].items():
        for field in ("student", "teacher", "gap", "epsilon", "delta"):
            check(getattr(decisions[names], field), found, f"out_{NAMES[field]}_{pair}")
    if kind == "1t2s":
        learns = m.learns("teacher", decisions)
        weights = {"w0": "teacher", "w1": "student2", "w2": "student"}
        assert {key: float(learns[name]) for key, name in weights.items()} == {k: found[f"out_{k}"] for k in weights}
    else:
        still = [1.0 - float(m.learns(name, decisions)[name]) for name in ROLES[kind][:2]]
        assert [*still, 0.0] == found["out_no_step"].tolist()


def at(found: Golden, number: int) -> Golden:
    """The entries of one batch or step."""
    arrays = {key: value for key, value in found.items() if key.startswith(("in_", "out_", "grad_z"))}
    return {key: value[number] for key, value in arrays.items() if not key.startswith("out_step")}


@pytest.mark.parametrize("kind", ROLES)
def test_losses_and_gradients_of_three_networks(kind: str) -> None:
    found = case(f"switokd_{kind}_batches_1.npz", "switokd")
    m = method(f"switokd@released-{kind}").double()
    for number in range(found["meta"]["batches"]):
        here = at(found, number)
        z, labels = tensor(here["in_z"]).requires_grad_(), tensor(here["in_labels"])
        logits = dict(sorted(zip(ROLES[kind], z, strict=True)))
        check_decisions(m, logits, labels, here, kind)
        terms = m.terms(logits, labels, m.decisions(logits, labels))
        for index, name in enumerate(ROLES[kind]):
            loss = here[f"out_loss_net{index}"]
            own = terms[f"ce_{name}"] + terms[f"kl_{name}"]
            check(own, {"loss": np.nan_to_num(loss)}, "loss")
        sum_terms(terms).backward()
        check(z.grad, here, "grad_z")


def test_training_steps_of_a_teacher_and_two_students() -> None:
    found = case("switokd_1t2s_steps_1.npz", "switokd")
    meta, names = found["meta"], ROLES["1t2s"]
    widths = {name: len(found[f"w_net{index}.conv.weight"]) for index, name in enumerate(names)}
    order = sorted(names, key=lambda name: (name.startswith("teacher"), name))
    config = {"student_optimizer": "adam", "student_lr": meta["lr"][2], "student_weight_decay": meta["weight_decay"][2]}
    build = Build([tiny(widths[name]) for name in order], meta["C"], seed=0)
    m = SwitOKD(build, configure("switokd@released-1t2s", config)).double().train()
    tensors: Tensors = {}
    for index, name in enumerate(names):
        tensors |= named(f"net{index}", m.get_submodule(name))
    fill(tensors, found, "w_")
    step = Step(m, settings(meta["weight_decay"][0]))
    step.begin_epoch(0)
    for number in range(meta["steps"]):
        terms = step(Batch((tensor(found["in_images"][number]),), tensor(found["in_labels"][number])), number)
        assert check_all(tensors, found, f"out_step{number}_") == len(tensors)
        here = at(found, number)
        for field in ("gap", "delta", "s", "t"):
            check(terms[field], here, f"out_{field}_B")
            check(terms[f"{field}_student2"], here, f"out_{field}_A")


def test_three_networks_without_the_slips_of_the_code() -> None:
    m = method("switokd", teachers=2)
    logits = {name: torch.randn(6, 10) for name in ("student", "teacher", "teacher2")}
    own = m.decisions(logits, torch.arange(6))
    assert own["teacher", "student"].epsilon != own["teacher2", "student"].epsilon
    gates = [group.gate is not None for group in m.parameter_groups()]
    assert gates == [False, True, True]
    both = method("switokd", students=2)
    assert [group.gate is not None for group in both.parameter_groups()] == [False, False, True]
    with pytest.raises(ValueError, match="three networks at most"):
        configure("switokd", {"students": 2, "teachers": 2})


@pytest.mark.parametrize("script", ["cifar10", "cifar100", "tiny", "1t2s", "2t1s"])
def test_schedules_of_the_scripts(script: str) -> None:
    found = load("switokd_schedule.json", "switokd")
    key = next(name for name in found if name.startswith(script))
    told = found[key]
    training = settings(epochs=told["epochs"], milestones=tuple(told["zero_based_drops"]))
    rates = [told["first_lr"]["teacher"] * rate_factor(training, epoch) for epoch in range(told["epochs"])]
    assert rates == pytest.approx(told["lr_teacher"], rel=1e-9)


def test_more_networks_than_take_part_are_refused() -> None:
    networks = [tiny(2)] * 3
    with pytest.raises(ValueError, match="SwitOKD trains 2 networks, not 3"):
        get("switokd")(Build(networks, 10, seed=0), configure("switokd", {}))
