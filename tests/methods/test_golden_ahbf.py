"""AHBF-OKD against numbers computed with the authors' code (float64): fusion, losses, networks, whole steps."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from golden import checker
from golden.checker import images, labels
from golden.maps import Golden, check
from methods.build import method
from torch import Tensor, nn

from okdbench import networks
from okdbench.config import MultistepSchedule, OptimizerSettings, TrainingSettings
from okdbench.methods import Batch, Build, Progress, configure, get
from okdbench.methods.ahbf import AHBF, Assistant
from okdbench.methods.parts.fusion import Fused
from okdbench.methods.parts.losses import cross_entropies, distillation
from okdbench.networks import ClassifierHead, Parts, Trace
from okdbench.networks.base import count_parameters
from okdbench.networks.counting import weightless
from okdbench.training import Step
from okdbench.training.optimizer import rate_factor

COUNTS: dict[str, dict[str, Any]] = checker.load("ahbf_networks.json", "ahbf")
PASSES = ("eval", "train", "eval_after_train")
IDENTIFIERS = {
    "resnet32": "resnet32",
    "resnet110": "resnet110_bottleneck",
    "vgg16": "vgg16_mlp",
    "densenetd40k12": "densenet40_12_bc",
    "resnet18_imagenet": "imagenet_resnet18",
    "resnet34_imagenet": "imagenet_resnet34",
    "resnet8": "resnet8",
}


def case(name: str) -> Golden:
    found: Golden = checker.load(f"ahbf_{name}.npz", "ahbf")
    return {**found, "meta": json.loads(str(found["meta"]))} if "meta" in found else found


def tensor(values: Any, *, leaf: bool = False) -> Tensor:
    return torch.from_numpy(values).requires_grad_(leaf)


def digests(tensors: list[Tensor], golden: Golden, key: str) -> None:
    for kind, value in zip(("sum", "sumsq", "first8"), checker.digest(tensors, every=1), strict=True):
        assert checker.close(value, golden[f"{key}_{kind}"]), (key, kind)


def statistics(order: list[nn.Module], golden: Golden, key: Callable[[str], str]) -> None:
    norms = [layer for layer in order if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    digests([norm.running_mean for norm in norms], golden, key("mean"))
    digests([norm.running_var for norm in norms], golden, key("var"))


def weights(setting: list[float]) -> dict[str, Any]:
    """Our settings for golden [kd_weight, lambda1, lambda2, ramp length, factor on the ramp]."""
    names = ("weight", "lambda_assistant", "lambda_branch", "ramp_epochs", "ramp_factor")
    return {**dict(zip(names, setting, strict=True)), "ramp_epochs": int(setting[3]), "teach_branch": True}


def built(name: str, classes: int, **settings: Any) -> AHBF:
    config = configure("ahbf", settings)
    made = get("ahbf")(Build([networks.get(IDENTIFIERS[name])], classes, seed=0), config)
    assert isinstance(made, AHBF)
    return made


def test_distillation_sends_a_gradient_into_its_target() -> None:
    found = case("kl_1")
    student, teacher = (tensor(found[f"in_{which}"], leaf=True) for which in ("student", "teacher"))
    loss = distillation(student, teacher, found["meta"]["T"], epsilon=1e-7)
    check(loss, found, "out_loss")
    loss.backward()
    check(student.grad, found, "grad_student")
    check(teacher.grad, found, "grad_teacher")


@pytest.mark.parametrize("name", ["fusion_1", "fusion_2_dense"])
def test_fusion_module(name: str) -> None:
    found = case(name)
    (_, before, *_), (_, channels, *_) = (found[f"in_{which}"].shape for which in "xy")
    head = ClassifierHead(nn.Linear(channels, 2), channels)
    module = Assistant(before, Parts(nn.Identity(), [], head, 0, ())).double()
    layers = {"conv1": module.convolution, "bn1": module.norm, "control_v1": module.gate.linear}
    layers["bn_v1"] = module.gate.norm
    with torch.no_grad():
        for layer, own in layers.items():
            for part, value in own.named_parameters():
                value.copy_(tensor(found[f"w_{layer}.{part}"]))
    inputs = {key: tensor(found[f"in_{key}"], leaf=True) for key in ("x", "y", "logit_x", "logit_y")}

    def compare(prefix: str, *, train: bool) -> Fused:
        module.train(train)
        branch = Trace((), inputs["y"], inputs["y"], inputs["logit_y"])
        fused: Fused = module(Fused(inputs["x"], inputs["logit_x"]), branch)
        check(fused.map, found, f"{prefix}feature")
        check(fused.logits, found, f"{prefix}logit")
        return fused

    compare("out_eval_", train=False)
    check(
        module.gate(module.norm(module.convolution(torch.cat([inputs["x"], inputs["y"]], 1)))), found, "out_eval_gate"
    )
    fused = compare("out_", train=True)
    cotangents = (tensor(found[f"cotangent_{which}"]) for which in ("feature", "logit"))
    torch.stack([(a * b).sum() for a, b in zip(fused, cotangents, strict=True)]).sum().backward()
    for key, value in inputs.items():
        check(value.grad, found, f"grad_{key}")
    for layer, own in layers.items():
        for part, value in own.named_parameters():
            scale = max(abs(found[f"grad_w_{layer}.{p}"]).max() for p, _ in own.named_parameters())
            # The gradient of a bias before a batch normalisation is rounding noise.
            error = (value.grad - tensor(found[f"grad_w_{layer}.{part}"])).abs().max()
            assert float(error) <= 1e-9 * scale, (layer, part)
        if isinstance(own, nn.modules.batchnorm._BatchNorm):
            check(own.running_mean, found, f"after_{layer}.running_mean")
            check(own.running_var, found, f"after_{layer}.running_var")
    compare("out_eval_after_", train=False)


@pytest.mark.parametrize("name", ["loss_1_m4", "loss_2_m2", "loss_3_m3"])
def test_losses_and_gradients_of_given_logits(name: str) -> None:
    found = case(name)
    truth = tensor(found["in_labels"])
    for setting, values in found["meta"]["settings"].items():
        m = method("ahbf", peers=len(found["in_z"]), **weights(values))
        for epoch in found["epochs"].tolist():
            key = f"{setting}_e{epoch}"
            z, e = tensor(found["in_z"], leaf=True), tensor(found["in_e"], leaf=True)
            weight = m.schedule(epoch, 300)["distillation"]
            terms = {each: term.sum() for each, term in m.terms(z, e, truth).items()}
            check(weight / values[0], found, f"out_{key}_ramp")
            ce = terms["ce"] + terms["ce_assistants"]
            check(ce, found, f"out_{key}_ce")
            check(weight * terms["kl_assistants"], found, f"out_{key}_ekd")
            check(weight * terms["kl_branches"], found, f"out_{key}_dkd")
            total = ce + weight * (terms["kl_assistants"] + terms["kl_branches"])
            check(total, found, f"out_{key}_total")
            total.backward()
            check(z.grad, found, f"grad_{key}_z")
            check(e.grad, found, f"grad_{key}_e")


def test_presets_of_the_commits() -> None:
    head = case("loss_1_m4")["meta"]["settings"]["head"]
    for preset, setting, added in (("head", head, 2), ("first", [1.0, 1.0, 1.0, 300, 1.0], 4)):
        assert configure(f"ahbf@{preset}", {}) == configure("ahbf", {**weights(setting), "added": added})
    readme = case("loss_1_m4")["meta"]["settings"]["readme_first"]
    assert configure("ahbf@released", {}) == configure("ahbf", weights(readme))


@pytest.mark.parametrize("name", ["resnet32-10", pytest.param("vgg16-10", marks=pytest.mark.slow), "densenetd40k12-10"])
def test_forward(name: str) -> None:
    found = case(f"forward_{name}")
    meta = found["meta"]
    m = built(meta["network"], meta["classes"], peers=meta["branches"], added=meta["aux"]).double().train()
    view, truth = images(meta["batch"], 32), labels(meta["batch"], meta["classes"])
    order = checker.fill(m, Batch((view,), truth), Progress(torch.zeros(()), torch.zeros(()), {"distillation": 1.0}))
    assert len(order) == meta["layers"]
    for each in PASSES:
        logits, assistants = m.train(each == "train").logits(view)
        assert checker.close(logits, found[f"z_{each}"])
        assert checker.close(assistants, found[f"e_{each}"])
        if each == "train":
            loss = cross_entropies(logits, truth).sum() + cross_entropies(assistants, truth).sum()
            assert checker.close(loss, found["ce_sum_train"])
            loss.backward()
            digests([p.grad for p in checker.parameters(order)], found, "grad")
            statistics(order, found, lambda kind: f"bn_{kind}_after")


@pytest.mark.parametrize("scenario", ["head", "readme_first"])
def test_training_steps(scenario: str) -> None:
    found = case("step_resnet8-10")
    meta = found["meta"]
    told = meta["scenarios"][scenario]
    found = {key.removeprefix(f"{scenario}/"): value for key, value in found.items()}
    settings = {"peers": meta["branches"], "added": meta["aux"], **weights(told["setting"])}
    m = built(meta["network"], meta["classes"], **settings).double().train()
    batches = [Batch((images(meta["batch"], 32, t),), labels(meta["batch"], meta["classes"], t)) for t in range(3)]
    order = checker.fill(m, batches[0], Progress(torch.zeros(()), torch.zeros(()), {"distillation": 1.0}))
    digests(checker.parameters(order), found, "before")
    check(m.schedule(told["epoch"], 300)["distillation"] / told["setting"][0], found, "ramp")
    step = Step(m, training())
    step.begin_epoch(told["epoch"])
    for number, batch in enumerate(batches, 1):
        terms = step(batch, number - 1)
        ce = terms["ce"] + terms["ce_assistants"]
        check(ce, found, f"out_ce{number}")
        check(terms["kl_assistants"], found, f"out_ekd{number}")
        check(terms["kl_branches"], found, f"out_dkd{number}")
        check(ce + terms["kl_assistants"] + terms["kl_branches"], found, f"out_total{number}")
        digests(checker.parameters(order), found, f"after{number}")
    statistics(order, found, lambda kind: f"bn_{kind}")
    logits, assistants = m.eval().logits(images(4, 32, 100))
    assert checker.close(logits, found["probe_z"])
    assert checker.close(assistants, found["probe_e"])


def training(milestones: tuple[int, ...] = (149, 224)) -> TrainingSettings:
    optimizer = OptimizerSettings(lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = MultistepSchedule(name="multistep", milestones=milestones)
    return TrainingSettings(epochs=300, batch_size=8, optimizer=optimizer, schedule=schedule)


def test_schedules() -> None:
    found = checker.load("ahbf_schedule.json", "ahbf")["cifar_default"]
    rates = [0.1 * rate_factor(training(), epoch) for epoch in range(len(found["lr"]))]
    assert rates == pytest.approx(found["lr"], rel=1e-9)
    for name, preset in (("ramp_head", "head"), ("ramp_first", "first")):
        m = method(f"ahbf@{preset}")
        ramp = [m.schedule(epoch, 300)["distillation"] / m.config.weight for epoch in range(len(found[name]))]
        assert ramp == pytest.approx(found[name], rel=1e-9)


@pytest.mark.parametrize("entry", [key for key in COUNTS if key.rpartition("-m")[0].rpartition("-")[0] in IDENTIFIERS])
def test_parameters(entry: str) -> None:
    told = COUNTS[entry]
    name, classes, peers, added = entry.split("-")
    settings: dict[str, Any] = {"peers": int(peers[1:]), "added": int(added[1:])}
    if name.endswith("_imagenet"):
        settings["own_stages"] = 2
    with weightless():
        m = built(name, int(classes), **settings)
    assert count_parameters(m.network.trunk) == told["trunk"]
    assert [count_parameters(branch) for branch in m.network.branches] == told["branches"]
    assert count_parameters(m.assistants) == told["fusion_modules"]
    assert count_parameters(m) == told["total"]
    assert told["trunk"] + told["branches"][0] == told["target"]


def test_switches() -> None:
    z, e, truth = torch.randn(3, 4, 10), torch.randn(2, 4, 10), torch.arange(4)
    without = method("ahbf", peers=3).terms(z, e, truth)["kl_assistants"]
    both = method("ahbf", peers=3, teach_branch=True).terms(z, e, truth)["kl_assistants"]
    assert torch.all(both > without)
    detached = e.clone().requires_grad_()
    method("ahbf", peers=2, detach=True).terms(z[:2], detached[:1], truth)["kl_assistants"].sum().backward()
    assert not detached.grad.any(), "the only assistant teaches, and is taught by none"
    mean = method("ahbf", peers=3, gate="mean").eval()
    logits, assistants = mean.logits(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(assistants[1], logits[0] / 4 + logits[1] / 4 + logits[2] / 2)


def test_refusals_name_the_network() -> None:
    kind, config = get("ahbf"), configure("ahbf", {})
    assert "googlenet_cifar cannot have late stages" in str(kind.obstacle(config, [networks.get("googlenet_cifar")]))
    five = configure("ahbf", {"own_stages": 5})
    told = "resnet8 has 3 stages, and branches own 5; set ahbf.own_stages: 3, or less"
    assert kind.obstacle(five, [networks.get("resnet8")]) == told
    pair = [networks.get("resnet8"), networks.get("resnet20")]
    assert "cannot be trained as the pair" in str(kind.obstacle(config, pair))
