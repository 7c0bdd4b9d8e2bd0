"""Writing files so that a crash never leaves half of one."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: Path, mode: str = "w", durable: bool = True) -> Iterator[IO[Any]]:
    """Open a temporary neighbour of ``path``; when the block ends without error, fsync it and rename it into place.

    If not ``durable``, this does not wait until the disk has it: a machine that fails may lose it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open(mode) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Write ``value`` as readable JSON with sorted keys, as `atomic_write` does."""
    with atomic_write(path, durable=durable) as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.write("\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; OSError or ValueError if it is absent or damaged."""
    return json.loads(path.read_text())
