"""SwitOKD against numbers computed with the authors' code (float64): decisions, losses, gradients, whole steps."""

from typing import Any

import pytest
import torch
from golden.checker import load
from golden.maps import check, check_all, fill
from golden.tiny import case, named, tiny
from methods.build import method
from torch import Tensor

from okdbench.config import MultistepSchedule, OptimizerSettings, TrainingSettings
from okdbench.methods import Batch, Build, configure, get
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
    m = method("switokd").double()
    for number in range(found["meta"]["batches"]):
        here = {key: value[number] for key, value in found.items() if key != "meta"}
        student, teacher = (tensor(here[f"in_z_{which}"]).requires_grad_() for which in ("student", "teacher"))
        labels = tensor(here["in_labels"])
        decision = m.decide(student, teacher, labels)
        for field, golden in NAMES.items():
            check(getattr(decision, field), here, f"out_{golden}")
        terms = m.terms(student, teacher, labels)
        for term, value in terms.items():
            check(value, here, f"out_{term}")
        if "grad_z_student" in here:
            learning = 1.0 - decision.expert
            loss = terms["ce_student"] + terms["kl_student"] + learning * (terms["ce_teacher"] + terms["kl_teacher"])
            loss.backward()
            check(student.grad, here, "grad_z_student")
            check(teacher.grad, here, "grad_z_teacher")
        if "figure_expert" in here:
            figure = method("switokd", epsilon_form="student").double().decide(student, teacher, labels)
            for field in ("epsilon", "delta", "expert"):
                check(getattr(figure, field), here, f"figure_{field}")
            check(
                method("switokd", guard=False).double().decide(student, teacher, labels).expert, here, "noguard_expert"
            )


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


@pytest.mark.parametrize("script", ["cifar10", "cifar100", "tiny"])
def test_schedules_of_the_scripts(script: str) -> None:
    found = load("switokd_schedule.json", "switokd")
    key = next(name for name in found if name.startswith(script))
    told = found[key]
    training = settings(epochs=told["epochs"], milestones=tuple(told["zero_based_drops"]))
    rates = [told["first_lr"]["teacher"] * rate_factor(training, epoch) for epoch in range(told["epochs"])]
    assert rates == pytest.approx(told["lr_teacher"], rel=1e-9)


def test_three_networks_are_refused() -> None:
    networks = [tiny(2)] * 3
    with pytest.raises(ValueError, match=r"name two networks, STUDENT\+TEACHER"):
        get("switokd")(Build(networks, 10, seed=0), configure("switokd", {}))
