"""The contract of a method: networks built from keyed weights, a dictionary of named losses, and heads."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Self, get_args, get_origin

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from okdbench.config import Schedule, StrictModel
from okdbench.networks import Architecture, AuxiliaryExit, Parts
from okdbench.seeds import seeded


class CodeDifference(NamedTuple):
    """One thing that a method's released code does otherwise than its paper says, for the audit of printed numbers.

    ``what`` it is about; what the ``paper`` says ("" where it says nothing) and what the ``code`` does; ``source`` is
    the repository with the commit that was read; ``touches`` are the printed numbers that it is about.
    """

    what: str
    paper: str
    code: str
    source: str
    touches: str


class MethodConfig(StrictModel):
    """A method's hyper-parameters with the paper's defaults.

    ``presets`` are named changes to the defaults, for papers whose text and released code disagree; the preset
    ``paper`` is the defaults. ``differences`` says in words where they disagree.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {}}
    differences: ClassVar[tuple[CodeDifference, ...]] = ()

    @classmethod
    def from_preset(cls, preset: str, changes: dict[str, Any]) -> Self:
        """Return the preset with changes; raise KeyError for an unknown preset, ValidationError for a bad setting."""
        return cls(**{**cls.presets[preset], **changes})


class Batch(NamedTuple):
    """``views``: V tensors [B, 3, H, W], differently augmented copies of the same images; ``labels`` [B], long.

    ``indices`` [B], long: the number of each image among the run's training images, as `Method.remember` counts them.
    """

    views: tuple[Tensor, ...]
    labels: Tensor
    indices: Tensor | None = None


@dataclass(frozen=True)
class Progress:
    """Where training stands, as 0-d tensors on the training device, so that a step can be captured once and replayed.

    ``epoch``, ``step`` and ``number`` count from 0, ``step`` over the whole run and ``number`` within the epoch;
    ``weights`` are those that `Method.schedule` gives for this epoch; ``rate`` is the current learning rate.
    """

    epoch: Tensor
    step: Tensor
    weights: dict[str, Tensor] = field(default_factory=dict)
    rate: Tensor = field(default_factory=lambda: torch.zeros(()))
    number: Tensor = field(default_factory=lambda: torch.zeros(()))


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are optimised alike; None means the run's own value.

    ``sgd`` is the run's optimiser, ``adam`` torch's with its default betas. The rate starts at ``lr`` and follows the
    run's schedule, or its own ``schedule``, or stays constant if not ``scheduled``. All groups step after one backward
    pass over the sum of the losses. Separate optimisers do the same if no term reaches the parameters of two groups.
    ``gate``, a 0-d tensor on the training device, is 1 in steps that update the group; where it is 0, parameters and
    the optimiser's state stand still.
    """

    parameters: list[nn.Parameter]
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float | None = None
    weight_decay: float | None = None
    scheduled: bool = True
    schedule: Schedule | None = None
    gate: Tensor | None = None


class Build:
    """Builds a method's networks, each with its own keyed initial weights.

    ``build(0)`` has the same weights in every method, so methods are compared from the same start. If a run names
    several networks (``A+B``), network i is of the i-th architecture, cyclically. ``teacher`` is the trained method of
    the run that this run depends on, for methods that need one.
    """

    def __init__(
        self, architectures: Sequence[Architecture], classes: int, seed: int, teacher: "Method | None" = None
    ) -> None:
        self.architectures = tuple(architectures)
        self.classes = classes
        self.teacher = teacher
        self._seed = seed

    def __call__(self, index: int = 0) -> Parts:
        """Return the parts of network number ``index``."""
        with seeded(self._seed, "init", index):
            return self.architectures[index % len(self.architectures)].build(self.classes)

    def several(self, count: int, first: int = 0) -> list[Parts]:
        """Return the parts of ``count`` networks, from number ``first`` on."""
        return [self(first + index) for index in range(count)]

    def light_exits(self, index: int = 0) -> list[AuxiliaryExit]:
        """Return the light auxiliary exits of network number ``index``'s architecture, which must have some."""
        architecture = self.architectures[index % len(self.architectures)]
        if not architecture.light_exits:
            raise ValueError(no_light_exits(architecture))
        with seeded(self._seed, "init", index):
            return architecture.light_exits(self.classes)

    def keyed_init(self, index: int = 0) -> AbstractContextManager[None]:
        """Return a context in which modules that a method adds (gates, projections) get keyed initial weights too."""
        return seeded(self._seed, "method", index)


def no_light_exits(architecture: Architecture) -> str:
    """Return the sentence that an architecture has no light exits."""
    return f"{architecture.name} has no light exits; networks for images of 224 pixels have"


def needs_one_network(what: str, architectures: Sequence[Architecture]) -> str:
    """Return the sentence that ``what`` cannot be made of several architectures, such as these."""
    names = "+".join(architecture.name for architecture in architectures)
    several = "the pair" if len(architectures) == 2 else "the networks"
    return f"{what} is made of one network and cannot be trained as {several} {names}"


Update = Callable[[Tensor], None]
Gather = Callable[[Tensor], Tensor]
ConfigT = TypeVar("ConfigT", bound=MethodConfig, default=Any)


class Method(nn.Module, ABC, Generic[ConfigT]):
    """Everything that one paper adds: a subclass of ``Method[ItsConfig]`` in a file of its own, found by its ``name``.

    It builds its networks in ``__init__`` and must implement `losses` and `predict`. The rest has harmless defaults,
    which are overridden only where a paper needs it.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    year: ClassVar[int | None] = None
    deployed: str = "student"
    """The head to deploy after training: progress shows it, and protocols that name no head use it."""
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    """The type of the settings, taken from ``Method[...]``; a subclass of another method sets it itself."""
    needs_teacher: ClassVar[bool] = False
    """Whether a run of this method needs the trained network of another run (`Build.teacher`)."""
    supports_pairs: ClassVar[bool] = False
    """Whether its networks may be of different architectures (a run's network ``A+B``) with all settings; a method for
    which this depends on settings or architectures overrides `pair_obstacle`."""
    compilable: ClassVar[bool] = True
    """Whether `losses` may be compiled; False for a method whose `training_step` computes its losses otherwise."""
    capturable: bool = True
    """Whether all steps launch the same work on the same tensors, so that one can be recorded and replayed. This is
    False if `training_step` or `after_step` counts steps in Python or branches on values that it reads back."""
    views: int = 1
    """The number of augmented views of each batch."""
    images_per_class: int = 0
    """The number of different images of a class that stand next to each other in a batch; 0 is a plain shuffle."""
    meta_every: int = 0
    """`meta_step` runs after the first step of an epoch and then every ``meta_every`` steps; 0 disables it."""
    gather: Gather = staticmethod(lambda rows: rows)
    """Returns the rows [B, ...] of all processes that train the run, in their order; all must call it alike."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in vars(cls).get("__orig_bases__", ()):
            origin, parameters = get_origin(base), get_args(base)
            named = isinstance(origin, type) and issubclass(origin, Method) and isinstance(parameters[0], type)
            if named and "Config" not in vars(cls):
                cls.Config = parameters[0]

    def __init__(self, build: Build, config: ConfigT) -> None:
        super().__init__()
        self.config = config
        if obstacle := self.obstacle(config, build.architectures):
            raise ValueError(obstacle)

    @classmethod
    def obstacle(cls, config: ConfigT, architectures: Sequence[Architecture]) -> str | None:
        """Return the reason why the method cannot be made of these architectures, one or several; None if it can.

        It is asked when a table is planned, before anything is built, and by the constructor.
        """
        count, most = len(architectures), cls.most_networks(config)
        if count == 1:
            return None
        if not (obstacle := cls.pair_obstacle(config, architectures)) and count > most:
            obstacle = f"{cls.title or cls.__name__} trains {most} networks, not {count}"
        return obstacle

    @classmethod
    def most_networks(cls, config: ConfigT) -> int:
        """Return how many networks it can be made of: ``peers`` of them, where it has this setting, else two."""
        return getattr(config, "peers", 2)

    @classmethod
    def pair_obstacle(cls, config: ConfigT, architectures: Sequence[Architecture]) -> str | None:
        """Return the reason why the method cannot be made of these two or more architectures; None if it can."""
        return None if cls.supports_pairs else needs_one_network(cls.title or cls.__name__, architectures)

    def heads(self) -> tuple[str, ...]:
        """Return the names of the predictions, in the order of `predict`."""
        return ("student",)

    def schedule(self, epoch: int, epochs: int) -> dict[str, float]:
        """Return the loss weights of epoch ``epoch`` (from 0) of ``epochs``, passed on as ``progress.weights``."""
        return {}

    @abstractmethod
    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Named, weighted terms, each a 0-d tensor; their sum is minimised and each one is logged.

        A pure function of tensors: no ``.item()``, and no branching on tensor values.
        """

    @abstractmethod
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Head -> logits [B, classes] for images [B, 3, H, W]; called in eval mode without gradients."""

    def named(self, logits: Iterable[Tensor]) -> dict[str, Tensor]:
        """Return the logits of all heads by the names of `heads`, as `predict` returns them."""
        return dict(zip(self.heads(), logits, strict=True))

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the parameters that the losses train, and how they are optimised."""
        return [ParameterGroup([p for p in self.parameters() if p.requires_grad])]

    def prepare(self, batches: Iterator[Batch]) -> None:
        """Called once, before the first step of a run, with an endless stream of batches of its own."""

    def remember(self, labels: Tensor) -> None:
        """Called once, before a run starts or continues, with the labels [N] of all training images, on the CPU: for
        methods that keep something for each image (`memory`), on the device of their parameters."""

    def memory(self) -> dict[str, Tensor]:
        """Return what training changes besides parameters and buffers: part of a checkpoint, not of the weights."""
        return {}

    def apart(self) -> list[nn.Parameter]:
        """Return trained parameters that each of several processes keeps for itself, as some released code does."""
        return []

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Return the losses; what `torch.nn.Module.compile` compiles."""
        return self.losses(batch, progress)

    def training_step(self, batch: Batch, progress: Progress, update: Update) -> dict[str, Tensor]:
        """Do one step: compute the losses and call ``update(loss)``, which back-propagates and steps the optimiser."""
        terms: dict[str, Tensor] = self(batch, progress)
        update(sum_terms(terms))
        return terms

    def after_step(self, progress: Progress) -> None:
        """Called after every optimiser step, without gradients (moving averages of the weights belong here)."""

    def meta_step(self, batch: Batch, progress: Progress) -> None:
        """Called after `after_step` on the same batch, every `meta_every` steps: for parameters that learn by their own
        rule. It must leave the parameters of `parameter_groups` as they are; what it trains is part of the method's
        state.
        """


def blank_step(method: Method, image_size: int) -> tuple[Batch, Progress]:
    """Return an empty batch and the start of a run, on the meta device, for counting what a step of the method does.

    The batch has two images or more, because batch statistics need them.
    """
    images, scalar = max(2, method.images_per_class), torch.zeros((), device="meta")
    views = tuple(torch.zeros(images, 3, image_size, image_size, device="meta") for _ in range(method.views))
    labels = torch.zeros(images, dtype=torch.long)
    method.remember(labels)
    batch = Batch(views, *(labels.to("meta") for _ in ("labels", "indices")))
    return batch, Progress(scalar, scalar, dict.fromkeys(method.schedule(0, 1), scalar), scalar, scalar)


def sum_terms(terms: dict[str, Tensor]) -> Tensor:
    """Return the loss: the plain sum of the terms."""
    first, *rest = terms.values()
    for term in rest:
        first = first + term
    return first
