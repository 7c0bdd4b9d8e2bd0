"""Finding data sets: every module of this folder may offer a list ``DATASETS``; nothing is registered by hand."""

import importlib
import pkgutil
from functools import cache

import okdbench.data
from okdbench.data.base import FULL_PREFIX, SYNTHETIC_PREFIX, Dataset
from okdbench.data.synthetic import imitate
from okdbench.errors import UsageError, did_you_mean


@cache
def available() -> dict[str, Dataset]:
    """Return all data sets of real images by name, sorted; each has a synthetic stand-in called ``synthetic-NAME``."""
    found: dict[str, Dataset] = {}
    for info in pkgutil.iter_modules(okdbench.data.__path__):
        module = importlib.import_module(f"okdbench.data.{info.name}")
        found.update({dataset.name: dataset for dataset in getattr(module, "DATASETS", ())})
    return dict(sorted(found.items()))


def get(name: str) -> Dataset:
    """Return the data set, or synthetic stand-in, of that name; raise UsageError with a suggestion if unknown."""
    real = available()
    if name in real:
        return real[name]
    if name.startswith(FULL_PREFIX) and (imitated := real.get(name.removeprefix(FULL_PREFIX))) and imitated.read:
        return imitate(imitated, full=True)
    if name.removeprefix(SYNTHETIC_PREFIX) in real:
        return imitate(real[name.removeprefix(SYNTHETIC_PREFIX)])
    choices = [SYNTHETIC_PREFIX + each for each in real] if name.startswith(SYNTHETIC_PREFIX) else list(real)
    raise UsageError(f'unknown data set "{name}": {did_you_mean(name, choices)}')
