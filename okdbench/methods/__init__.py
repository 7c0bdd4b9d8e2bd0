"""Distillation methods, one file each, found by name."""

from okdbench.methods.base import Batch, Build, Method, MethodConfig, ParameterGroup, Progress
from okdbench.methods.registry import available, configure, get, make, origins

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
    "make",
    "origins",
]
