"""Data sets: found by name, packed once, kept on the training device and augmented there, or streamed."""

from typing import TYPE_CHECKING

from okdbench import lazy

if TYPE_CHECKING:
    from okdbench.data.base import Dataset, Files, ImageFiles, Images
    from okdbench.data.decode import problems
    from okdbench.data.limits import image_problems
    from okdbench.data.normalisation import PRESETS, Augmentation, augmentation
    from okdbench.data.packing import Status, check, listed, load_packed, pack, packing_state, present
    from okdbench.data.plan import (
        ClassBatches,
        EpochBatches,
        EpochPlan,
        epoch_order,
        epoch_plan,
        hold_out,
        subset_indices,
    )
    from okdbench.data.policies import POLICIES, Policy, apply_policies, policy_numbers, policy_of_each_view
    from okdbench.data.registry import available, get
    from okdbench.data.store import ImageStore, Normalise
    from okdbench.data.streaming import Centre, Crops, stream

__all__ = [
    "POLICIES",
    "PRESETS",
    "Augmentation",
    "Centre",
    "ClassBatches",
    "Crops",
    "Dataset",
    "EpochBatches",
    "EpochPlan",
    "Files",
    "ImageFiles",
    "ImageStore",
    "Images",
    "Normalise",
    "Policy",
    "Status",
    "apply_policies",
    "augmentation",
    "available",
    "check",
    "epoch_order",
    "epoch_plan",
    "get",
    "hold_out",
    "image_problems",
    "listed",
    "load_packed",
    "pack",
    "packing_state",
    "policy_numbers",
    "policy_of_each_view",
    "present",
    "problems",
    "stream",
    "subset_indices",
]

__getattr__ = lazy.attributes(
    __name__,
    base="Dataset Files ImageFiles Images",
    decode="problems",
    limits="image_problems",
    normalisation="PRESETS Augmentation augmentation",
    packing="Status check listed load_packed pack packing_state present",
    plan="ClassBatches EpochBatches EpochPlan epoch_order epoch_plan hold_out subset_indices",
    policies="POLICIES Policy apply_policies policy_numbers policy_of_each_view",
    registry="available get",
    store="ImageStore Normalise",
    streaming="Centre Crops stream",
)
