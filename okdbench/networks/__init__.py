"""Architectures: each a recipe for building stem + stages + head, found by name."""

from okdbench.networks.base import Architecture, Branch, Branched, Head, Parts, Separate, Single, Trace, Trunk, fork
from okdbench.networks.registry import available, get, several, version

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
    "fork",
    "get",
    "several",
    "version",
]
