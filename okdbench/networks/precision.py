"""Forward passes in a lower precision, and of several views at once."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


class LowPrecisionModule(nn.Module):
    """A part of a network whose layers may compute in a lower precision.

    Its parameters and BN statistics stay in float32, and so does everything outside: heads, losses, similarities and
    the modules that a method adds.
    """

    compute_dtype: torch.dtype | None = None
    """The type in which the layers compute; None is that of their parameters."""

    def computing(self, images: Tensor) -> AbstractContextManager[object]:
        """The context in which the layers run."""
        if self.compute_dtype is None:
            return nullcontext()
        # No cache of cast weights: one made without gradients, or before an optimiser step, would serve afterwards too.
        return torch.autocast(images.device.type, self.compute_dtype, cache_enabled=False)


def to_float32(map: Tensor) -> Tensor:
    """The map in float32 if its precision is lower, else the map itself."""
    return map.float() if map.dtype.itemsize < 4 else map


def set_compute_dtype(module: nn.Module, dtype: torch.dtype | None) -> None:
    """Let all stems and stages within ``module`` compute in ``dtype``; None is the type of their parameters."""
    for part in module.modules():
        if isinstance(part, LowPrecisionModule):
            part.compute_dtype = dtype


def has_dropout(module: nn.Module) -> bool:
    """Whether training ``module`` draws random numbers in every step (dropout)."""
    return any(isinstance(layer, _DropoutNd) and layer.p > 0 for layer in module.modules())


class ViewNorm(nn.BatchNorm2d):
    """Batch normalisation of ``views`` views, concatenated in one batch, each with its own statistics.

    Values, gradients and running statistics are the same as if the views were passed one by one in their order.
    """

    views = 1

    @classmethod
    def sharing(cls, norm: nn.BatchNorm2d) -> "ViewNorm":
        """Return a module that shares the parameters and statistics of ``norm``."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        made.weight, made.bias = norm.weight, norm.bias
        made.running_mean, made.running_var = norm.running_mean, norm.running_var
        made.num_batches_tracked = norm.num_batches_tracked
        return made.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """Maps [V * B, C, H, W]."""
        if self.views == 1:
            return super().forward(input)
        return torch.cat([nn.BatchNorm2d.forward(self, view) for view in input.chunk(self.views)])


def separate_views(module: nn.Module) -> bool:
    """Replace all batch normalisation within by `ViewNorm`; False, and no change, if one is of another type."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]
    if any(type(norm) not in (nn.BatchNorm2d, ViewNorm) for norm in norms):
        return False
    made = {norm: ViewNorm.sharing(norm) for norm in norms if type(norm) is nn.BatchNorm2d}
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if child in made:
                setattr(parent, name, made[child])
    return True


@contextmanager
def side_by_side(module: nn.Module, views: int) -> Iterator[None]:
    """Within this context every `ViewNorm` of ``module`` takes its input as that many views."""
    norms = [norm for norm in module.modules() if isinstance(norm, ViewNorm)]
    for norm in norms:
        norm.views = views
    try:
        yield
    finally:
        for norm in norms:
            norm.views = 1
