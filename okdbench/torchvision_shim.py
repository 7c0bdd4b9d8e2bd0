"""The only module that imports torchvision directly.

The registry's torchvision wheel beside a CPU build of torch cannot load its compiled operators (they need CUDA
libraries), so ``import torchvision`` ends with "operator torchvision::nms does not exist" when it registers shape
functions for them. Declaring the two missing schemas first lets the import pass; everything this project uses (data
sets and image transforms) is plain Python and works. Where torchvision loads by itself nothing is declared.
"""

import torch

_BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    # Kept for the life of the process: the operators vanish with the library object.
    _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for _name in ("nms", "qnms"):
        _library.define(_name + _BOXES)  # type: ignore[no-untyped-call]
    import torchvision

from torchvision.transforms import v2  # noqa: E402

datasets, transforms = torchvision.datasets, torchvision.transforms

__all__ = ["datasets", "torchvision", "transforms", "v2"]
