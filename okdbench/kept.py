"""What takes long to work out and depends on the code and a key alone, kept in the user's cache folder."""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from okdbench.errors import UsageError
from okdbench.files import atomic_write, clear_temporaries

LIBRARIES = ("torch", "timm", "pydantic")

T = TypeVar("T")


def cache_folder(name: str) -> Path:
    """Return okdbench's part of the user's cache folder for one purpose; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "okdbench" / name


def kept(name: str, key: str | None, kind: type[T], work_out: Callable[[], T]) -> T:
    """Return what ``work_out`` returns, from the cache folder where this code has worked it out for ``key`` before.

    Without a key, for what depends on more than a key can tell, it is worked out each time. A file there that cannot be
    read or written is no mistake of the user's: the value is worked out.
    """
    if key is None:
        return work_out()
    adapter = TypeAdapter(kind)
    path = cache_folder(name) / f"{hashlib.sha256(f'{_code()} {key}'.encode()).hexdigest()}.json"
    try:
        return adapter.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        value = work_out()
    try:
        clear_temporaries(path.parent, path.name)
        with atomic_write(path, "wb", durable=False) as file:
            file.write(adapter.dump_json(value))
    except (OSError, UsageError):
        pass
    return value


@cache
def _code() -> str:
    """Return a hash of okdbench's own code and the versions of what its answers are made of."""
    libraries = sorted(each for each in LIBRARIES if find_spec(each))
    digest = hashlib.sha256(" ".join(map(version, libraries)).encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
