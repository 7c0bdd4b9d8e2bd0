"""SwitOKD: switchable online knowledge distillation (Qian et al., ECCV 2022, arXiv 2209.04996)."""

from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import cross_entropy

from okdbench.methods.base import (
    Batch,
    Build,
    CodeDifference,
    Method,
    MethodConfig,
    ParameterGroup,
    Progress,
    Update,
    sum_terms,
)
from okdbench.methods.parts.losses import distillation
from okdbench.networks import Single

_CODE = "SwitOKD a3f9623"
_NUMBERS = "SwitOKD Tables 4 and 7"


class SwitOKDConfig(MethodConfig):
    """Hyper-parameters of SwitOKD; the defaults are the public code's, and the paper's as far as it is readable.

    ``figure`` is the rule of the paper's overview figure: another epsilon, and a teacher that may also wait when it is
    behind. ``released-1t2s`` and ``released-2t1s`` are the scripts with three networks, slips included.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {},
        "figure": {"epsilon_form": "student", "guard": False},
        "released-1t2s": {"students": 2, "one_epsilon": True, "waiting": "drifts"},
        "released-2t1s": {"teachers": 2, "one_epsilon": True},
    }
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "when the teacher waits",
            "where G > delta",
            "where G > delta and the teacher is ahead, t < s: without it 18 of 48 decisions of a sweep differ",
            _CODE,
            _NUMBERS,
        ),
        CodeDifference(
            "epsilon",
            "exp(-t / s) in the overview figure, exp(-t / (s + t)) in a formula",
            "exp(-t / (s + t))",
            _CODE,
            _NUMBERS,
        ),
        CodeDifference(
            "temperature",
            "tau in the formulas",
            "1 throughout, without a factor",
            _CODE,
            _NUMBERS,
        ),
        CodeDifference(
            "epsilon of three networks",
            "",
            "that of one pair of teacher and student stands in the threshold of both, by a slip in copying",
            _CODE,
            "SwitOKD Table 7",
        ),
        CodeDifference(
            "waiting of a teacher of two students",
            "is not updated",
            "its loss is zero and its optimiser is stepped, so that momentum and weight decay still move it",
            _CODE,
            "SwitOKD Table 7, 1T2S",
        ),
    )
    students: int = Field(default=1, ge=1, le=2, description="smaller networks; the first one is deployed")
    teachers: int = Field(default=1, ge=1, le=2, description="larger networks, named after the students")
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
    student_lr: float | None = Field(default=None, gt=0, description="initial rate of the first student; the run's")
    teacher_lr: float | None = Field(default=None, gt=0, description="initial rate of the teachers; the run's")
    student_optimizer: Literal["sgd", "adam"] = Field(default="sgd", description="that of the first student")
    student_weight_decay: float | None = Field(default=None, ge=0, description="of the first student; the run's")
    one_epsilon: bool = Field(
        default=False, description="the first pair of teacher and student gives epsilon to all, as in the authors' code"
    )
    waiting: Literal["still", "drifts"] = Field(
        default="still",
        description="a teacher that waits has no update, or one without a loss, by momentum and weight decay (the code"
        " with two students)",
    )

    @model_validator(mode="after")
    def _three_networks(self) -> Self:
        if self.students + self.teachers > 3:
            raise ValueError("students and teachers are three networks at most; set one of them to 1")
        return self


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

    Three networks, ``A+B+C``, are one student and two teachers, which wait each by itself, or two students and a
    teacher, which learns from the students that do not make it wait, and waits where both do.
    """

    name = "switokd"
    title = "SwitOKD"
    paper = "Switchable Online Knowledge Distillation, Qian et al., ECCV 2022"
    year = 2022
    supports_pairs = True
    student: Single
    teacher: Single
    learning: Tensor

    def __init__(self, build: Build, config: SwitOKDConfig) -> None:
        super().__init__(build, config)
        self.students = ("student", "student2")[: config.students]
        self.teachers = ("teacher", "teacher2")[: config.teachers]
        for index, name in enumerate((*self.students, *self.teachers)):
            self.add_module(name, Single(build(index)))
        # 1 where a teacher learns from this batch, 0 where it waits.
        self.register_buffer("learning", torch.ones(config.teachers), persistent=False)

    @classmethod
    def most_networks(cls, config: SwitOKDConfig) -> int:
        """Return the number of students and teachers."""
        return config.students + config.teachers

    def heads(self) -> tuple[str, ...]:
        """Return a head for each network, and one for the mean of their logits."""
        return (*self.students, *self.teachers, "ensemble")

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return a group for each network; a teacher's stands still where it waits."""
        config = self.config
        own, decay = list(self.student.parameters()), config.student_weight_decay
        groups = [ParameterGroup(own, config.student_optimizer, config.student_lr, decay)]
        for name in self.students[1:]:
            groups.append(ParameterGroup(list(self.get_submodule(name).parameters())))
        for number, name in enumerate(self.teachers):
            gate = self.learning[number] if config.waiting == "still" else None
            groups.append(ParameterGroup(list(self.get_submodule(name).parameters()), lr=config.teacher_lr, gate=gate))
        return groups

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits [B, C] of every network by its name."""
        return {name: self.get_submodule(name)(images) for name in (*self.students, *self.teachers)}

    @torch.no_grad()
    def decisions(self, logits: dict[str, Tensor], labels: Tensor) -> dict[tuple[str, str], Decision]:
        """Return the decision of every teacher about every student, by their names."""
        found: dict[tuple[str, str], Decision] = {}
        epsilon: Tensor | None = None
        for teacher in self.teachers:
            for student in self.students:
                found[teacher, student] = self.decide(logits[student], logits[teacher], labels, epsilon)
                if self.config.one_epsilon:
                    epsilon = found[teacher, student].epsilon
        return found

    @torch.no_grad()
    def decide(self, student: Tensor, teacher: Tensor, labels: Tensor, epsilon: Tensor | None = None) -> Decision:
        """Return s, t, G, epsilon, delta and the mode, from logits [B, C] and labels [B], over the whole batch.

        s = ||p_s - Y||, t = ||p_t - Y||, G = ||p_s - p_t||: L1 norms over the classes, means over the images.
        ``epsilon`` is another pair's, if given.
        """
        config = self.config
        own, other = ((logits / config.temperature).softmax(dim=-1) for logits in (student, teacher))
        truth = (labels[:, None] == torch.arange(own.shape[-1], device=own.device)).to(own.dtype)
        rows = torch.stack([(own - truth), (other - truth), (own - other)]).abs().sum(dim=-1)
        s, t, gap = self.gather(rows.T.contiguous()).mean(dim=0)
        if epsilon is None:
            epsilon = torch.exp(-t / (s + t if config.epsilon_form == "sum" else s))
        if config.threshold in ("lower", "upper"):
            epsilon = torch.full_like(s, float(config.threshold == "lower"))
        delta = torch.full_like(s, config.threshold) if isinstance(config.threshold, float) else s - epsilon * t
        expert = (gap > delta) & (t < s) if config.guard else gap > delta
        return Decision(s, t, gap, epsilon, delta, expert.to(s.dtype) if config.switching else torch.zeros_like(s))

    def learns(self, teacher: str, decisions: dict[tuple[str, str], Decision]) -> dict[str, Tensor]:
        """Return, 0-d, 1 where a teacher learns from another network or, by its own name, from the labels, else 0.

        It learns from a student that does not make it wait, and from all else where it learns from a student.
        """
        from_students = {student: 1.0 - decisions[teacher, student].expert for student in self.students}
        learning = torch.stack(list(from_students.values())).amax(dim=0)
        return from_students | dict.fromkeys(self.teachers, learning)

    def terms(
        self, logits: dict[str, Tensor], labels: Tensor, decisions: dict[tuple[str, str], Decision]
    ) -> dict[str, Tensor]:
        """Return CE and KL of every network from logits [B, C] by its name; every target is a constant."""
        config = self.config
        terms = dict[str, Tensor]()
        for name, own in logits.items():
            ce, weight = cross_entropy(own, labels), config.student_weight
            kl = {o: distillation(own, logits[o].detach(), config.temperature) for o in logits if o != name}
            if name in self.teachers:
                learns, weight = self.learns(name, decisions), config.teacher_weight
                ce, kl = learns[name] * ce, {other: learns[other] * term for other, term in kl.items()}
            terms |= {f"ce_{name}": ce, f"kl_{name}": weight * sum_terms(kl)}
        return terms

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """CE + KL of the students, and of the teachers where they learn; and what decided that, pair by pair."""
        logits = self.logits(batch.views[0])
        decisions = self.decisions(logits, batch.labels)
        self.learning.copy_(torch.stack([self.learns(name, decisions)[name] for name in self.teachers]))
        terms = self.terms(logits, batch.labels, decisions)
        for pair, each in decisions.items():
            suffix = "".join(f"_{name}" for name in pair if name.endswith("2"))
            told = {"expert": each.expert, "gap": each.gap, "delta": each.delta, "s": each.student, "t": each.teacher}
            terms |= {f"{name}{suffix}": value for name, value in told.items()}
        return terms

    def training_step(self, batch: Batch, progress: Progress, update: Update) -> dict[str, Tensor]:
        """Minimise CE and KL; the other terms are only logged."""
        terms: dict[str, Tensor] = self(batch, progress)
        update(sum_terms({name: term for name, term in terms.items() if name.startswith(("ce_", "kl_"))}))
        return terms

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of every network, and their mean."""
        logits = list(self.logits(images).values())
        return self.named((*logits, sum(logits[1:], logits[0]) / len(logits)))
