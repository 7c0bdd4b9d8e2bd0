"""Architectures: each a recipe for building stem + stages + head, found by name."""

from okdbench.networks.base import Architecture, Branch, Branched, Head, Parts, Separate, Single, Trace, Trunk
from okdbench.networks.registry import available, get

__all__ = [
    "Architecture",
    "Branch",
    "Branched",
    "Head",
    "Parts",
    "Separate",
    "Single",
    "Trace",
    "Trunk",
    "available",
    "get",
]
