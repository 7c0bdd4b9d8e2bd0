"""Checks for your own methods and networks: `check_method` verifies that a method keeps the contract."""

import math
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from okdbench.methods.base import Batch, Build, Method, MethodConfig, Progress
from okdbench.methods.baseline import Baseline, BaselineConfig
from okdbench.networks import Architecture
from okdbench.networks.precision import has_dropout
from okdbench.seeds import seeded

EPOCHS = 300
IMAGES = 8
LATE = 150
"""An epoch at which ramp-ups have ended, so that every term counts."""


def check_method(
    method_type: type[Method],
    config: MethodConfig,
    architecture: Architecture,
    classes: int = 10,
    partner: Architecture | None = None,
) -> None:
    """Check a method with these settings on a network, or on a pair, against the contract; seconds on a CPU.

    Raises an AssertionError that names the method and the problem for the first rule that is broken:

    * weights are keyed: the same seed builds the same method, and no global random state is touched, ever;
    * `schedule` gives the same names and finite numbers at every epoch;
    * `losses` gives finite 0-d terms that can be differentiated, changes none of its inputs, reads no tensor value
      back, uses each of its ``views`` views, and agrees in float32 and float64 up to rounding;
    * one training step gives a finite gradient to every parameter in `parameter_groups`, and to no other;
    * `meta_step`, if ``meta_every`` is set, leaves those parameters as they are, and the state finite;
    * `predict` gives finite logits [B, classes] for exactly `heads`, in order, image by image, and changes no state;
    * a method that loads another's state and `memory` predicts bit for bit the same, and has the same losses.
    """
    case = _Case(method_type, config, (architecture, partner) if partner else (architecture,), classes)
    for check in (
        _check_declaration,
        _check_construction,
        _check_schedule,
        _check_losses,
        _check_views,
        _check_precision,
        _check_gradients,
        _check_meta_step,
        _check_predictions,
        _check_state,
    ):
        check(case)


@dataclass(frozen=True)
class _Case:
    """A method, its settings and its networks; builds methods that are ready to train, and batches of noise."""

    method_type: type[Method]
    config: MethodConfig
    architectures: tuple[Architecture, ...]
    classes: int

    @cached_property
    def example(self) -> Method:
        """A method for questions about its attributes; it is never trained."""
        return self.construct()

    def construct(self, seed: int = 0) -> Method:
        """Return a new method in train mode; one that needs a trained teacher gets an untrained one."""
        plain = Build(self.architectures[:1], self.classes, seed=2)
        teacher = Baseline(plain, BaselineConfig()) if self.method_type.needs_teacher else None
        return self.method_type(Build(self.architectures, self.classes, seed, teacher), self.config).train()

    def ready(self, dtype: torch.dtype = torch.float32) -> Method:
        """Return a new method after `prepare`, ready to train."""
        method = self.construct()
        if dtype == torch.float64:
            method.double()
        with seeded(0, "memory"):
            method.remember(torch.arange(IMAGES * self.classes) % self.classes)
        with self.drawing(method):
            method.prepare(self.batch(method, number, dtype) for number in count(1000))
        return method

    def drawing(self, method: Method) -> AbstractContextManager[None]:
        """Return a context in which dropout draws from a keyed generator, as in every step of the trainer."""
        return seeded(0, "step") if has_dropout(method) else nullcontext()

    def losses(self, method: Method, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The method's losses; with dropout, the same activations are left out at every call."""
        with self.drawing(method):
            return method.losses(batch, progress)

    def batch(self, method: Method, number: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
        """Return a batch of noise with the views that the method needs; another number gives another batch."""
        generator = torch.Generator().manual_seed(number)
        size = self.architectures[0].image_size
        views = tuple(torch.randn(IMAGES, 3, size, size, generator=generator).to(dtype) for _ in range(method.views))
        labels = torch.randint(self.classes, (IMAGES,), generator=generator)
        if method.images_per_class:
            chosen = torch.randperm(self.classes, generator=generator)[: IMAGES // method.images_per_class]
            labels = chosen.repeat_interleave(method.images_per_class)
        return Batch(views, labels, labels + self.classes * torch.arange(IMAGES))

    def progress(self, method: Method, epoch: int = LATE, dtype: torch.dtype = torch.float32) -> Progress:
        """Return the start of an epoch; each epoch has ten steps."""
        weights = {name: torch.tensor(w, dtype=dtype) for name, w in method.schedule(epoch, EPOCHS).items()}
        rate = torch.tensor(0.1, dtype=dtype)
        return Progress(torch.tensor(epoch, dtype=dtype), torch.tensor(10 * epoch, dtype=dtype), weights, rate)

    def require(self, true: bool, problem: str) -> None:
        """Raise an AssertionError with the method's name and ``problem`` unless ``true``."""
        if not true:
            raise AssertionError(f"{self.method_type.__name__}: {problem}")

    @contextmanager
    def untouched_random_state(self, what: str) -> Iterator[None]:
        """A context in which nothing may draw from, or seed, a global generator."""
        before = _random_state()
        yield
        self.require(
            _random_state() == before,
            f"{what} touches the global random state; use build.keyed_init() or a torch.Generator of its own",
        )


def _random_state() -> tuple[bytes, ...]:
    states = (random.getstate(), np.random.get_state())
    return torch.get_rng_state().numpy().tobytes(), *map(pickle.dumps, states)


class _ReadBack(Exception):
    """An operation whose result depends on what tensors hold."""


class _NoReadback(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses operations whose result a program could only use by waiting for the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = any(isinstance(i, Tensor) and i.dtype == torch.bool for a in args if isinstance(a, list) for i in a)
        indexing = func is torch.ops.aten.index.Tensor and not by_mask
        tags = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
        if tags & set(func.tags) and not indexing:
            raise _ReadBack(func)
        return func(*args, **(kwargs or {}))


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}


def _differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Return the names of the tensors that are not bit-identical."""
    return [name for name in one if name not in other or not torch.equal(one[name], other[name])]


def _check_declaration(case: _Case) -> None:
    method_type, config = case.method_type, case.config
    for name in ("name", "title", "paper"):
        case.require(isinstance(getattr(method_type, name, None), str), f"{name} must be a text")
    case.require(isinstance(getattr(method_type, "year", None), int), "year must be a number")
    case.require(isinstance(config, method_type.Config), f"settings must be a {method_type.Config.__name__}")
    case.require("paper" in method_type.Config.presets, 'Config.presets must have "paper"')


def _check_construction(case: _Case) -> None:
    with case.untouched_random_state("construction"):
        method, again = case.example, case.construct()
    differing = _differing(method.state_dict(), again.state_dict())
    case.require(not differing, f"two methods built from one seed differ in {differing[:3]}")
    other = case.construct(seed=1)
    case.require(bool(_differing(method.state_dict(), other.state_dict())), "another seed builds the same weights")
    case.require(isinstance(method.views, int) and method.views >= 1, f"views must be 1 or more, not {method.views}")


def _check_schedule(case: _Case) -> None:
    method = case.example
    names = set(method.schedule(0, EPOCHS))
    for epochs in (1, EPOCHS):
        for epoch in range(epochs):
            weights = method.schedule(epoch, epochs)
            case.require(
                set(weights) == names, f"schedule names {sorted(weights)} at epoch {epoch}, not {sorted(names)}"
            )
            for name, weight in weights.items():
                finite = isinstance(weight, int | float) and math.isfinite(weight)
                case.require(finite, f"schedule gives {name} = {weight!r} at epoch {epoch} of {epochs}")


def _check_losses(case: _Case) -> None:
    method = case.ready()
    batch = case.batch(method)
    for epoch in (0, LATE, EPOCHS - 1):
        progress = case.progress(method, epoch)
        given = {"labels": batch.labels, **{f"view {i}": view for i, view in enumerate(batch.views)}}
        given |= {"epoch": progress.epoch, "step": progress.step, **progress.weights}
        given |= {name: parameter.detach() for name, parameter in method.named_parameters()} | method.memory()
        before = _copy(given)
        with case.untouched_random_state("losses"):
            terms = _losses(case, method, batch, progress)
        changed = _differing(before, given)
        case.require(not changed, f"losses changes {changed[:3]} in place")
        case.require(bool(terms), "losses gives no terms")
        _check_terms(case, terms, f"losses at epoch {epoch}")
        case.require(any(term.requires_grad for term in terms.values()), "losses gives nothing to differentiate")


def _losses(case: _Case, method: Method, batch: Batch, progress: Progress) -> dict[str, Tensor]:
    try:
        with _NoReadback():  # type: ignore[no-untyped-call]
            return case.losses(method, batch, progress)
    except _ReadBack as operation:
        case.require(False, f"losses branches on, or reads back, tensor values: {operation}")
        raise


def _check_terms(case: _Case, terms: dict[str, Tensor], what: str) -> None:
    for name, term in terms.items():
        case.require(term.ndim == 0, f"{what}: term {name} must be 0-d, not of shape {tuple(term.shape)}")
        case.require(bool(term.isfinite()), f"{what}: term {name} is {float(term.detach())}")


def _check_views(case: _Case) -> None:
    method = case.ready()
    start = _copy(method.state_dict())
    batch, other = case.batch(method), case.batch(method, 1)

    def losses(replaced: int | None) -> dict[str, Tensor]:
        method.load_state_dict(start)
        views = tuple(other.views[i] if i == replaced else view for i, view in enumerate(batch.views))
        return case.losses(method, batch._replace(views=views), case.progress(method))

    expected = losses(None)
    differing = _differing(expected, losses(None))
    case.require(not differing, f"the same batch gives other losses the second time: {differing}")
    for view in range(method.views):
        case.require(
            bool(_differing(expected, losses(view))), f"view {view} does not change the losses; set fewer views"
        )


def _check_precision(case: _Case) -> None:
    values = []
    for dtype in (torch.float32, torch.float64):
        method = case.ready(dtype)
        terms = case.losses(method, case.batch(method, dtype=dtype), case.progress(method, dtype=dtype))
        values.append({name: float(term.detach()) for name, term in terms.items()})
    single, double = values
    for name, value in double.items():
        close = math.isclose(single[name], value, rel_tol=1e-3, abs_tol=1e-4)
        case.require(close, f"term {name} is {single[name]} in float32 and {value} in float64")


def _train(case: _Case, method: Method, on_gradients: Callable[[], None]) -> dict[str, Tensor]:
    """Do one training step with everything around it; call ``on_gradients`` whenever there are new gradients."""
    optimizer = torch.optim.SGD(_trained(method), lr=1e-3)

    def update(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        on_gradients()
        optimizer.step()

    progress = case.progress(method)
    with case.drawing(method):
        terms = method.training_step(case.batch(method), progress, update)
        method.after_step(progress)
    return terms


def _trained(method: Method) -> list[torch.nn.Parameter]:
    return [parameter for group in method.parameter_groups() for parameter in group.parameters]


def _check_gradients(case: _Case) -> None:
    method = case.ready()
    trained = [id(p) for p in _trained(method)]
    case.require(len(set(trained)) == len(trained), "a parameter is in parameter_groups twice")
    reached: set[str] = set()

    def on_gradients() -> None:
        gradients = {name: p.grad for name, p in method.named_parameters() if p.grad is not None}
        bad = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
        case.require(not bad, f"gradients of {bad[:3]} are not finite")
        reached.update(gradients)

    with case.untouched_random_state("a training step"):
        terms = _train(case, method, on_gradients)
    _check_terms(case, terms, "training_step")
    wanted = {name for name, p in method.named_parameters() if id(p) in trained}
    missed, surplus = sorted(wanted - reached), sorted(reached - wanted)
    case.require(not missed, f"{missed[:3]} of parameter_groups receive no gradient")
    case.require(not surplus, f"{surplus[:3]} receive a gradient and are not in parameter_groups")


def _check_meta_step(case: _Case) -> None:
    if not case.example.meta_every:
        return
    method = case.ready()
    _train(case, method, lambda: None)
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    trained = {id(p) for p in _trained(method)}
    with case.untouched_random_state("meta_step"), case.drawing(method):
        method.meta_step(case.batch(method), case.progress(method))
    now = {name: p for name, p in method.named_parameters() if id(p) in trained}
    moved = [name for name, p in now.items() if not torch.equal(p, before[name])]
    case.require(not moved, f"meta_step leaves {moved[:3]} of parameter_groups changed")
    bad = [name for name, value in method.state_dict().items() if not value.isfinite().all()]
    case.require(not bad, f"after meta_step {bad[:3]} are not finite")


def _predict(method: Method, images: Tensor) -> dict[str, Tensor]:
    method.eval()
    with torch.no_grad():
        return method.predict(images)


def _check_predictions(case: _Case) -> None:
    method = case.ready()
    images = case.batch(method).views[0]
    before = _copy(method.state_dict())
    with case.untouched_random_state("predict"):
        predictions = _predict(method, images)
    changed = _differing(before, method.state_dict())
    case.require(not changed, f"predict changes {changed[:3]}")
    heads = method.heads()
    case.require(len(set(heads)) == len(heads), f"heads() names a head twice: {heads}")
    case.require(tuple(predictions) == heads, f"heads() says {heads}, predict gives {tuple(predictions)}")
    case.require(method.deployed in heads, f'deployed is "{method.deployed}", heads are {heads}')
    few = _predict(method, images[:3])
    for head, logits in predictions.items():
        wanted = (IMAGES, case.classes)
        case.require(tuple(logits.shape) == wanted, f"{head} has logits {tuple(logits.shape)}, not {wanted}")
        case.require(bool(logits.isfinite().all()), f"logits of {head} are not finite")
        alone = torch.allclose(few[head], logits[:3], rtol=1e-3, atol=1e-3 * float(logits.abs().max()))
        case.require(alone, f"the prediction of {head} for an image depends on the other images of the batch")


def _check_state(case: _Case) -> None:
    method = case.ready()
    _train(case, method, lambda: None)
    copy = case.ready()
    copy.load_state_dict(method.state_dict())
    for name, value in method.memory().items():
        copy.memory()[name].copy_(value)
    later = case.progress(method, LATE + 1)
    batch = case.batch(method, 1)
    losses = [case.losses(m, batch, later) for m in (method, copy)]
    case.require(not _differing(*losses), f"a copy made from state_dict has other losses: {_differing(*losses)}")
    answers = [_predict(m, batch.views[0]) for m in (method, copy)]
    case.require(not _differing(*answers), f"a copy made from state_dict predicts otherwise: {_differing(*answers)}")
