"""Tests run on one thread each: several of them run at once, and torch's threads would fight."""

import os

import matplotlib
import pytest
import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    """Keep what is worked out once (see `okdbench.kept`) apart from the user's: tests put other code in its place."""
    if cache := getattr(config, "cache", None):
        os.environ.setdefault("MPLCONFIGDIR", matplotlib.get_cachedir())
        os.environ["XDG_CACHE_HOME"] = str(cache.mkdir("user"))
