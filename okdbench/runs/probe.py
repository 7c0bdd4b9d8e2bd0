"""The configuration and the record of a linear probe."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from okdbench.config import (
    DataSettings,
    LearningConfig,
    MultistepSchedule,
    OptimizerSettings,
    RunConfig,
    StrictModel,
    TrainingSettings,
)
from okdbench.runs.heads import DEPLOYED
from okdbench.runs.records import LearnedRecord


def _laid_over(defaults: Any, given: Any) -> Any:
    """Return the defaults with what is given; a mapping with a ``name``, such as a schedule, is given as a whole."""
    if not (isinstance(defaults, dict) and isinstance(given, dict)) or "name" in given:
        return given
    return {**defaults, **{key: _laid_over(defaults.get(key), value) for key, value in given.items()}}


class ProbeSettings(StrictModel):
    """How a linear classifier is trained on the frozen features of a finished training.

    The defaults are the linear evaluation from CIFAR-100 of HSAKD (winycg/HSAKD at 28c8dc2), whose first author is also
    that of MCL and L-MCL.
    """

    source: str = Field(default="cifar100", description="the data set on which the networks are trained")
    heads: tuple[str, ...] = Field(
        default=(DEPLOYED,),
        min_length=1,
        description="the heads whose features are read, by name or pattern (peer?), those of them that the method has; "
        "deployed: the one that it deploys",
    )
    size: int | None = Field(
        default=None, gt=0, le=1024, description="side of the images in pixels; by default that of the source's images"
    )
    view: Literal["resized-crop", "whole"] = Field(
        default="resized-crop",
        description="a training image is seen as a random part, resized and perhaps mirrored, or whole each time",
    )
    crop_area: tuple[float, float] = Field(
        default=(0.08, 1.0), description="least and largest part of the image's area"
    )
    training: TrainingSettings = TrainingSettings(
        epochs=100,
        batch_size=64,
        optimizer=OptimizerSettings(lr=0.1, weight_decay=0),
        schedule=MultistepSchedule(name="multistep", milestones=(30, 60, 90)),
    )
    data: DataSettings = DataSettings(normalisation="hsakd")

    @model_validator(mode="before")
    @classmethod
    def _over_the_defaults(cls, data: Any) -> Any:
        """Lay what is given of ``training`` and ``data`` over the protocol, key by key."""
        if not isinstance(data, dict):
            return data
        defaults = {key: cls.model_fields[key].default.model_dump() for key in ("training", "data")}
        return {**data, **{key: _laid_over(each, data[key]) for key, each in defaults.items() if key in data}}

    @field_validator("data")
    @classmethod
    def _without_policies(cls, value: DataSettings) -> DataSettings:
        if value.policies:
            raise ValueError("has policies, which a probe's images do not get; leave them out")
        return value

    @field_validator("crop_area")
    @classmethod
    def _parts_of_an_image(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError("must be two parts of an image's area that rise, above 0 and at most 1")
        return value

    @field_validator("training")
    @classmethod
    def _no_average(cls, value: TrainingSettings) -> TrainingSettings:
        if value.ema:
            raise ValueError("ema: a classifier on frozen features has no moving average; leave it out")
        return value


class ProbeConfig(LearningConfig):
    """One linear probe with one seed: a classifier on the frozen features of the network that ``source`` trains."""

    verb = "probe"
    needed_as = "source"
    kind: Literal["probe"] = "probe"
    dataset: str
    source: RunConfig
    probe: ProbeSettings = ProbeSettings()
    seed: int = Field(ge=0)

    @property
    def network(self) -> str:
        """The source's network."""
        return self.source.network

    @property
    def method(self) -> str:
        """The source's method."""
        return self.source.method

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the source's method."""
        return self.source.settings

    @property
    def training(self) -> TrainingSettings:
        """How the classifier is optimised."""
        return self.probe.training

    @property
    def data(self) -> DataSettings:
        """Which images the classifier sees."""
        return self.probe.data

    @property
    def folder(self) -> str:
        """``DATASET.NETWORK.METHOD.probe.sSEED.ID``, where the data set is that of the probe."""
        return f"{self.dataset}.{self.network.replace('/', '-')}.{self.method}.probe.s{self.seed}.{self.id}"

    @property
    def needs(self) -> tuple[RunConfig, ...]:
        """The source's run, after its teacher's."""
        return (*self.source.needs, self.source)

    @property
    def sections(self) -> dict[str, StrictModel]:
        """The source's training and images, and the probe."""
        return {**self.source.sections, "probe": self.probe}

    @property
    def after(self) -> tuple[str, ...]:
        """The folder of the source's run."""
        return (self.source.folder,)


class ProbeRecord(LearnedRecord):
    """The record of a linear probe; its heads are those whose features it reads."""

    config: ProbeConfig
