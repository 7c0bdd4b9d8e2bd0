"""Distillation methods, one file each, found by name."""

from typing import TYPE_CHECKING

from okdbench import lazy

if TYPE_CHECKING:
    from okdbench.methods.base import Batch, Build, Method, MethodConfig, ParameterGroup, Progress
    from okdbench.methods.registry import available, configure, get, heads, make, origins

__all__ = [
    "Batch",
    "Build",
    "Method",
    "MethodConfig",
    "ParameterGroup",
    "Progress",
    "available",
    "configure",
    "get",
    "heads",
    "make",
    "origins",
]

__getattr__ = lazy.attributes(
    __name__,
    base="Batch Build Method MethodConfig ParameterGroup Progress",
    registry="available configure get heads make origins",
)
