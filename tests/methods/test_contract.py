"""Every method in every preset, and with every switch, keeps the contract; and the contract notices what breaks it."""

import pytest
import torch
from methods.build import RESNET8
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from okdbench import networks
from okdbench.methods import Batch, Build, ParameterGroup, Progress, available, configure, get
from okdbench.methods.base import Update
from okdbench.methods.baseline import Baseline, BaselineConfig
from okdbench.networks import Architecture, Parts
from okdbench.testing import check_method

PRESETS = [f"{name}@{preset}" for name, kind in available().items() for preset in kind.Config.presets]
SWITCHES = [
    ("baseline", {"views": 2}),
    ("pcl", {"peer_teachers": False, "views": "shared", "classifiers": "identical"}),
    ("pcl", {"ensemble_of": "logits", "teacher_init": "copy"}),
    ("pcl", {"teacher_stem": "student"}),
    ("pcl", {"taught_by": "own"}),
    ("pcl", {"shared_branch": True}),
    ("dkel", {"ensemble": "off", "teacher_stem": "student", "decay": "cosine"}),
    ("dkel", {"teacher_init": "random", "init_steps": 3, "decay": "linear"}),
    ("dkel", {"ensemble": "convex", "peer_teachers": False}),
    ("independent", {"peers": 1}),
    ("independent", {"views": "different"}),
    ("dml", {"update": "simultaneous", "target": "probability-mean"}),
    ("cl", {"rescaling": False, "beta": None}),
    ("one", {"gate": "mean"}),
    ("one", {"weight": 0.0}),
    ("one", {"sharing": "networks"}),
    ("okddip", {"sharing": "networks", "mix": "logit"}),
    ("okddip", {"leader": False, "attention": "symmetric"}),
    ("okddip", {"detach": "none"}),
    ("okddip", {"detach": "full", "mix": "logit"}),
    ("okddip", {"attention": "mean", "peers": 3}),
    *(("kdcl", {"variant": variant}) for variant in ("naive", "linear", "general", "mean")),
    ("kdcl", {"views": "shared", "detach": False}),
    ("pcl", {"views": "shared", "teacher_stem": "student"}),
    ("ffl", {"sharing": "networks", "detach_fusion": True}),
    ("ffl", {"peers": 3}),
    ("ffsd", {"peers": 3, "sd_source": "other", "shift_norm": "unit"}),
    ("dccl", {"share_ends": True, "features": "channel"}),
    ("dccl", {"features": "spatial", "fusion_weight_decay": None}),
    ("dccl", {"features": "off"}),
    ("layer-fusion", {"auxiliary": "logits", "spatial_attention": True}),
    ("layer-fusion", {"auxiliary": "attention", "detach_fusion": True}),
    ("mcl", {"peers": 3, "logit_kd": "all", "diagonal": "masked", "images_per_class": 0}),
    ("mcl", {"structure": "branched", "logit_kd": "last", "icl_same_image": "positive", "gamma": 0.0}),
    ("l-mcl", {"exits": "final"}),
    ("l-mcl", {"aggregator_ce": False, "lambda_detach_inner": True}),
    ("l-mcl", {"kd": False, "aggregator_ce": False, "meta_every": 0, "images_per_class": 0}),
    ("ahbf", {"gate": "mean", "added": 0}),
    ("ahbf", {"peers": 2, "own_stages": 2, "detach": True}),
    ("dcm", {"exits": "final"}),
    ("dcm", {"connections": "same-stage"}),
    ("mcl", {"bank": True, "negatives": 20, "images_per_class": 0, "logit_kd": "last", "kd_target_detach": False}),
    ("mcl", {"bank": True, "negatives": 20, "images_per_class": 0, "peers": 3, "structure": "branched"}),
    ("l-mcl", {"bank": True, "negatives": 20, "images_per_class": 0, "exits": "final"}),
    ("okdph", {"peers": 3, "views": "shared", "fuse_by": "batch", "same_init": False}),
]


@pytest.mark.parametrize("label", [pytest.param(x, marks=pytest.mark.slow if "imagenet" in x else ()) for x in PRESETS])
def test_presets(label: str) -> None:
    check_method(get(label.partition("@")[0]), configure(label, {}), RESNET8)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), SWITCHES, ids=str)
def test_switches(name: str, settings: dict) -> None:
    check_method(get(name), configure(name, settings), networks.get("resnet8"))


PAIRS = [
    *((name, {}) for name in ("dml", "kdcl", "dccl", "layer-fusion", "mcl", "l-mcl", "dcm")),
    ("ffl", {"sharing": "networks"}),
    ("okddip", {"sharing": "networks"}),
    ("dml", {"update": "simultaneous", "peers": 3}),
]


@pytest.mark.parametrize(("name", "settings"), PAIRS, ids=str)
def test_pairs_of_different_networks(name: str, settings: dict) -> None:
    config, first, second = configure(name, settings), networks.get("resnet8"), networks.get("resnet20")
    check_method(get(name), config, first, partner=second)


def dropping(classes: int) -> Parts:
    """ResNet-8 with dropout behind its last stage."""
    parts = networks.get("resnet8").build(classes)
    parts.stages[-1] = nn.Sequential(parts.stages[-1], nn.Dropout(0.5))
    return parts


@pytest.mark.parametrize("name", ["baseline", "dkel", "dml", "l-mcl"])  # one that prepares itself, one with a meta step
def test_networks_with_dropout(name: str) -> None:
    check_method(get(name), configure(name, {}), Architecture("dropping", "Dropping", dropping))


@pytest.mark.slow
@pytest.mark.parametrize("network", ["densenet40_12_bc", "vgg16_mlp", "wrn16_2"])
@pytest.mark.parametrize("label", PRESETS)
def test_other_networks(label: str, network: str) -> None:
    changes = {"exits": "all"} if "imagenet" in label else {}
    check_method(get(label.partition("@")[0]), configure(label, changes), networks.get(network))


class Draws(Baseline):
    """Draws weights without a key."""

    def __init__(self, build: Build, config: BaselineConfig) -> None:
        super().__init__(build, config)
        self.extra = nn.Linear(2, 2)


class Mixes(Baseline):
    """Draws random numbers while it trains."""

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        shuffled = batch.labels[torch.randperm(len(batch.labels))]
        return {"ce": cross_entropy(self.student(batch.views[0]), shuffled)}


class ReadsBack(Baseline):
    """Asks the device for a number at every step."""

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        terms = super().losses(batch, progress)
        return terms if terms["ce"] > 0 else {}


class SelectsByMask(Baseline):
    """Has losses over as many images as the network gets wrong."""

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        logits = self.student(batch.views[0])
        return {"ce": cross_entropy(logits, batch.labels, reduction="none")[logits.argmax(dim=1) != batch.labels].sum()}


class GivesVectors(Baseline):
    """Forgets to average."""

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        return {"ce": cross_entropy(self.student(batch.views[0]), batch.labels, reduction="none")}


class Explodes(Baseline):
    """Divides by the step."""

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        return {"ce": super().losses(batch, progress)["ce"] / progress.step}


class ChangesItsInput(Baseline):
    """Works in place on the images."""

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        batch.views[0].mul_(0.5)
        return super().losses(batch, progress)


class WantsTooMuch(Baseline):
    """Wants two views and looks at one."""

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        return super().losses(Batch(batch.views[:1], batch.labels), progress)

    def __init__(self, build: Build, config: BaselineConfig) -> None:
        super().__init__(build, config)
        self.views = 2


class SinglePrecision(Baseline):
    """Takes rounding errors for a signal."""

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        ce = super().losses(batch, progress)["ce"]
        return {"ce": ce * (1 + 1e5 * torch.finfo(ce.dtype).eps)}


class Unschedulable(Baseline):
    """Has a weight that ends in a division by zero."""

    def schedule(self, epoch: int, epochs: int) -> dict[str, float]:
        return {"weight": float("inf") if epoch == 299 else 1.0}


class Dangling(Baseline):
    """Has a parameter that no loss reaches."""

    def __init__(self, build: Build, config: BaselineConfig) -> None:
        super().__init__(build, config)
        with build.keyed_init():
            self.extra = nn.Linear(2, 2)


class TrainsItsTeacher(Baseline):
    """Lets the gradient reach what the optimiser does not train."""

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(list(self.student.trunk.parameters()))]


class OtherHeads(Baseline):
    """Gives a head that it does not promise."""

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        return {"ensemble": self.student(images), **super().predict(images)}


class Undeployable(Baseline):
    """Would ship a head that it does not have."""

    deployed = "leader"


class JudgesTogether(Baseline):
    """Lets the images of a batch influence one another's predictions."""

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        logits = self.student(images)
        return {"student": logits - logits.mean(dim=0)}


class LearnsWhileJudging(Baseline):
    """Updates BN statistics on test images."""

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        return {"student": self.student.train()(images)}


class Forgets(Baseline):
    """Keeps something that changes the losses outside of its state."""

    steps = 0

    def training_step(self, batch: Batch, progress: Progress, update: Update) -> dict[str, Tensor]:
        self.steps += 1
        return super().training_step(batch, progress, update)

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        return {"ce": super().losses(batch, progress)["ce"] * (1.0 + self.steps)}


MISTAKES = {
    Draws: "construction touches the global random state; use build.keyed_init",
    Mixes: "losses touches the global random state",
    ReadsBack: "losses branches on, or reads back, tensor values: aten._local_scalar_dense",
    SelectsByMask: "losses branches on, or reads back, tensor values: aten.index.Tensor",
    GivesVectors: r"losses at epoch 0: term ce must be 0-d, not of shape \(8,\)",
    Explodes: "losses at epoch 0: term ce is inf",
    ChangesItsInput: r"losses changes \['view 0'\] in place",
    WantsTooMuch: "view 1 does not change the losses; set fewer views",
    SinglePrecision: "term ce is .* in float32 and .* in float64",
    Unschedulable: "schedule gives weight = inf at epoch 299 of 300",
    Dangling: r"\['extra.bias', 'extra.weight'\] of parameter_groups receive no gradient",
    TrainsItsTeacher: r"\['student.branch.* receive a gradient and are not in parameter_groups",
    OtherHeads: r"heads\(\) says \('student',\), predict gives \('ensemble', 'student'\)",
    Undeployable: 'deployed is "leader", heads are',
    JudgesTogether: "the prediction of student for an image depends on the other",
    LearnsWhileJudging: r"predict changes \['student.trunk.stem.1.running_mean",
    Forgets: r"a copy made from state_dict has other losses: \['ce'\]",
}


@pytest.mark.parametrize("kind", MISTAKES, ids=lambda kind: kind.__name__)
def test_the_contract_notices(kind: type[Baseline]) -> None:
    with pytest.raises(AssertionError, match=f"{kind.__name__}: {MISTAKES[kind]}"):
        check_method(kind, BaselineConfig(), networks.get("resnet8"))


def test_settings_of_another_method_are_noticed() -> None:
    with pytest.raises(AssertionError, match="ONE: settings must be a ONEConfig"):
        check_method(get("one"), BaselineConfig(), networks.get("resnet8"))
