"""What a method is: networks built from keyed weights, a dictionary of named losses, and heads to predict with."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from okdbench.config import StrictModel
from okdbench.networks import Architecture, Parts
from okdbench.seeds import seeded


class MethodConfig(StrictModel):
    """A method's hyper-parameters with the paper's defaults.

    ``presets`` are named sets of changes to the defaults, for places where paper and released code disagree; the
    defaults are the preset ``paper``.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {}}

    @classmethod
    def from_preset(cls, preset: str, changes: dict[str, Any]) -> Self:
        """The preset with some settings changed; KeyError for an unknown preset, pydantic's error for a bad setting."""
        return cls(**{**cls.presets[preset], **changes})


class Batch(NamedTuple):
    """``views``: V tensors [B, 3, H, W], differently augmented copies of the same images; ``labels`` [B], long."""

    views: tuple[Tensor, ...]
    labels: Tensor


@dataclass(frozen=True)
class Progress:
    """Where training stands, as 0-d tensors on the training device, so that a step can be captured once and replayed.

    ``epoch`` and ``step`` count from 0, ``step`` over the whole run; ``weights`` hold what `Method.schedule` gave
    for this epoch; ``rate`` is the learning rate in force.
    """

    epoch: Tensor
    step: Tensor
    weights: dict[str, Tensor] = field(default_factory=dict)
    rate: Tensor = field(default_factory=lambda: torch.zeros(()))


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are optimised alike; None stands for the run's own value.

    ``sgd`` is the run's optimiser, ``adam`` torch's with its default betas. The rate follows the run's schedule from
    ``lr`` on, or stays where not ``scheduled``. All groups step after one backward pass over the sum of the losses,
    which is what separate optimisers do wherever the terms of one reach no parameter of another.
    """

    parameters: list[nn.Parameter]
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float | None = None
    weight_decay: float | None = None
    scheduled: bool = True


class Build:
    """Makes a method's networks, each with its own keyed initial weights.

    ``build(0)`` has the same weights whichever method asks, so methods are compared from the same start. Where a
    run names several networks (a heterogeneous pair), network i is of the i-th architecture. ``teacher`` is the
    trained method of the run that this run depends on, where its method asks for one.
    """

    def __init__(
        self, architectures: Sequence[Architecture], classes: int, seed: int, teacher: "Method | None" = None
    ) -> None:
        self.architectures = tuple(architectures)
        self.classes = classes
        self.teacher = teacher
        self._seed = seed

    def __call__(self, index: int = 0) -> Parts:
        """The parts of network number ``index``."""
        with seeded(self._seed, "init", index):
            return self.architectures[index % len(self.architectures)].build(self.classes)

    def alone(self, what: str) -> Architecture:
        """The run's one architecture; ValueError where it has several, which ``what`` cannot be made of."""
        if len(self.architectures) > 1:
            pair = "+".join(architecture.name for architecture in self.architectures)
            raise ValueError(f"{what} is made of one network and cannot be trained as the pair {pair}")
        return self.architectures[0]

    def extra(self, index: int = 0) -> AbstractContextManager[None]:
        """Within this context, modules that a method adds (gates, projections) start from keyed weights too."""
        return seeded(self._seed, "method", index)


Update = Callable[[Tensor], None]


class Method(nn.Module):
    """Everything that one paper adds. Subclass it in a file of its own; the class is found by its ``name``.

    A subclass builds its networks in ``__init__`` and says what to minimise in `losses` and how to answer in
    `predict`; the rest has harmless defaults, overridden only where a paper needs it.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    year: ClassVar[int | None] = None
    deployed: str = "student"
    """The head that one would ship: progress shows it, and protocols that name no head use it."""
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    taught: ClassVar[bool] = False
    """Whether a run of this method needs the trained network of another run (`Build.teacher`)."""
    mixed: ClassVar[bool] = False
    """Whether its networks may be of different architectures (a run's network ``A+B``), with some settings at least."""
    views: int = 1
    """Augmented views of each batch that the method wants."""
    capturable: bool = True
    """Whether all steps launch the same work on the same tensors, so that one may be recorded and replayed; not so
    where `training_step` or `after_step` count steps in Python or branch on values that they read back."""
    images_per_class: int = 0
    """Class-aware batches: so many different images of each class stand next to each other; 0 is a plain shuffle."""
    interval: int = 0
    """`episode` follows the first step of each epoch and every so manieth after it; 0 is never."""

    def __init__(self, build: Build, config: Any) -> None:
        super().__init__()
        self.config = config
        if not self.mixed:
            build.alone(self.title or type(self).__name__)

    def heads(self) -> tuple[str, ...]:
        """Names of the predictions, in the order of `predict`."""
        return ("student",)

    def schedule(self, epoch: int, epochs: int) -> dict[str, float]:
        """Loss weights for epoch ``epoch`` of ``epochs`` (from 0); `losses` finds them in ``progress.weights``."""
        return {}

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Named, weighted terms, each a 0-d tensor; their sum is minimised and each is logged.

        A pure function of tensors: no ``.item()``, and no branching on tensor values.
        """
        raise TypeError(f"{type(self).__name__} says no losses")

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Head -> logits [B, classes] for images [B, 3, H, W]; called in eval mode without gradients."""
        raise TypeError(f"{type(self).__name__} says no predict")

    def parameter_groups(self) -> list[ParameterGroup]:
        """What is trained by the losses, and how."""
        return [ParameterGroup([p for p in self.parameters() if p.requires_grad])]

    def prepare(self, batches: Iterator[Batch]) -> None:
        """Called once, before the first step of a run, with an endless stream of batches of its own."""

    def training_step(self, batch: Batch, progress: Progress, update: Update) -> dict[str, Tensor]:
        """One step: compute the losses and call ``update(loss)``, which back-propagates and steps the optimiser."""
        terms = self.losses(batch, progress)
        update(sum_terms(terms))
        return terms

    def after_step(self, progress: Progress) -> None:
        """Called after every optimiser step, without gradients (moving averages of the weights live here)."""

    def episode(self, batch: Batch, progress: Progress) -> None:
        """Called after `after_step` on the step's batch, every `interval` steps: for what learns by a rule of its own.

        It leaves the networks' parameters as they are; what it trains stands in the method's state.
        """


def sum_terms(terms: dict[str, Tensor]) -> Tensor:
    """The loss: the plain sum of the terms."""
    first, *rest = terms.values()
    for term in rest:
        first = first + term
    return first
