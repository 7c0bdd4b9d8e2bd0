"""Architectures: each a recipe for building stem + stages + head, found by name."""

from typing import TYPE_CHECKING

from okdbench import lazy

if TYPE_CHECKING:
    from okdbench.networks.base import (
        Architecture,
        AuxiliaryExit,
        Branch,
        Branched,
        ClassifierHead,
        Late,
        Parts,
        Separate,
        Single,
        Trace,
        Trunk,
        fold_views,
        fork,
    )
    from okdbench.networks.names import NetworkName
    from okdbench.networks.precision import counted_together, counting_norms, has_dropout, set_compute_dtype
    from okdbench.networks.registry import available, get, several, version

__all__ = [
    "Architecture",
    "AuxiliaryExit",
    "Branch",
    "Branched",
    "ClassifierHead",
    "Late",
    "NetworkName",
    "Parts",
    "Separate",
    "Single",
    "Trace",
    "Trunk",
    "available",
    "counted_together",
    "counting_norms",
    "fold_views",
    "fork",
    "get",
    "has_dropout",
    "set_compute_dtype",
    "several",
    "version",
]

__getattr__ = lazy.attributes(
    __name__,
    base="Architecture AuxiliaryExit Branch Branched ClassifierHead Late Parts Separate Single Trace Trunk fold_views "
    "fork",
    names="NetworkName",
    precision="counted_together counting_norms has_dropout set_compute_dtype",
    registry="available get several version",
)
