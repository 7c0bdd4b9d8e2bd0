"""What the record and metrics of a run that learns say that no such run writes."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError

from okdbench import data, methods, networks
from okdbench.config import (
    CosineSchedule,
    DataSettings,
    LearningConfig,
    OptimizerSettings,
    RunConfig,
    TrainingSettings,
)
from okdbench.errors import MissingExtra, UsageError
from okdbench.runs.heads import AVERAGE
from okdbench.runs.records import Cause, Epoch, HeadMetrics, LearnedRecord, State
from okdbench.training.evaluation import NO_LOGITS, collapsed
from okdbench.training.optimizer import rate_factor
from okdbench.words import count

TOLERANCE = 1e-4
"""In images; accuracies are stored as percentages, sums of which are rounded. Also that of a cross-entropy."""
MOST_TOLERANCE = 0.1
"""In images, however many there are."""
_ANY = TrainingSettings(epochs=1, optimizer=OptimizerSettings(lr=1), schedule=CosineSchedule(name="cosine"))


def doubts(record: LearnedRecord, epochs: Sequence[Epoch]) -> list[str]:
    """Return in one line each what cannot come from training ``record.config``, of each kind the first.

    The configuration is one that this version of okdbench can train; heads are those of the method, the same in every
    epoch; learning rates are those of the schedule; an accuracy is a whole number of images, and a cross-entropy no
    lower than wrong images allow, nor out of what its logits can give; no two epochs are the same; and a run ended as
    it says.
    """
    if wrong := next(_configuration(record.config), None):
        return [wrong]
    if record.status is State.finished and len(epochs) != record.config.epochs:
        return [f"has {count(len(epochs), 'epoch')}, and is to have {record.config.epochs}"]
    checks = (
        _heads(record, epochs),
        _rates(record.config, epochs),
        _counts(record.config, epochs),
        _course(epochs),
        _ending(record, epochs),
    )
    return [first for first in (next(check, None) for check in checks) if first]


def unchecked(record: LearnedRecord) -> list[str]:
    """Return in one line each what of the run's method and networks is not here, so that it cannot be checked."""
    return list(dict.fromkeys(line for run in _trainings(record.config) for line in _lacking(run)))


def _trainings(config: LearningConfig) -> tuple[RunConfig, ...]:
    """The trainings that a run consists of: its source's, or its own, after those of teachers."""
    return (*(run for run in config.needs if run is not config.source), config.source)


def _lacking(run: RunConfig) -> Iterator[str]:
    """What a training needs and is not here, or is here in another version."""
    here = methods.origins(run.method, run.network) or {}
    for what, version in (run.plugins or {}).items():
        if here.get(what) != version:
            yield f"needs {what} of plugin {version}, which is not here: not checked"
    for name in run.network.split("+"):
        try:
            networks.get(name)
        except MissingExtra as missing:
            yield f"{missing}; not checked"
        except UsageError:
            pass


def _configuration(config: LearningConfig) -> Iterator[str]:
    """What of a configuration no recipe of this version of okdbench can ask for."""
    try:
        for run in _trainings(config):
            names = [f"network {name}" for name in networks.NetworkName(run.network).names]
            for what in set(run.plugins or ()) - {f"method {run.method}", *names}:
                yield f"names a plugin for {what}, which {run.folder} does not use"
            if not any(_lacking(run)):
                yield from _training(run)
        if config is not config.source:
            yield from _images(config)
    except (UsageError, ValueError) as error:
        yield str(error)


def _training(run: RunConfig) -> Iterator[str]:
    """What is wrong with a training whose method and networks are all here, or ought to be."""
    kind, architectures = methods.get(run.method), networks.several(run.network)
    try:
        settings = kind.Config(**run.settings)
    except ValidationError as error:
        first = error.errors()[0]
        yield f"settings.{'.'.join(map(str, first['loc']))} of {run.method}: {first['msg']}"
        return
    written = settings.model_dump(mode="json", exclude_defaults=True)
    for name in sorted({*written, *run.settings}):
        if any(name not in each for each in (written, run.settings)) or _text(written, name) != _text(
            run.settings, name
        ):
            yield f"settings.{name} of {run.method} is not as okdbench writes it, which leaves out defaults"
    if obstacle := kind.obstacle(settings, architectures):
        yield obstacle
    if bool(run.teacher) != kind.needs_teacher:
        yield f"{run.method} {'needs a' if kind.needs_teacher else 'has no'} teacher"
    yield from _images(run, getattr(settings, "images_per_class", kind.images_per_class))


def _text(settings: Mapping[str, Any], name: str) -> str:
    return json.dumps(settings[name], sort_keys=True)


def _images(config: LearningConfig, images_per_class: int = 0) -> Iterator[str]:
    data.augmentation(config.dataset, config.data.normalisation)
    dataset, batch = data.get(config.dataset), config.training.batch_size
    for where, what in data.image_problems(dataset, config.data, batch, images_per_class):
        yield f"{'.'.join(where)} {what}"


def _heads(record: LearnedRecord, epochs: Sequence[Epoch]) -> Iterator[str]:
    held_out = set(record.heads) if record.config.data.validation else set()
    for epoch in epochs:
        if set(epoch.heads) != set(record.heads):
            yield f"epoch {epoch.epoch} has other heads than the record"
        if set(epoch.validation or ()) != held_out:
            yield f"epoch {epoch.epoch} has other heads on held-out images than the configuration asks for"
    if record.deployed not in record.heads:
        yield f"the deployed head {record.deployed} is none of its heads"
    if unchecked(record):
        return
    try:
        made, deployed = _made(_plain(record.config.source).model_dump_json())
    except (UsageError, ValueError) as error:
        yield f"{record.config.method} cannot be made: {error}"
        return
    if record.config is not record.config.source:  # what a probe reads of a training
        wanted = tuple(head for head in made if head in record.heads)
        deployed = deployed if deployed in wanted else record.heads[0]
    else:
        wanted = (*made, *(head + AVERAGE for head in made if record.config.training.ema))
    if record.heads != wanted:
        yield f"has the heads {', '.join(record.heads)}, where {record.config.method} has {', '.join(made)}"
    if record.deployed != deployed:
        yield f"deploys {record.deployed}, where {record.config.method} deploys {deployed}"


def _plain(run: RunConfig) -> RunConfig:
    """The training without what its heads do not depend on."""
    teacher = run.teacher and _plain(run.teacher)
    return run.model_copy(
        update={"seed": 0, "training": _ANY, "data": DataSettings(), "plugins": None, "teacher": teacher}
    )


@cache
def _made(config: str) -> tuple[tuple[str, ...], str]:
    """Return the heads of a method, made of a configuration in JSON, and the one that it deploys."""
    run = RunConfig.model_validate_json(config)
    return methods.heads(run, data.get(run.dataset).classes)


def _rates(config: LearningConfig, epochs: Sequence[Epoch]) -> Iterator[str]:
    for epoch in epochs:
        wanted = config.training.optimizer.lr * rate_factor(config.training, epoch.epoch)
        if not abs(epoch.lr - wanted) <= 1e-6 * config.training.optimizer.lr:
            yield f"epoch {epoch.epoch} has learning rate {epoch.lr:g}, where the schedule has {wanted:g}"


def _counts(config: LearningConfig, epochs: Sequence[Epoch]) -> Iterator[str]:
    dataset = data.get(config.dataset)
    tested = config.data.test_subset or (dataset.test_size if dataset.exact else 0)
    classes = dataset.classes if dataset.exact else 0
    for epoch in epochs:
        for images, heads in ((tested, epoch.heads), (config.data.validation, epoch.validation or {})):
            for head, metrics in heads.items():
                yield from (f"epoch {epoch.epoch}, {head}: {wrong}" for wrong in _impossible(metrics, images, classes))


def _impossible(metrics: HeadMetrics, images: int, classes: int) -> Iterator[str]:
    """What is wrong with metrics on ``images`` images of ``classes`` classes, 0 where their numbers are not known."""
    if metrics.top5 < metrics.top1 - TOLERANCE:
        yield f"top-5 accuracy {metrics.top5:g} below top-1 accuracy {metrics.top1:g}"
    for name, percent in (("top-1", metrics.top1), ("top-5", metrics.top5)):
        correct = percent * images / 100
        if abs(correct - round(correct)) > min(max(TOLERANCE, 1e-6 * images), MOST_TOLERANCE):
            yield f"{name} accuracy {percent!r} is not that of a whole number of {images:,} images"
        if images and round(correct) > images:
            yield f"{name} accuracy {percent!r} is that of more than {images:,} images"
    if metrics.max_logit < 0:
        yield f"largest logit {metrics.max_logit:g} below 0"
    # Whoever has the right class second gives it at most a half, and outside the first five at most a sixth.
    least = ((100 - metrics.top5) * math.log(6) + (metrics.top5 - metrics.top1) * math.log(2)) / 100
    if metrics.ce < 0 or metrics.ce < least - TOLERANCE:
        yield f"cross-entropy {metrics.ce:g} below {max(least, 0):g}, the least of these accuracies"
    if classes:  # no two logits are further apart than twice the largest one
        lowest, highest = (_softplus(math.log(classes - 1) + sign * 2 * metrics.max_logit) for sign in (-1, 1))
        if not lowest * (1 - TOLERANCE) - TOLERANCE <= metrics.ce <= highest * (1 + TOLERANCE) + TOLERANCE:
            limits = f"logits up to {metrics.max_logit:g} give {lowest:g} to {highest:g}"
            yield f"cross-entropy {metrics.ce:g}, where {limits}"


def _softplus(value: float) -> float:
    """Return log(1 + exp(value))."""
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))


def _course(epochs: Sequence[Epoch]) -> Iterator[str]:
    """What is wrong with the epochs beside one another."""
    seen = dict[str, int]()
    for epoch in epochs:
        if not epoch.losses or epoch.losses.keys() != epochs[0].losses.keys():
            yield f"epoch {epoch.epoch} has {'other losses than the first one' if epoch.losses else 'no losses'}"
        if not 0 < epoch.seconds < math.inf:
            yield f"epoch {epoch.epoch} took {epoch.seconds:g} seconds"
        if all(metrics.max_logit < NO_LOGITS for metrics in epoch.heads.values()):
            continue  # of a run that collapses nothing changes any more
        numbers = repr({head: epoch.heads[head] for head in sorted(epoch.heads)})
        if (first := seen.setdefault(numbers, epoch.epoch)) != epoch.epoch:
            yield f"epoch {epoch.epoch} has all the numbers of epoch {first}"


def _ending(record: LearnedRecord, epochs: Sequence[Epoch]) -> Iterator[str]:
    """What is wrong with how and when the run ended."""
    most, done = record.config.epochs, len(epochs)
    if record.status is State.finished and (record.cause or record.reason):
        yield "is finished, and says why it diverged"
    if record.status is State.diverged and not record.cause:
        yield "diverged, and does not say why"
    # What is not finite ends a run before that epoch is recorded.
    if done > most or (record.cause is Cause.not_finite and done == most):
        yield f"diverged ({record.cause}) after {count(done, 'epoch')}, and is to have {most}"
    dataset = data.get(record.config.dataset)
    if not dataset.exact or any(record.deployed not in epoch.heads for epoch in epochs):
        return
    history = [epoch.heads[record.deployed] for epoch in epochs]
    ended = next((last for last in range(done) if collapsed(history[: last + 1], dataset.classes)), None)
    if ended is not None and (ended + 1 < done or record.cause is not Cause.collapsed):
        yield f"had collapsed in epoch {ended}, which ends a run"
    if ended is None and record.cause is Cause.collapsed:
        yield "is said to have collapsed, and its logits have not"
