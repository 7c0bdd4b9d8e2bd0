"""The resolved configuration of a run: recipes produce it, workers execute it, and its hash identifies the run. This
module imports none of the folders, because both sides use it: recipes, and the code that executes their runs (the
trainer, the simulation).
"""

import hashlib
import json
from abc import abstractmethod
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

LARGEST_NUMBER = 2**63 - 1
"""What whole numbers of a configuration are at most; what takes time or memory has narrower limits."""
Count = Annotated[int, Field(le=1_000_000)]
"""A number of epochs or steps, or of the images in a batch."""
Few = Annotated[int, Field(le=64)]
"""A number of networks, branches or views that are trained together."""


class StrictModel(BaseModel):
    """Base of everything that a recipe can contain: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let every field of numbers refuse true, false, and whole numbers that no machine word holds."""
        schema = handler(source)
        inner: Any = schema
        while inner["type"] != "model-fields" and "schema" in inner:
            inner = inner["schema"]
        for name, field in inner.get("fields", {}).items():
            annotation: Any = cls.model_fields[name].annotation
            types = _types(annotation)
            if types & {int, float} and not types & {bool, object}:
                field = field["schema"] if field["schema"]["type"] == "default" else field
                field["schema"] = core_schema.no_info_before_validator_function(_numbers, field["schema"])
        return schema


def _numbers(value: Any) -> Any:
    for each in value if isinstance(value, list | tuple) else [value]:
        if isinstance(each, bool):
            raise PydanticCustomError("bool_for_number", "must be a number")
        if isinstance(each, int) and abs(each) > LARGEST_NUMBER:
            raise PydanticCustomError("less_than_equal", "is too large", {"le": LARGEST_NUMBER})
    return value


@cache
def _types(annotation: Any) -> frozenset[type]:
    """Return the plain types that an annotation is made of; ``object`` for Any."""
    if annotation is Any:
        return frozenset({object})
    inner = get_args(annotation)
    if get_origin(annotation) is Annotated:
        inner = inner[:1]
    if get_origin(annotation) is Literal:
        return frozenset(map(type, inner))
    return frozenset().union(*map(_types, inner)) if inner else frozenset({annotation})


class OptimizerSettings(StrictModel):
    """SGD as the papers use it; weight decay acts on all parameters, BN and biases included."""

    lr: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=5e-4, ge=0)

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "OptimizerSettings":
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0; set nesterov: false")
        return self


class MultistepSchedule(StrictModel):
    """lr x gamma at each milestone, counted in epochs from 0: the new rate is in force during that epoch."""

    name: Literal["multistep"]
    milestones: tuple[Annotated[int, Field(ge=0)], ...]
    gamma: float = Field(default=0.1, gt=0)
    warmup: Count = Field(default=0, ge=0, description="epochs over which the rate rises in equal steps to lr")
    warmup_every: Literal["epoch", "step"] = Field(
        default="epoch", description="the rate rises at the start of every epoch, or at every step"
    )
    warmup_done: Count = Field(default=0, ge=0, description="how many of these epochs are left out at the start")
    reset_momentum: bool = Field(default=False, description="the optimiser's state is reset at every milestone")

    @model_validator(mode="after")
    def _milestones_rise(self) -> "MultistepSchedule":
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must rise")
        if self.warmup_done and self.warmup_done >= self.warmup:
            raise ValueError("warmup_done must be below warmup")
        return self


class CosineSchedule(StrictModel):
    """lr x 0.5 (1 + cos(pi e / epochs)), constant within epoch e = 0, 1, ..."""

    name: Literal["cosine"]


Schedule = Annotated[MultistepSchedule | CosineSchedule, Field(discriminator="name")]


class AverageSettings(StrictModel):
    """A moving average of all weights and BN statistics, evaluated beside the run without any effect on it."""

    decay: float = Field(default=0.999, ge=0, lt=1, description="beta")
    warmup: bool = Field(default=True, description="coefficient min(1 - 1/(g+1), beta): the first step copies")


class TrainingSettings(StrictModel):
    """How a run is optimised; the last, smaller batch of an epoch is kept."""

    epochs: Count = Field(gt=0)
    batch_size: Count = Field(default=128, gt=0)
    optimizer: OptimizerSettings
    schedule: Schedule
    ema: AverageSettings | None = Field(default=None, description="also evaluate a moving average: heads NAME@ema")


PolicyName = Literal["standard", "none", "rotation", "cutout", "randaugment", "autoaugment"]
"""An augmentation policy (`okdbench.data.policies`)."""


class DataSettings(StrictModel):
    """Which images a run sees and how they are normalised and augmented."""

    normalisation: str = Field(default="dkel", description="preset of mean, std and padding")
    policies: tuple[PolicyName, ...] = Field(
        default=(),
        description="what else happens to the views: one policy for all, or one for each; none: crop and flip",
    )
    subset: int | None = Field(default=None, gt=0, description="train on this many images, equally many of each class")
    validation: int = Field(
        default=0,
        ge=0,
        description="images taken out of training, equally many of each class, to choose epoch and head on",
    )
    test_subset: int | None = Field(
        default=None, gt=0, description="test on this many images, equally many of each class"
    )


class Configuration(StrictModel):
    """The configuration of one run, of any kind. Two runs with the same configuration are the same run."""

    verb: ClassVar[str]
    """The verb for executing it, such as "train"."""
    needed_as: ClassVar[str] = "teacher"
    """What the run is to it that it needs."""
    kind: str

    @cached_property
    def id(self) -> str:
        """Hash of everything that changes the result and nothing else.

        Settings at their defaults do not enter, so that a new setting leaves the identity of old runs alone; a default,
        once released, is therefore never changed.
        """
        content = self.model_dump(mode="json", exclude_defaults=True, by_alias=True)
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __copy__(self) -> Self:
        """Return a copy, which may be changed and so has no id yet."""
        copied = super().__copy__()
        copied.__dict__.pop("id", None)
        return copied

    @property
    @abstractmethod
    def folder(self) -> str:
        """Name of the run's folder: readable, unique and the same for ever."""

    @property
    @abstractmethod
    def epochs(self) -> int:
        """How long the run is, in epochs."""

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets whose images the run reads."""
        return ()

    @property
    def after(self) -> tuple[str, ...]:
        """Folders, beside its own, of the runs that must end before this one can start."""
        return ()


class LearningConfig(Configuration):
    """A run that learns from a data set with one seed and tests what it has learned: a training, or a probe of one."""

    if TYPE_CHECKING:  # fields of some kinds, properties of others

        @property
        def dataset(self) -> str:
            """The data set that it learns from and is tested on."""

        @property
        def network(self) -> str:
            """The network, ``A+B`` for several."""

        @property
        def method(self) -> str:
            """The method that trains, or has trained, the network."""

        @property
        def settings(self) -> dict[str, Any]:
            """The method's own settings, those that differ from its defaults."""

        @property
        def training(self) -> TrainingSettings:
            """How it is optimised."""

        @property
        def data(self) -> DataSettings:
            """Which images it sees."""

        @property
        def seed(self) -> int:
            """The seed of all its random numbers."""

        @property
        def source(self) -> "RunConfig":
            """The training that makes its network."""

    @property
    @abstractmethod
    def needs(self) -> tuple["RunConfig", ...]:
        """The trainings that must end before it, each after those that it needs itself."""

    @property
    @abstractmethod
    def sections(self) -> dict[str, StrictModel]:
        """What it has of the sections of a recipe, by name."""

    @property
    def epochs(self) -> int:
        """Epochs of the training."""
        return self.training.epochs

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data set that it trains and tests on."""
        return (self.dataset,)


class RunConfig(LearningConfig):
    """One training with one seed."""

    verb = "train"
    kind: Literal["training"] = "training"
    dataset: str
    network: str
    method: str
    settings: dict[str, Any] = Field(description="the method's own settings, those that differ from its defaults")
    training: TrainingSettings
    data: DataSettings = DataSettings()
    seed: int = Field(ge=0)
    teacher: "RunConfig | None" = Field(default=None, description="the run whose trained network teaches this one")
    plugins: dict[str, str] | None = Field(
        default=None, description="versions of the plugins that method and networks come from, by what they offer"
    )

    @property
    def folder(self) -> str:
        """``DATASET.NETWORK.METHOD.sSEED.ID``; one folder even for a network ``timm/NAME``."""
        return f"{self.dataset}.{self.network.replace('/', '-')}.{self.method}.s{self.seed}.{self.id}"

    @property
    def source(self) -> "RunConfig":
        """The training itself."""
        return self

    @property
    def needs(self) -> tuple["RunConfig", ...]:
        """The teacher's run."""
        return (*self.teacher.needs, self.teacher) if self.teacher else ()

    @property
    def sections(self) -> dict[str, StrictModel]:
        """Its training and its images."""
        return {"training": self.training, "data": self.data}

    @property
    def after(self) -> tuple[str, ...]:
        """The folder of the teacher's run."""
        return (self.teacher.folder,) if self.teacher else ()


Direction = Literal["raw", "unit"]


class SimulationSettings(StrictModel):
    """One reading of the DKEL paper's Monte Carlo simulation; the defaults are the recommended one."""

    direction: Direction = Field(
        default="raw", description="a step follows the difference to its target, or the difference at length 1"
    )
    peer_mean: Literal["mean", "sum"] = Field(
        default="mean", description="how the directions to the teachers of the other peers are put together"
    )
    ensemble: Literal["additive", "convex"] = Field(
        default="additive", description="DKEL's decaying term: added, or r DE + (1 - r) PM as in the authors' code"
    )
    pcl_teacher: Literal["copy", "independent"] = Field(
        default="copy", description="PCL's teachers start at their students, or at random points of their own"
    )
    dk_teacher: Literal["copy", "independent"] = Field(
        default="copy", description="likewise DK's and DKEL's, before their first steps"
    )
    gap: Literal["teacher", "student"] = Field(default="teacher", description="whose distance is reported")
    truth_offset: float = Field(
        default=0.0, ge=0, description="distance of the ground truth, to which gaps are measured, from the data"
    )
    ema: Literal["constant", "warmup"] = Field(
        default="constant", description="coefficient b, or min(1 - 1/(g + 1), b) at epoch g = 0, 1, ..."
    )
    b: float = Field(default=0.9, ge=0, lt=1, description="EMA decay of a teacher per epoch")
    learning_rate: float = Field(default=0.1, gt=0)
    init_steps: Count = Field(default=1, ge=0, description="steps of DK's and DKEL's teachers to the data at first")
    init_direction: Direction = Field(default="raw", description="what these first steps follow")
    alpha: float = Field(default=0.5, ge=0, description="DKEL's term weighs r(e) = exp(-alpha e), e = 0, 1, ...")
    epochs: Count = Field(default=90, ge=2)
    trials: Count = Field(default=10_000, ge=2)
    peers: Few = Field(default=3, ge=2)
    seed: int = Field(default=0, ge=0)


CLAIMS = ("dk-better", "pcl-dk-near-70", "dkel-faster", "dkel-near-60", "dkel-earlier", "dkel-smaller-gap")
"""Names of the paper's statements that a simulation can test; a recipe gives their wording."""


class SimulationConfig(Configuration):
    """One Monte Carlo simulation (`okdbench.studies.monte_carlo`), of the variant that a recipe calls ``name``."""

    verb = "simulate"
    kind: Literal["simulation"] = "simulation"
    name: str
    settings: SimulationSettings = Field(
        validation_alias=AliasChoices("settings", "reading"),
        serialization_alias="reading",  # its first name, which ids and records have
    )

    @property
    def folder(self) -> str:
        """``NAME.ID``."""
        return f"{self.name}.{self.id}"

    @property
    def epochs(self) -> int:
        """Epochs of the simulation."""
        return self.settings.epochs
