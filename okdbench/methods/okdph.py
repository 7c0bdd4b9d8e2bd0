"""OKDPH: online distillation with a hybrid-weight model (Zhang et al., CVPR 2023, arXiv 2303.14666)."""

from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from okdbench.config import Count, Few
from okdbench.methods.base import Batch, Build, CodeDifference, Method, MethodConfig, Progress, Update
from okdbench.methods.parts.ema import frozen_copy
from okdbench.methods.parts.losses import cross_entropies, distillation
from okdbench.methods.parts.peers import peer_heads
from okdbench.networks import Single

DRAWS = 2**14
"""The random convex combinations of a run, which takes them in turn."""
_CODE = "tianlizhang/OKDPH a562089"
_ALL = "all accuracies of the paper"


class OKDPHConfig(MethodConfig):
    """Hyper-parameters of OKDPH; the loss of ``released`` is that of the public code.

    The paper is not readable here: its form is made of its abstract and of other people's notes on its equations.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {"mixing": "mean", "hybrid_gradient": False},
    }
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "loss of the hybrid-weight model",
            "flattens the minimum between the students, so it trains them through the mixture of their weights",
            "reaches the hybrid model's own weights alone, which no optimiser has and the next step overwrites",
            _CODE,
            _ALL,
        ),
        CodeDifference(
            "coefficients of the mixture",
            "drawn from Dirichlet(1, .., 1) for every batch",
            "1 / M; its option for Dirichlet ends with an exception",
            _CODE,
            _ALL,
        ),
        CodeDifference(
            "augmentation",
            "",
            "students and hybrid model see different kinds (flip, cutout, RandAugment); the methods compared see flips",
            _CODE,
            _ALL,
        ),
        CodeDifference(
            "evaluated network",
            "",
            "the best of the students and the hybrid model at the best epoch, chosen on the test set",
            _CODE,
            _ALL,
        ),
    )
    peers: Few = Field(default=2, ge=2, description="students")
    omega: float = Field(default=0.8, ge=0, le=1, description="weight of a student's CE; the hybrid's is 1 - omega")
    beta: float = Field(default=0.8, ge=0, description="weight of distillation from the mean of all logits")
    temperature: float = Field(default=4.0, gt=0)
    gamma: float = Field(default=0.5, ge=0, le=1, description="how far fusion moves the students to the hybrid model")
    fuse_every: Count = Field(default=1, ge=0, description="fusion after this many epochs or batches; 0: never")
    fuse_by: Literal["epoch", "batch"] = Field(
        default="epoch", description="what fusion counts; batches are counted from the start of each epoch"
    )
    mixing: Literal["dirichlet", "mean"] = Field(
        default="dirichlet", description="coefficients of the hybrid model: drawn for every batch, or 1 / M"
    )
    hybrid_gradient: bool = Field(default=True, description="the hybrid model's CE trains the students")
    same_init: bool = Field(default=True, description="the students start from the same weights")
    views: Literal["different", "shared"] = Field(
        default="different", description="one view for each student and one for the hybrid model, or one for all"
    )

    @model_validator(mode="after")
    def _students_differ(self) -> Self:
        random = self.hybrid_gradient and self.omega < 1 and self.mixing == "dirichlet"
        if self.same_init and self.views == "shared" and not random:
            raise ValueError("students with one start and one view stay equal; set same_init: false")
        return self


class OKDPH(Method[OKDPHConfig]):
    """Students of one architecture, and a model whose weights are a convex combination of theirs.

    The hybrid-weight model is mixed again in every step, sees a view of its own and is never trained; its logits join
    the ensemble that teaches the students. From time to time the students are moved towards it (fusion).
    """

    name = "okdph"
    title = "OKDPH"
    paper = "Generalization Matters: Loss Minima Flattening via Parameter Hybridization, Zhang et al., CVPR 2023"
    year = 2023
    deployed = "peer0"
    coefficients: Tensor

    def __init__(self, build: Build, config: OKDPHConfig) -> None:
        super().__init__(build, config)
        self.views = config.peers + 1 if config.views == "different" else 1
        self.students = nn.ModuleList(Single(build(0 if config.same_init else m)) for m in range(config.peers))
        self.hybrid = frozen_copy(self.students[0])
        with build.keyed_init():
            # Normalised exponentials are Dirichlet(1, .., 1).
            drawn = torch.empty(DRAWS, config.peers).exponential_()
        drawn = torch.ones_like(drawn[:1]) if config.mixing == "mean" else drawn
        self.register_buffer("coefficients", drawn / drawn.sum(dim=1, keepdim=True), persistent=False)

    def heads(self) -> tuple[str, ...]:
        """Return a head for each student, the hybrid model's, and one for the mean of all their logits."""
        return (*peer_heads(self.config.peers), "hybrid", "ensemble")

    def drawn(self, progress: Progress) -> Tensor:
        """Return the coefficients [m] of this step."""
        number = progress.step.long() % len(self.coefficients)
        return self.coefficients.index_select(0, number.view(1)).squeeze(0)

    def mixture(self, coefficients: Tensor, *, buffers: bool = False) -> list[Tensor]:
        """Return sum_m r_m theta_m for every parameter, or for every floating-point buffer, of the students."""
        first, *rest = coefficients.unbind()
        head, *others = (_floating(student, buffers) for student in self.students)
        mixed: list[Tensor] = list(torch._foreach_mul(head, first))
        for own, coefficient in zip(others, rest, strict=True):
            mixed = list(torch._foreach_add(mixed, torch._foreach_mul(own, coefficient)))
        return mixed

    @torch.no_grad()
    def hybridise(self, coefficients: Tensor) -> None:
        """Make the hybrid model from the students; its BN statistics too are a combination of theirs."""
        for buffers in (False, True):
            torch._foreach_copy_(_floating(self.hybrid, buffers), self.mixture(coefficients, buffers=buffers))

    @torch.no_grad()
    def fuse(self, factor: Tensor) -> None:
        """theta_m <- factor theta_h + (1 - factor) theta_m for all students, BN statistics included; 0-d ``factor``."""
        for buffers in (False, True):
            towards = list(torch._foreach_mul(_floating(self.hybrid, buffers), factor))
            for student in self.students:
                own = _floating(student, buffers)
                torch._foreach_mul_(own, 1.0 - factor)
                torch._foreach_add_(own, towards)

    def terms(self, students: Tensor, hybrid: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """CE and distillation of each student, [m] each, and the hybrid model's CE, from [m, B, C] and [B, C].

        The target, the mean of all m + 1 logits, is a constant.
        """
        target = torch.cat([students, hybrid[None]]).detach().mean(dim=0)
        return {
            "ce": cross_entropies(students, labels),
            "kd": distillation(students, target.expand_as(students), self.config.temperature),
            "ce_hybrid": cross_entropy(hybrid, labels),
        }

    def combine(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """omega CE_m, beta KD_m and (1 - omega) CE_h."""
        omega, beta = self.config.omega, self.config.beta
        weights = {"ce": omega, "kd": beta, "ce_hybrid": 1.0 - omega}
        return {name: weights[name] * term for name, term in terms.items()}

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """sum_m (omega CE_m + beta KD_m) + (1 - omega) CE_h: the last, once, gives each student r_m of its gradient.

        Without ``hybrid_gradient`` the last term is only logged.
        """
        *views, last = [batch.views[index % len(batch.views)] for index in range(self.config.peers + 1)]
        students = torch.stack([student(view) for student, view in zip(self.students, views, strict=True)])
        if self.config.hybrid_gradient:
            names = [name for name, _ in self.hybrid.named_parameters()]
            mixed = dict(zip(names, self.mixture(self.drawn(progress)), strict=True))
            hybrid = functional_call(self.hybrid, mixed, last)
        else:
            with torch.no_grad():
                hybrid = self.hybrid(last)
        return {name: term.sum() for name, term in self.combine(self.terms(students, hybrid, batch.labels)).items()}

    def training_step(self, batch: Batch, progress: Progress, update: Update) -> dict[str, Tensor]:
        """Fuse if an epoch that ended calls for it, make the hybrid model, and train the students."""
        every = self.config.fuse_every
        if every and self.config.fuse_by == "epoch":
            ended = progress.epoch - 1
            self._fuse_if((progress.number == 0) & (ended >= 0) & (ended % every == 0))
        self.hybridise(self.drawn(progress))
        return super().training_step(batch, progress, update)

    def after_step(self, progress: Progress) -> None:
        """Fuse if this batch calls for it."""
        every = self.config.fuse_every
        if every and self.config.fuse_by == "batch":
            self._fuse_if(progress.number % every == 0)

    def _fuse_if(self, due: Tensor) -> None:
        """Fuse where the 0-d ``due`` is true; the work is the same in every step."""
        self.fuse(self.config.gamma * due.to(self.coefficients.dtype))

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of all heads."""
        logits = torch.stack([network(images) for network in (*self.students, self.hybrid)])
        return self.named((*logits, logits.mean(dim=0)))


def _floating(network: nn.Module, buffers: bool) -> list[Tensor]:
    """Return the parameters of a network, or its floating-point buffers."""
    return [each for each in (network.buffers() if buffers else network.parameters()) if each.is_floating_point()]
