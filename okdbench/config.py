"""What one run is: the resolved configuration that recipes produce, the trainer obeys and the hash identifies.

It stands beside the folders and imports none of them, because a recipe (left half of the house) and the trainer (right
half) both speak it.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """Base of everything a person can write in a recipe: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OptimizerSettings(Settings):
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


class MultistepSchedule(Settings):
    """lr x gamma at each milestone, counted in epochs from 0: the new rate is in force during that epoch."""

    name: Literal["multistep"]
    milestones: tuple[int, ...]
    gamma: float = Field(default=0.1, gt=0)

    @model_validator(mode="after")
    def _milestones_rise(self) -> "MultistepSchedule":
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must rise")
        return self


class CosineSchedule(Settings):
    """lr x 0.5 (1 + cos(pi e / epochs)), constant within epoch e = 0, 1, ..."""

    name: Literal["cosine"]


Schedule = Annotated[MultistepSchedule | CosineSchedule, Field(discriminator="name")]


class TrainingSettings(Settings):
    """How a run is optimised; the last, smaller batch of an epoch is kept."""

    epochs: int = Field(gt=0)
    batch_size: int = Field(default=128, gt=0)
    optimizer: OptimizerSettings
    schedule: Schedule


class DataSettings(Settings):
    """Which images a run sees and how they are normalised and augmented."""

    normalisation: str = Field(default="dkel", description="preset of mean, std and padding")
    subset: int | None = Field(default=None, gt=0, description="train on this many images, equally many of each class")
    validation: int = Field(
        default=0,
        ge=0,
        description="images taken out of training, equally many of each class, to choose epoch and head on",
    )
    test_subset: int | None = Field(
        default=None, gt=0, description="test on this many images, equally many of each class"
    )


class RunConfig(Settings):
    """One training with one seed. Two runs with the same configuration are the same run."""

    dataset: str
    network: str
    method: str
    settings: dict[str, Any] = Field(description="the method's own settings, those that differ from its defaults")
    training: TrainingSettings
    data: DataSettings = DataSettings()
    seed: int = Field(ge=0)
    teacher: "RunConfig | None" = Field(default=None, description="the run whose trained network teaches this one")

    @property
    def id(self) -> str:
        """Hash of everything that changes the result and nothing else.

        Settings at their defaults do not enter, so that a new setting leaves the identity of old runs alone; a default,
        once released, is therefore never changed.
        """
        content = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def folder(self) -> str:
        """Name of the run's folder: readable, unique and the same for ever."""
        return f"{self.dataset}.{self.network}.{self.method}.s{self.seed}.{self.id}"
