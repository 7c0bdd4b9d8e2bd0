"""Data sets: found by name, packed once, kept on the training device and augmented there, or streamed."""

from okdbench.data.base import Dataset, Files, ImageFiles, Images
from okdbench.data.decode import problems
from okdbench.data.normalisation import PRESETS, Augmentation, augmentation
from okdbench.data.packing import Status, check, listed, load_packed, pack, packing_state, present
from okdbench.data.plan import ClassBatches, EpochBatches, EpochPlan, epoch_order, epoch_plan, hold_out, subset_indices
from okdbench.data.registry import available, get
from okdbench.data.store import ImageStore, Normalise
from okdbench.data.streaming import Centre, Crops, stream

__all__ = [
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
    "Status",
    "augmentation",
    "available",
    "check",
    "epoch_order",
    "epoch_plan",
    "get",
    "hold_out",
    "listed",
    "load_packed",
    "pack",
    "packing_state",
    "present",
    "problems",
    "stream",
    "subset_indices",
]
