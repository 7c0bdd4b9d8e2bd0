"""Downloading one file."""

import hashlib
import urllib.request
from http.client import HTTPException
from pathlib import Path

from okdbench.errors import UsageError
from okdbench.files import atomic_write
from okdbench.progress import progress

_CHUNK = 1 << 20


def md5_of(path: Path) -> str:
    """Return the MD5 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def wrong_md5(path: Path, found: str, official: str) -> str:
    """Return the message about a file that is not the official one, which could not be downloaded again."""
    return f"{path}: has the MD5 {found}, the official file has {official}; delete it and fetch it again"


def download(url: str, destination: Path, md5: str) -> None:
    """Fetch ``url`` into ``destination``, which appears only when it is complete and has the official MD5.

    Raise UsageError when the download fails or has another MD5.
    """
    try:
        with urllib.request.urlopen(url, timeout=60) as response, atomic_write(destination, "wb") as file:
            total = int(response.headers.get("Content-Length") or 0)
            digest = hashlib.md5(usedforsecurity=False)
            done = 0
            with progress(f"fetching {destination.name}", total or None, in_bytes=True) as advance:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    advance(len(chunk))
            if digest.hexdigest() != md5:
                raise UsageError(
                    f"{url}: the download of {done:,} bytes is cut short or not the official file; try again"
                )
    except (OSError, HTTPException) as error:
        if destination.is_file() and (found := md5_of(destination)) != md5:
            raise UsageError(wrong_md5(destination, found, md5)) from error
        raise UsageError(
            f"{url}: download failed ({error}); try again, or fetch the file yourself and put it at {destination}"
        ) from error
