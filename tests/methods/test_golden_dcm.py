"""DCM against numbers computed with the authors' code (float64): losses, gradients, networks, whole steps."""

import json
from functools import partial

import pytest
import torch
from golden import checker
from golden.checker import images, labels
from golden.maps import Golden, check
from methods.build import method
from torch import Tensor, nn

from okdbench import networks
from okdbench.config import MultistepSchedule, OptimizerSettings, TrainingSettings
from okdbench.methods import Batch, Build, Method, Progress, configure, get
from okdbench.methods.dcm import NETWORKS, auxiliary_classifiers, divergences
from okdbench.methods.parts.exits import MultiExit
from okdbench.methods.parts.losses import cross_entropies
from okdbench.methods.parts.peers import stack_logits
from okdbench.networks import Architecture
from okdbench.networks.base import count_parameters
from okdbench.networks.counting import CostCounter, weightless
from okdbench.networks.wide_resnet import build, make_dcm
from okdbench.training import Step
from okdbench.training.optimizer import rate_factor

EPSILON = 1e-8
COUNTS: dict[str, dict[str, int]] = checker.load("dcm_networks.json", "dcm")


def wide(depth: int, widening: int) -> Architecture:
    return Architecture("wide", "Wide", partial(build, make=make_dcm, depth=depth, widening=widening))


IDENTIFIERS = {
    "wrn28_10-100": networks.get("wrn28_10_dcm"),
    "wrn16_2-100": networks.get("wrn16_2"),
    "wrn40_2-100": networks.get("wrn40_2"),
    "wrn28_1-100": wide(28, 1),
    "mobilenet_dcm-100": networks.get("mobilenet_dcm"),
}


def case(name: str) -> Golden:
    found: Golden = checker.load(f"dcm_{name}.npz", "dcm")
    return {**found, "meta": json.loads(str(found["meta"]))} if "meta" in found else found


def digests(tensors: list[Tensor], golden: Golden, key: str) -> None:
    for kind, value in zip(("sum", "sumsq", "first8"), checker.digest(tensors, every=1), strict=True):
        assert checker.close(value, golden[f"{key}_{kind}"]), (key, kind)


def statistics(order: list[nn.Module], golden: Golden, suffix: str) -> None:
    norms = [layer for layer in order if isinstance(layer, nn.BatchNorm2d)]
    digests([norm.running_mean for norm in norms], golden, f"bn_mean_{suffix}")
    digests([norm.running_var for norm in norms], golden, f"bn_var_{suffix}")


@pytest.mark.parametrize("number", [1, 2])
def test_losses_and_gradients_of_given_logits(number: int) -> None:
    found = case(f"loss_{number}")
    logits, truth = torch.from_numpy(found["in_z"]).requires_grad_(), torch.from_numpy(found["in_labels"])
    terms = method("dcm@released").terms(logits, truth)
    check(terms["ce"], found, "out_ce")
    check(terms["kl"], found, "out_kl")
    loss = terms["ce"].sum() + terms["kl"].sum()
    check(loss, found, "out_total")
    loss.backward()
    check(logits.grad, found, "grad_z")
    teacher, student = (torch.from_numpy(found["in_z"][at]).requires_grad_() for at in (0, 4))
    kl = divergences(student[None], teacher[None], EPSILON)[0, 0]
    check(kl, found, "out_kl_function")
    kl.backward()
    check(teacher.grad, found, "grad_kl_function_p")
    check(student.grad, found, "grad_kl_function_q")


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("wrn16_2-10", wide(16, 2)),
        ("wrn28_1-100", wide(28, 1)),
        pytest.param("mobilenet-100", networks.get("mobilenet_dcm"), marks=pytest.mark.slow),
    ],
)
def test_one_network_with_its_auxiliary_classifiers(name: str, architecture: Architecture) -> None:
    found = case(f"forward_{name}")
    meta = found["meta"]
    parts = architecture.build(meta["classes"])
    network = MultiExit(parts, auxiliary_classifiers(parts)).double()
    view = images(meta["batch"], 32)
    order = execution_order_of_traces(network, view)
    assert len(order) == meta["layers"]
    for k, layer in enumerate(order):
        checker.fill_layer(layer, k)

    def logits(*, train: bool) -> Tensor:
        return stack_logits(network.train(train).traces(view))

    assert checker.close(logits(train=False), found["logits_eval"])
    trained = logits(train=True)
    assert checker.close(trained, found["logits_train"])
    loss = cross_entropies(trained, labels(meta["batch"], meta["classes"])).sum()
    assert checker.close(loss, found["ce_sum_train"])
    loss.backward()
    digests([p.grad for p in checker.parameters(order)], found, "grad")
    statistics(order, found, "after")
    assert checker.close(logits(train=False), found["logits_eval_after_train"])


def execution_order_of_traces(network: MultiExit, view: Tensor) -> list[nn.Module]:
    class Traces(nn.Module):
        """Heads of different widths have no features of one width."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, view: Tensor) -> None:
            self.network.traces(view)

    return checker.execution_order(Traces(), view)


def settings(epochs: int = 2, milestones: tuple[int, ...] = (1,)) -> TrainingSettings:
    optimizer = OptimizerSettings(lr=0.1, momentum=0.9, nesterov=False, weight_decay=5e-4)
    schedule = MultistepSchedule(name="multistep", milestones=milestones, gamma=0.2, reset_momentum=True)
    return TrainingSettings(epochs=epochs, batch_size=8, optimizer=optimizer, schedule=schedule)


def pair(architecture: Architecture, classes: int) -> Method:
    return get("dcm")(Build([architecture], classes, seed=0), configure("dcm@released", {})).double().train()


@pytest.mark.slow
def test_training_steps() -> None:
    found = case("step_wrn16_1-10")
    meta = found["meta"]
    m = pair(wide(meta["depth"], meta["width"]), meta["classes"])
    batches = [
        Batch((images(meta["batch"], 32, t),), labels(meta["batch"], meta["classes"], t))
        for t in range(meta["epochs"] * meta["steps_per_epoch"])
    ]
    order = checker.fill(m, batches[0], Progress(torch.zeros(()), torch.zeros(())))
    each = meta["layers_per_network"]
    assert len(order) == NETWORKS * each
    halves = [order[:each], order[each:]]

    def compare(key: str) -> None:
        for number, layers in enumerate(halves, 1):
            digests(checker.parameters(layers), found, f"{key}_net{number}")

    compare("before")
    step = Step(m, settings())
    for number, batch in enumerate(batches):
        if number % meta["steps_per_epoch"] == 0:
            step.begin_epoch(number // meta["steps_per_epoch"])
        assert checker.close(step.rate, found["out_lr"][number])
        terms = step(batch, number)
        assert checker.close(terms["ce"], found["out_ce"][number].sum())
        assert checker.close(terms["kl"], found["out_kl"][number].sum())
        compare(f"after{number + 1}")
    m.eval()
    probes = m.logits(images(4, 32, 100)).chunk(NETWORKS)
    for number, (layers, probe) in enumerate(zip(halves, probes, strict=True), 1):
        statistics(layers, found, f"net{number}")
        assert checker.close(probe, found[f"probe_logits_net{number}"])


def test_an_epoch_that_continues_keeps_its_momentum() -> None:
    m = method("dcm", exits="final")
    step = Step(m, settings())
    step.begin_epoch(0)
    step(Batch((torch.randn(4, 3, 32, 32),), torch.arange(4)))
    before = [value.clone() for value in step.optimizers.tensors()]
    step.begin_epoch(1, fresh=False)
    assert all(map(torch.equal, before, step.optimizers.tensors()))
    step.begin_epoch(1)
    assert not any(value.any() for value in step.optimizers.tensors())


def test_schedule() -> None:
    [told] = checker.load("dcm_schedule.json", "dcm").values()
    training = settings(len(told["lr"]), tuple(told["epochs_that_begin_with_a_new_optimiser"]))
    rates = [0.1 * rate_factor(training, epoch) for epoch in range(training.epochs)]
    assert rates == pytest.approx(told["lr"], rel=1e-9)


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_parameters(name: str) -> None:
    told = COUNTS[name]
    with weightless():
        parts = IDENTIFIERS[name].build(100)
        network = MultiExit(parts, auxiliary_classifiers(parts))
    assert count_parameters(network.backbone) == told["backbone"]
    assert [count_parameters(branch) for branch in network.branches] == [told["auxiliary1"], told["auxiliary2"]]
    assert count_parameters(network) == told["network"]


@pytest.mark.parametrize(
    ("name", "millions"), [("wrn28_10_dcm", (5243.4, 2621.5, 6868.3)), ("mobilenet_dcm", (611.7, 340.7, 337.2))]
)
def test_arithmetic(name: str, millions: tuple[float, float, float]) -> None:
    with weightless():
        parts = networks.get(name).build(100)
        network = MultiExit(parts, auxiliary_classifiers(parts)).eval()
        view = torch.zeros(1, 3, 32, 32)
    macs = []
    maps = network.backbone.trace(view).taps
    for module, at in ((network.backbone, view), *zip(network.branches, maps[-3:-1], strict=True)):
        with torch.no_grad(), CostCounter() as counted:
            module(at)
        macs.append(round(counted.without_gradient.macs / 1e6, 1))
    assert tuple(macs) == millions


def test_connections() -> None:
    logits, truth = torch.randn(6, 5, 10), torch.arange(5)
    every = method("dcm").terms(logits, truth)["kl"]
    same = method("dcm", connections="same-stage").terms(logits, truth)["kl"]
    none = method("dcm@deep-supervision").terms(logits, truth)["kl"]
    assert int((every > 0).sum()) == 18
    assert not every[:3, :3].any() and not every[3:, 3:].any()
    pairs = [(i, j) for i in range(6) for j in range(6) if abs(i - j) == 3]
    assert [tuple(at) for at in same.nonzero().tolist()] == pairs
    torch.testing.assert_close(same[0, 3], every[0, 3])
    assert not none.any()


def test_final_exits_alone_are_mutual_learning_without_temperature() -> None:
    logits, truth = torch.randn(2, 5, 10), torch.arange(5)
    found = method("dcm", exits="final").terms(logits, truth)
    expected = method("dml", update="simultaneous").terms(logits, truth)
    torch.testing.assert_close(found["kl"].sum(), expected["kl"].sum())
    torch.testing.assert_close(found["ce"], expected["ce"])


def test_a_network_without_other_late_stages_is_refused_by_name() -> None:
    kind, config = get("dcm"), configure("dcm", {})
    told = kind.obstacle(config, [networks.get("googlenet_cifar")])
    assert told == (
        "googlenet_cifar cannot have late stages of another depth and width, which auxiliary classifiers need; "
        "set dcm.exits: final"
    )
    assert kind.obstacle(configure("dcm", {"exits": "final"}), [networks.get("googlenet_cifar")]) is None
    assert kind.obstacle(config, [networks.get("resnet32"), networks.get("mobilenet_dcm")]) is None
