"""Forward passes in a lower precision, and of several views at once."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import product
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


class LowPrecisionModule(nn.Module):
    """A part of a network whose layers may compute in a lower precision.

    Its parameters and BN statistics stay in float32, and so does everything outside: heads, losses, similarities and
    the modules that a method adds.
    """

    compute_dtype: torch.dtype | None = None
    """The type in which the layers compute; None is that of their parameters."""

    def computing(self, images: Tensor, *parts: nn.Module) -> AbstractContextManager[object]:
        """Return the context in which the layers of ``parts`` run."""
        if self.compute_dtype is None:
            return nullcontext()
        # No cache of cast weights: one made without gradients, or before an optimiser step, would serve afterwards too.
        autocast = torch.autocast(images.device.type, self.compute_dtype, cache_enabled=False)
        return autocast if torch.compiler.is_compiling() else _cast_together(parts, self.compute_dtype, autocast)


@contextmanager
def _cast_together(
    parts: Sequence[nn.Module], dtype: torch.dtype, autocast: AbstractContextManager[object]
) -> Iterator[None]:
    """``autocast``, with the parameters of plain layers cast beforehand in one operation instead of one by one."""
    layers = [layer for part in parts for layer in part.modules() if type(layer) in (nn.Conv2d, nn.Linear)]
    named = [(vars(layer), name, p) for layer in layers for name, p in layer.named_parameters()]
    shadows = _Cast.apply(dtype, *(p for _, _, p in named))  # type: ignore[no-untyped-call]
    for (attributes, name, _), shadow in zip(named, shadows, strict=True):
        attributes[name] = shadow  # hides the parameter, which the module keeps elsewhere
    try:
        with autocast:
            yield
    finally:
        for attributes, name, _ in named:
            attributes.pop(name, None)


class _Cast(Function):
    """Casts tensors of one type to another in one operation, and their gradients back in another one."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors in ``dtype``."""
        ctx.dtype = tensors[0].dtype if tensors else dtype
        ctx.set_materialize_grads(False)
        cast = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
        if tensors:
            torch._foreach_copy_(cast, list(tensors))
        return tuple(cast)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients in the tensors' own type; none where there is none."""
        given = [g for g in gradients if g is not None]
        cast = iter(_Cast.apply(ctx.dtype, *given))  # type: ignore[no-untyped-call]
        return (None, *(None if g is None else next(cast) for g in gradients))


def to_float32(map: Tensor) -> Tensor:
    """Return the map in float32 if its precision is lower, else the map itself."""
    return map.float() if map.dtype.itemsize < 4 else map


def set_compute_dtype(module: nn.Module, dtype: torch.dtype | None) -> None:
    """Let all stems and stages within ``module`` compute in ``dtype``; None is the type of their parameters."""
    for part in module.modules():
        if isinstance(part, LowPrecisionModule):
            part.compute_dtype = dtype


RATES = ("drop_prob", "drop_rate", "draws")
"""Attributes of modules that draw in every step: stochastic depth, functional dropout, and our contract."""


def has_dropout(module: nn.Module) -> bool:
    """Return whether training ``module`` draws random numbers in every step.

    Layers of dropout, timm's stochastic depth, and rates of functional dropout as timm names them are seen. A module
    that draws in another way has a true attribute ``draws``.
    """
    return any(
        (isinstance(layer, _DropoutNd) and layer.p > 0) or any(bool(getattr(layer, rate, False)) for rate in RATES)
        for layer in module.modules()
    )


class ViewNorm(nn.BatchNorm2d):
    """Batch normalisation of ``views`` views, concatenated in one batch, each with its own statistics.

    Values, gradients and running statistics are the same as if the views were passed one by one in their order.
    ``uncounted`` is the number of passes that `counted_together` will add to ``num_batches_tracked``, None outside.
    """

    views = 1
    aliases: Sequence[dict[str, Tensor]] = ()
    """For each view, the tensors that stand for its parameters (`_PerView`); none where the parameters do."""
    uncounted: int | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Maps [V * B, C, H, W]."""
        if self.views == 1:
            return self._one_view(0, input)
        return torch.cat([self._one_view(number, view) for number, view in enumerate(input.chunk(self.views))])

    def _one_view(self, number: int, input: Tensor) -> Tensor:
        if self.aliases:
            vars(self).update(self.aliases[number])  # hides the parameters, which the module keeps elsewhere
        if torch.compiler.is_compiling() or self.uncounted is None or not self.training:
            return super().forward(input)
        self.uncounted += 1
        mean, variance = self.running_mean, self.running_var
        return batch_norm(input, mean, variance, self.weight, self.bias, True, self.momentum or 0.0, self.eps)


def separate_views(module: nn.Module) -> bool:
    """Turn all batch normalisation within into `ViewNorm`; False, and no change, if one is of another type."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]
    if any(type(norm) not in (nn.BatchNorm2d, ViewNorm) for norm in norms):
        return False
    for norm in norms:
        norm.__class__ = ViewNorm
    return True


def counting_norms(module: nn.Module) -> list[ViewNorm]:
    """Turn the batch normalisation within that can count passes together into `ViewNorm`, and return it.

    Left out are subclasses, norms without statistics, and those whose momentum depends on the count.
    """
    norms = list[ViewNorm]()
    for norm in module.modules():
        plain = type(norm) in (nn.BatchNorm2d, ViewNorm)
        if plain and norm.num_batches_tracked is not None and norm.momentum is not None:
            norm.__class__ = ViewNorm
            norms.append(cast(ViewNorm, norm))
    return norms


@contextmanager
def counted_together(norms: Sequence[ViewNorm]) -> Iterator[None]:
    """Raise the counters ``num_batches_tracked`` of all norms in one operation at the end of this context."""
    for norm in norms:
        norm.uncounted = 0
    try:
        yield
    finally:
        passed = [norm for norm in norms if norm.uncounted]
        if passed:
            counters = cast(list[Tensor], [norm.num_batches_tracked for norm in passed])
            torch._foreach_add_(counters, [cast(int, norm.uncounted) for norm in passed])
        for norm in norms:
            norm.uncounted = None


@contextmanager
def side_by_side(module: nn.Module, views: int) -> Iterator[None]:
    """Within this context every `ViewNorm` of ``module`` takes its input as that many views."""
    norms = [norm for norm in module.modules() if isinstance(norm, ViewNorm)]
    for norm in norms:
        norm.views = views
    if not torch.compiler.is_compiling():
        _set_aliases(norms, views)
    try:
        yield
    finally:
        for norm in norms:
            norm.views = 1
        if not torch.compiler.is_compiling():
            _drop_aliases(norms)


def _set_aliases(norms: Sequence[ViewNorm], views: int) -> None:
    """Give the norms aliases of their trained parameters for each view, through one `_PerView`."""
    named = [(norm, name, p) for norm in norms for name, p in norm.named_parameters() if p.requires_grad]
    if not named:
        return
    for norm in norms:
        norm.aliases = [{} for _ in range(views)]
    aliases: tuple[Tensor, ...] = _PerView.apply(views, *(p for _, _, p in named))  # type: ignore[no-untyped-call]
    for (number, (norm, name, _)), alias in zip(product(range(views), named), aliases, strict=True):
        norm.aliases[number][name] = alias


def _drop_aliases(norms: Sequence[ViewNorm]) -> None:
    """Let the parameters stand for themselves again."""
    for norm in norms:
        norm.aliases = ()
        for name in ("weight", "bias"):
            vars(norm).pop(name, None)


class _PerView(Function):
    """Hands tensors to several views, and adds the gradients of all tensors in one operation for each further view."""

    @staticmethod
    def forward(ctx: Any, views: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return aliases of all tensors for the first view, then for the second, and so on."""
        ctx.views = views
        ctx.set_materialize_grads(False)
        return tuple(tensor.view_as(tensor) for _ in range(views) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the sums over the views, the last view first, as autograd adds them; none where there is none."""
        count = len(gradients) // ctx.views
        reached = [index for index in range(count) if gradients[index] is not None]
        *others, last = ([gradients[v * count + index] for index in reached] for v in range(ctx.views))
        sums = cast(list[Tensor], last)
        for other in reversed(others if reached else []):
            sums = list(torch._foreach_add(sums, cast(list[Tensor], other)))
        each = dict(zip(reached, sums, strict=True))
        return (None, *(each.get(index) for index in range(count)))
