"""Whole training iterations of DKEL, and learning rates, against numbers computed with the authors' code (float64)."""

import numpy as np
import pytest
import torch
from golden import checker
from golden.checker import close, load

from okdbench import networks
from okdbench.config import MultistepSchedule, OptimizerSettings, TrainingSettings
from okdbench.methods import Batch, Build, Method, configure, get
from okdbench.training import Step
from okdbench.training.optimizer import rate_factor

GOLDEN = load("step/dkel.npz")
CIFAR = TrainingSettings(
    epochs=300,
    batch_size=16,
    optimizer=OptimizerSettings(lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    schedule=MultistepSchedule(name="multistep", milestones=(150, 225)),
)
SCENARIOS = {
    "e0_lam0p1": {"weight": 0.1, "init_steps": 0},
    "e1_lam1": {"weight": 1.0, "init_steps": 0},
    "e81_lam0p1": {"weight": 0.1, "init_steps": 0},
    "e2_w1_init1": {"weight": 1.0, "ramp": "none", "init_steps": 1},
}


def batch(number: int) -> Batch:
    views = tuple(checker.images(16, 32, 3 * number + view) for view in range(3))
    return Batch(views, checker.labels(16, 10, number))


def filled(settings: dict) -> tuple[Method, list, list]:
    """The released DKEL on ResNet-32 with formula weights, teacher a copy; and both networks' layers in order."""
    config = configure("dkel@released", settings)
    method = get("dkel")(Build([networks.get("resnet32")], 10, seed=0), config).double()
    views = [checker.images(1, 32, view) for view in range(3)]
    student = checker.fill(method.student, views)
    method.teacher.load_state_dict(method.student.state_dict())
    return method.train(), student, checker.execution_order(method.teacher, views)


def probe(network: torch.nn.Module, training: bool) -> tuple[torch.Tensor, torch.Tensor]:
    network.train(training)
    with torch.no_grad():
        return network([checker.images(4, 32, 100 + view) for view in range(3)])


QUICKEST = "e0_lam0p1"


@pytest.mark.parametrize(
    "scenario", [pytest.param(name, marks=[pytest.mark.slow] if name != QUICKEST else []) for name in SCENARIOS]
)
def test_three_iterations(scenario: str) -> None:
    assert set(SCENARIOS) == set(GOLDEN["scenarios"])
    golden = {k.removeprefix(f"{scenario}/"): v for k, v in GOLDEN.items() if k.startswith(f"{scenario}/")}
    method, student, teacher = filled(SCENARIOS[scenario])
    method.prepare(iter([batch(10), batch(11)]))
    if "init_teacher_sum" in golden:
        check_digest(teacher, golden, "init_teacher")

    step = Step(method, CIFAR)
    step.begin_epoch(int(golden["epoch"]))
    weights = {name: float(value) for name, value in step.progress.weights.items()}
    expected = {"distillation": float(golden["ramp_weight"]), "ensemble": float(golden["decay_weight"])}
    assert weights == pytest.approx(expected, rel=1e-12)
    for iteration in range(3):
        terms = step(batch(int(golden["first_t"]) + iteration))
        assert close(sum(terms.values()), golden["loss_total"][iteration]), f"iteration {iteration}"
        assert close(terms["ce"], golden["term_ce"][iteration].sum())
        assert close(terms["ce_ensemble"], golden["term_ce_ensemble"][iteration])

    assert len(checker.parameters(student)) == golden["num_parameter_tensors"]
    check_digest(student, golden, "student")
    check_digest(teacher, golden, "teacher")
    check_probes(method, golden)


def check_digest(layers: list, golden: dict, who: str) -> None:
    sums, squares, first = checker.digest(checker.parameters(layers))
    assert close(sums, golden[f"{who}_sum"])
    assert close(squares, golden[f"{who}_sumsq"])
    assert close(first, golden[f"{who}_first8"])
    if f"{who}_bn_mean_first8" in golden:
        norms = [layer for layer in layers if isinstance(layer, torch.nn.BatchNorm2d)]
        chosen = [norms[index] for index in golden["bn_index"]]
        assert close(torch.stack([n.running_mean[:8] for n in chosen]), golden[f"{who}_bn_mean_first8"])
        assert close(torch.stack([n.running_var[:8] for n in chosen]), golden[f"{who}_bn_var_first8"])


def check_probes(method: Method, golden: dict) -> None:
    peers, ensemble = probe(method.student, training=False)
    assert close(peers, golden["student_probe_logits"])
    assert close(ensemble, golden["student_probe_logits_ensemble"])
    assert close(probe(method.teacher, training=False)[0], golden["teacher_probe_logits"])
    assert close(probe(method.student, training=True)[0], golden["student_probe_logits_batchstat"])
    assert close(probe(method.teacher, training=True)[0], golden["teacher_probe_logits_batchstat"])


@pytest.mark.parametrize("name", ["cifar", "tiny"])
def test_learning_rate(name: str) -> None:
    golden = load("schedule.json")
    milestones = tuple(golden[f"lr_{name}_milestones"])
    schedule = MultistepSchedule(name="multistep", milestones=milestones)
    training = CIFAR.model_copy(update={"epochs": len(golden[f"lr_{name}"]), "schedule": schedule})
    got = [training.optimizer.lr * rate_factor(training, epoch) for epoch in range(training.epochs)]
    assert np.allclose(got, golden[f"lr_{name}"], rtol=1e-12, atol=0)
