import os
from collections.abc import Callable
from pathlib import Path

import pytest

from okdbench.data import get


@pytest.fixture
def original() -> Callable[[str], Path]:
    """Where the original files of a data set lie, in OKDBENCH_TEST_DATA or ./data; skips the test without them."""

    def find(name: str) -> Path:
        root = Path(os.environ.get("OKDBENCH_TEST_DATA", "data"))
        found = get(name).found(root)
        if found is None:
            pytest.skip(f"the images of {name} are not in {root} (set OKDBENCH_TEST_DATA)")
        return found

    return find
