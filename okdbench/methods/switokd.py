"""SwitOKD: switchable online knowledge distillation (Qian et al., ECCV 2022, arXiv 2209.04996)."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from okdbench.methods.base import Batch, Build, Method, MethodConfig, ParameterGroup, Progress, Update, sum_terms
from okdbench.methods.parts.losses import distillation
from okdbench.networks import Architecture, Single

LOSSES = ("ce_student", "kl_student", "ce_teacher", "kl_teacher")
"""The terms that are minimised; the others tell how the decision came about."""


class SwitOKDConfig(MethodConfig):
    """Hyper-parameters of SwitOKD; the defaults are the public code's, and the paper's as far as it is readable.

    ``figure`` is the rule of the paper's overview figure: another epsilon, and a teacher that may also wait when it is
    behind.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {},
        "figure": {"epsilon_form": "student", "guard": False},
    }
    temperature: float = Field(default=1.0, gt=0, description="of distillation and of the distances")
    student_weight: float = Field(default=1.0, ge=0, description="alpha, the weight of the student's distillation")
    teacher_weight: float = Field(default=1.0, ge=0, description="beta, the weight of the teacher's distillation")
    switching: bool = Field(default=True, description="false: the teacher never waits, which is plain mutual learning")
    epsilon_form: Literal["sum", "student"] = Field(
        default="sum", description="epsilon = exp(-t / (s + t)), or exp(-t / s)"
    )
    guard: bool = Field(default=True, description="the teacher waits only while it is ahead, t < s")
    threshold: Literal["adaptive", "lower", "upper"] | float = Field(
        default="adaptive", description="delta = s - epsilon t; lower: epsilon 1; upper: epsilon 0; or a fixed delta"
    )
    student_lr: float | None = Field(default=None, gt=0, description="initial rate of the student; that of the run")
    teacher_lr: float | None = Field(default=None, gt=0, description="initial rate of the teacher; that of the run")


class Decision(NamedTuple):
    """What decides whether the teacher waits, as 0-d tensors of a batch; ``expert`` is 1 where it does."""

    student: Tensor
    teacher: Tensor
    gap: Tensor
    epsilon: Tensor
    delta: Tensor
    expert: Tensor


class SwitOKD(Method[SwitOKDConfig]):
    """A student and a larger teacher learn from each other; where they are too far apart, the teacher waits a batch.

    Of a pair ``A+B`` the student is A and the teacher B. A teacher that waits has a forward pass, which moves its BN
    statistics, but no update: its parameter group is gated, so that weights and momenta stand still.
    """

    name = "switokd"
    title = "SwitOKD"
    paper = "Switchable Online Knowledge Distillation, Qian et al., ECCV 2022"
    year = 2022
    supports_pairs = True
    learning: Tensor

    def __init__(self, build: Build, config: SwitOKDConfig) -> None:
        super().__init__(build, config)
        self.student, self.teacher = Single(build(0)), Single(build(1))
        # 1 where the teacher learns from this batch, 0 where it waits.
        self.register_buffer("learning", torch.ones(()), persistent=False)

    @classmethod
    def pair_obstacle(cls, config: SwitOKDConfig, architectures: Sequence[Architecture]) -> str | None:
        """Return why more than two networks cannot take part."""
        if len(architectures) > 2:
            return "SwitOKD has one student and one teacher; name two networks, STUDENT+TEACHER"
        return None

    def heads(self) -> tuple[str, ...]:
        """Return a head for each network, and one for the mean of their logits."""
        return ("student", "teacher", "ensemble")

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the student's group, and the teacher's, which stands still where it waits."""
        config = self.config
        return [
            ParameterGroup(list(self.student.parameters()), lr=config.student_lr),
            ParameterGroup(list(self.teacher.parameters()), lr=config.teacher_lr, gate=self.learning),
        ]

    @torch.no_grad()
    def decide(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Decision:
        """Return s, t, G, epsilon, delta and the mode, from logits [B, C] and labels [B], over the whole batch.

        s = ||p_s - Y||, t = ||p_t - Y||, G = ||p_s - p_t||: L1 norms over the classes, means over the images.
        """
        config = self.config
        own, other = ((logits / config.temperature).softmax(dim=-1) for logits in (student, teacher))
        truth = (labels[:, None] == torch.arange(own.shape[-1], device=own.device)).to(own.dtype)
        rows = torch.stack([(own - truth), (other - truth), (own - other)]).abs().sum(dim=-1)
        s, t, gap = self.gather(rows.T.contiguous()).mean(dim=0)
        epsilon = torch.exp(-t / (s + t if config.epsilon_form == "sum" else s))
        if config.threshold in ("lower", "upper"):
            epsilon = torch.full_like(s, float(config.threshold == "lower"))
        delta = torch.full_like(s, config.threshold) if isinstance(config.threshold, float) else s - epsilon * t
        expert = (gap > delta) & (t < s) if config.guard else gap > delta
        return Decision(s, t, gap, epsilon, delta, expert.to(s.dtype) if config.switching else torch.zeros_like(s))

    def terms(self, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return CE and KL of both networks from logits [B, C]; every target is a constant."""
        config = self.config
        return {
            "ce_student": cross_entropy(student, labels),
            "kl_student": config.student_weight * distillation(student, teacher.detach(), config.temperature),
            "ce_teacher": cross_entropy(teacher, labels),
            "kl_teacher": config.teacher_weight * distillation(teacher, student.detach(), config.temperature),
        }

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """CE + KL of the student, and of the teacher where it learns; and what decided that."""
        student, teacher = self.student(batch.views[0]), self.teacher(batch.views[0])
        decision = self.decide(student, teacher, batch.labels)
        self.learning.copy_(1.0 - decision.expert)
        terms = self.terms(student, teacher, batch.labels)
        gated = {name: self.learning * terms[name] if "teacher" in name else terms[name] for name in LOSSES}
        told = {"expert": decision.expert, "gap": decision.gap, "delta": decision.delta}
        return {**gated, **told, "s": decision.student, "t": decision.teacher}

    def training_step(self, batch: Batch, progress: Progress, update: Update) -> dict[str, Tensor]:
        """Minimise the losses; the other terms are only logged."""
        terms: dict[str, Tensor] = self(batch, progress)
        update(sum_terms({name: terms[name] for name in LOSSES}))
        return terms

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of student, teacher, and their mean."""
        student, teacher = self.student(images), self.teacher(images)
        return self.named((student, teacher, (student + teacher) / 2))
