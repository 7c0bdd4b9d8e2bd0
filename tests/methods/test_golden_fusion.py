"""FFL, FFSD and DCCL against the numbers computed with the authors' code (float64).

The methods train as in a run, on networks whose maps are the golden ones: losses, gradients and steps are compared.
"""

from collections.abc import Callable

import pytest
import torch
from golden import maps
from golden.checker import load
from golden.maps import (
    Golden,
    Tensors,
    architecture,
    check,
    check_all,
    dccl_tensors,
    fill,
    layers,
    method,
    only,
    prefixed,
    stages,
)
from torch import Tensor

from okdbench.config import MultistepSchedule, OptimizerSettings, TrainingSettings
from okdbench.methods import Batch, Method
from okdbench.methods.parts.fusion import Fused
from okdbench.training import Step

TRAINING = TrainingSettings(
    epochs=300,
    batch_size=8,
    optimizer=OptimizerSettings(lr=0.1, weight_decay=1e-4),
    schedule=MultistepSchedule(name="multistep", milestones=()),
)


class Trained:
    """A method after one step of a run in that epoch (from 0), on the golden maps."""

    def __init__(self, m: Method, tensors: Tensors, golden: Golden, epoch: int) -> None:
        fill(tensors, golden, "w_", "in_")
        self.method, self.tensors, terms = m, tensors, m.terms

        def record(*given: object) -> dict[str, Tensor]:
            self.given, self.terms = given, terms(*given)
            return dict(self.terms)

        m.terms = record
        step = Step(m, TRAINING)
        step.begin_epoch(epoch)
        labels = torch.from_numpy(golden["in_labels"])
        self.summed = step(Batch((torch.zeros(len(labels), 3, 2, 2, dtype=torch.float64),), labels))
        self.total = sum(self.summed.values())
        self.weights = step.progress.weights


def check_epochs(
    golden: Golden,
    build: Callable[[], tuple[Method, Tensors]],
    values: Callable[[Trained], dict[str, Tensor]],
    first: int = 0,
) -> None:
    """Terms at every epoch; gradients, and what the optimisers make of them, where they are stored.

    ``values`` gives what an epoch's golden values are compared with, by name; all that there are must be in it.
    """
    epochs, values_of = golden["epochs"], only(golden, "out_")
    per_epoch = {key[4:] for key, value in values_of.items() if value.shape == epochs.shape}
    stepped = 0
    for index, epoch in enumerate(epochs):
        m, tensors = build()
        trained = Trained(m, tensors, golden, int(epoch) - first)
        got = values(trained)
        assert set(got) == per_epoch
        for name, value in got.items():
            want = golden[f"out_{name}"][index]
            assert float(value.detach()) == pytest.approx(want, rel=1e-9, abs=1e-14), f"{name} at epoch {epoch}"
        if epoch in golden["meta"]["grad_epochs"]:
            learnt = [name for name, tensor in tensors.items() if tensor.requires_grad]
            assert check_all(tensors, golden, f"grad_e{epoch}_", gradients=True) == len(learnt)
            stepped += check_all(tensors, golden, f"after_step_e{epoch}_")
    assert stepped == len(only(golden, "after_step_"))


@pytest.mark.parametrize("case", ["1", "2_r32shape"])
def test_ffl(case: str) -> None:
    golden = maps.golden(f"losses/ffl_{case}.npz")
    network = architecture([golden["in_F1"].shape])

    def build() -> tuple[Method, Tensors]:
        m = method("ffl@released", network, golden["out_zf"].shape[1])
        tensors = prefixed("fm", maps.fusion(m.fusion))
        for number, branch in enumerate(m.network.branches, 1):
            tensors |= {f"F{number}": branch.stages[0].value}
            tensors |= prefixed(f"fc{number}", layers(branch.head.classifier))
        return m, tensors

    def values(trained: Trained) -> dict[str, Tensor]:
        terms, summed = trained.terms, trained.summed
        logits, fused, _ = trained.given
        check_all({"z1": logits[0], "z2": logits[1], "zf": fused}, only(golden, "out_z"), "out_")
        return {
            "loss": trained.total,
            "loss_cross": summed["ce"] + summed["ce_fused"],
            "loss_kl_weighted": summed["kl"] + summed["kl_fused"],
            "weight": trained.weights["distillation"],
            **{f"ce_{k}": terms["ce"][k - 1] for k in (1, 2)},
            **{f"kl_{k}f": terms["kl"][k - 1] for k in (1, 2)},
            "ce_f": terms["ce_fused"],
            "kl_fe": terms["kl_fused"],
        }

    check_epochs(golden, build, values)


@pytest.mark.parametrize("case", ["1_resnet", "2_r32shape", "4_vgg"])
def test_dccl(case: str) -> None:
    golden = maps.golden(f"losses/dccl_{case}.npz")
    count = len(golden["meta"]["channels"])
    shared = golden["meta"]["kind"] == "vgg"
    network = architecture([golden[f"in_net1_stage{stage}"].shape for stage in range(1, count + 1)], hidden=shared)

    def build() -> tuple[Method, Tensors]:
        m = method("dccl@released", network, golden["out_zf"].shape[1], share_ends=shared)
        return m, prefixed("fm", maps.fusion(m.fusion)) | dccl_tensors(m, shared=shared)

    def values(trained: Trained) -> dict[str, Tensor]:
        terms, summed = trained.terms, trained.summed
        logits, fused, _, _ = trained.given
        check_all({"z1": logits[0], "z2": logits[1], "zf": fused}, only(golden, "out_z"), "out_")
        cross = summed["ce"] + summed["ce_fused"]
        features = {f"G{stage}": terms["features"][stage - 1] for stage in range(1, count + 1)}
        return {
            "loss": trained.total,
            "loss_cross": cross,
            "loss_kl_weighted": trained.total - cross,
            "weight": trained.weights["distillation"],
            **{f"ce_{k}": terms["ce"][k - 1] for k in (1, 2)},
            "ce_f": terms["ce_fused"],
            "kl_12": terms["kl"][0],
            "kl_21": terms["kl"][1],
            **{f"kl_{k}f": terms["kl_from_fused"][k - 1] for k in (1, 2)},
            **{f"kl_f{k}": terms["kl_fused"][k - 1] for k in (1, 2)},
            **{f"kl_{stage}_12": pair[0] for stage, pair in features.items()},
            **{f"kl_{stage}_21": pair[1] for stage, pair in features.items()},
        }

    check_epochs(golden, build, values)


@pytest.mark.parametrize("case", ["1", "2_r32shape", "4_fourtaps"])
def test_ffsd(case: str) -> None:
    golden = maps.golden(f"losses/ffsd_{case}.npz")
    count = len(golden["meta"]["channels_shallow_to_deep"])
    network = architecture([golden[f"in_s1_map_{level}"].shape for level in range(1, count + 1)], logits=True)

    def build() -> tuple[Method, Tensors]:
        m = method("ffsd@released", network, golden["out_fm_logits"].shape[1])
        tensors = prefixed("fm", maps.fusion(m.fusion)) | prefixed("trans", maps.separable(m.transfusion))
        tensors |= prefixed("sd_s2", maps.distiller(m.distillers[0]))
        tensors |= prefixed("sd_leader", maps.distiller(m.distillers[1]))
        for who, single in (("leader", m.leader), ("s1", m.students.networks[0]), ("s2", m.students.networks[1])):
            tensors |= {f"{who}_map_{level}": stage.value for level, stage in enumerate(stages(single), 1)}
            tensors |= {f"{who}_logits": single.branch.head.classifier.value}
        m.fusion.register_forward_hook(lambda _, __, fused: keep_fused(tensors, fused))
        m.transfusion.register_forward_hook(lambda _, __, out: keep_prediction(tensors, out))
        return m, tensors

    def values(trained: Trained) -> dict[str, Tensor]:
        for name in ("fm_logits", "fm_feature", "trans_prediction"):
            check(trained.tensors[name], golden, f"out_{name}")
        statistics = {key: value for key, value in golden.items() if "running" in key}
        assert check_all(trained.tensors, statistics, "after_") == 8 + 4 * (count - 1)
        weighted = trained.method.combine(trained.terms, trained.weights)
        assert torch.isclose(trained.total, sum(term.sum() for term in weighted.values()), rtol=1e-12)
        return {**of_students(weighted), **of_leader(weighted), **lambdas(trained.weights)}

    check_epochs(golden, build, values, first=1)


def keep_fused(tensors: Tensors, fused: Fused) -> None:
    tensors |= {"fm_logits": fused.logits.detach(), "fm_feature": fused.map.detach()}


def keep_prediction(tensors: Tensors, prediction: Tensor) -> None:
    prediction.retain_grad()
    tensors["trans_prediction"] = prediction


def of_students(terms: Tensors) -> Tensors:
    """Golden names of the weighted terms of the two common students, the second's module and the fusion module."""
    zero = torch.zeros(())
    diversity, sd = ((zero, terms[name][0]) for name in ("diversity", "sd"))
    found: Tensors = {}
    for k in range(2):
        parts = {"ce": terms["ce"][k], "dml": terms["kl"][k]}
        parts |= {"diversity_weighted": diversity[k], "self_distillation_weighted": sd[k]}
        found |= {f"s{k + 1}_{name}": value for name, value in {**parts, "total": sum(parts.values())}.items()}
    found |= {"fm_ce": terms["ce_fused"], "fm_kl": terms["kl_fused"], "fm_total": terms["ce_fused"] + terms["kl_fused"]}
    for index, who in enumerate(("s2", "leader")):
        found[f"sd_{who}_feature_weighted"] = terms["modules"][index]
        found[f"sd_{who}_attention_weighted"] = terms["modules_attention"][index]
    return found


def of_leader(terms: Tensors) -> Tensors:
    names = {
        "ce": "ce_leader",
        "kl": "kl_leader",
        "fusion_weighted": "fusion_leader",
        "transfusion_weighted": "transfusion_leader",
        "self_distillation_weighted": "sd_leader",
    }
    parts = {golden: terms[name] for golden, name in names.items()}
    return {f"leader_{name}": value for name, value in {**parts, "total": sum(parts.values())}.items()}


def lambdas(weights: Tensors) -> Tensors:
    names = {"diversity": "diversity", "fusion": "fusion", "self_distillation": "sd"}
    return {f"lambda_{golden}": weights[name] for golden, name in names.items()}


def test_schedules() -> None:
    golden = load("schedule.json", "fusion")
    ramp = golden["ffl_dccl_rampup_80"]
    network = architecture([(4, 2, 4, 4), (4, 2, 2, 2)])
    for label in ("ffl", "dccl", "layer-fusion"):
        m = method(label, network, 10)
        got = [m.schedule(epoch - ramp["first_epoch"], 300)["distillation"] for epoch in range(len(ramp["weight"]))]
        assert got == pytest.approx(ramp["weight"], rel=1e-12)
    rise, m = golden["ffsd_lambda_warmup"], method("ffsd", network, 10)
    for key, name in (("diversity", "diversity"), ("fusion", "fusion"), ("self_distillation", "sd")):
        want = rise[f"lambda_{key}"]
        assert [m.schedule(epoch, 300)[name] for epoch in range(len(want))] == pytest.approx(want, rel=1e-12)
        assert m.schedule(299, 300)[name] == want[rise["constant_from_epoch"] - rise["first_epoch"]]


RATES = {
    ("ffl", "ffl_cifar"): (1e-4, ["students", "fusion_module"]),
    ("dccl@released", "dccl_cifar_resnet"): (2e-4, ["students", "fusion_module"]),
    ("dccl@released", "dccl_cifar_vgg"): (2e-4, ["students", "fusion_module"]),
    ("ffsd", "ffsd_cifar"): (1e-4, ["students_leader_fusion", "students_leader_fusion", "self_distillation_adam"]),
}


@pytest.mark.parametrize(("label", "recipe"), RATES)
def test_learning_rates_and_weight_decays(label: str, recipe: str) -> None:
    golden = load("schedule.json", "fusion")[recipe]
    decay, names = RATES[label, recipe]
    schedule = MultistepSchedule(name="multistep", milestones=(150, 225))
    optimizer = OptimizerSettings(lr=0.1, weight_decay=decay)
    training = TRAINING.model_copy(update={"schedule": schedule, "optimizer": optimizer})
    step = Step(method(label, architecture([(4, 2, 4, 4), (4, 2, 2, 2)]), 10), training)
    for epoch in range(len(golden[names[0]]["lr"])):
        step.begin_epoch(epoch)
        groups = [group for state in step.optimizers.state() for group in state["param_groups"]]
        assert [group["lr"] for group in groups] == pytest.approx([golden[name]["lr"][epoch] for name in names])
    assert [group["weight_decay"] for group in groups] == [decay, 1e-5, 1e-4][: len(names)]
