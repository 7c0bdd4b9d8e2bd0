"""Images in: data sets found by name, packed once, kept on the training device and augmented there."""

from okdbench.data.base import Dataset, Images
from okdbench.data.normalisation import PRESETS, Augmentation, augmentation
from okdbench.data.packing import Status, load, pack, present, status
from okdbench.data.plan import EpochPlan, epoch_plan, hold_out, subset_indices
from okdbench.data.registry import available, get
from okdbench.data.store import ImageStore

__all__ = [
    "PRESETS",
    "Augmentation",
    "Dataset",
    "EpochPlan",
    "ImageStore",
    "Images",
    "Status",
    "augmentation",
    "available",
    "epoch_plan",
    "get",
    "hold_out",
    "load",
    "pack",
    "present",
    "status",
    "subset_indices",
]
