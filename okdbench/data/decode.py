"""Image files of others, decoded within limits: JPEG and PNG, regular files, of a size that fits into memory."""

import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

from okdbench.data.base import Files

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG")
ENDINGS = (".jpg", ".jpeg", ".png")
LARGEST_FILE = 1 << 26
"""Bytes of one image file, in a folder or an archive."""


def open_regular(path: Path) -> IO[bytes]:
    """Open a file to read; raise OSError for anything else, also for a pipe, on which others would wait for ever."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(handle, "rb") if stat.S_ISREG(os.fstat(handle).st_mode) else None
    if file is None:
        os.close(handle)
        raise OSError("is not a file")
    return file


def decode_rgb(source: Path | bytes) -> "Image":
    """Return the image, whole, in RGB; raise ValueError with the reason where it cannot be read.

    It must be in one of `FORMATS`, whatever the file's name says, and have no more bytes than `LARGEST_FILE` and no
    more pixels than Pillow's limit.
    """
    from PIL import Image

    try:
        opened = BytesIO(source) if isinstance(source, bytes) else open_regular(source)
        with opened as file:
            if (size := file.seek(0, os.SEEK_END)) > LARGEST_FILE:
                raise ValueError(f"{size:,} bytes")
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > (Image.MAX_IMAGE_PIXELS or 0):
                    raise ValueError(f"{image.width:,} x {image.height:,} pixels")
                return image.convert("RGB")
    except Exception as error:  # whatever damaged files make Pillow's decoders raise
        why = " ".join(str(error).split()) or type(error).__name__
        raise ValueError("not a JPEG or PNG file" if why.startswith("cannot identify") else why[:200]) from None


def image_names(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the images in a folder, sorted, and those of other files; hidden files are neither.

    Raise OSError for a link to nothing.
    """
    images, others = list[str](), list[str]()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and not Path(entry.path).exists():
                raise OSError(f"{entry.name} is a link to nothing")
            is_image = entry.name.lower().endswith(ENDINGS) and entry.is_file()
            (images if is_image else others).append(entry.name)
    return sorted(images), sorted(others)


def problems(files: Files) -> Iterator[str | None]:
    """For every file what is wrong with it, None where it is whole; decoded by as many threads as there are cores."""
    with ThreadPoolExecutor() as pool:
        yield from pool.map(_problem, file_paths(files))


def file_paths(files: Files) -> Iterable[Path]:
    """Return the paths of the files, in their order."""
    return (files.folder / os.fsdecode(bytes(name)) for name in files.names)


def _problem(path: Path) -> str | None:
    try:
        decode_rgb(path)
    except ValueError as error:
        return f"{path}: {error}"
    return None
