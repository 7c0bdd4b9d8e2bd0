"""The name of the device that runs are trained on, as records and measurements have it."""

import platform
from pathlib import Path


def device_name(device: str) -> str:
    """Return the name of a torch device, such as ``cpu`` or ``cuda:0``."""
    if not device.startswith("cuda"):
        return _processor()
    import torch

    return torch.cuda.get_device_name(device)


def gpu_count() -> int:
    """Return how many GPUs torch sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def main_device_name() -> str:
    """Return the name of the device that ``run`` uses if nothing else is said: the first GPU, else the CPU."""
    return device_name("cuda:0" if gpu_count() else "cpu")


def _processor() -> str:
    """Return the CPU's name as the kernel reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
