"""Downloading one file with a progress line."""

import hashlib
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path

from okdbench.errors import UsageError
from okdbench.files import atomic_write

_CHUNK = 1 << 20


def download(url: str, destination: Path, md5: str) -> None:
    """Fetch ``url`` into ``destination``, which appears only when it is complete and has the official MD5.

    Progress goes to standard error. Raise UsageError when the download fails or has another MD5.
    """
    try:
        sys.stderr.write(f"{url} -> {destination}\n")
        with urllib.request.urlopen(url, timeout=60) as response, atomic_write(destination, "wb") as file:
            total = int(response.headers.get("Content-Length") or 0)
            digest = hashlib.md5(usedforsecurity=False)
            done = 0
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                _show(destination.name, done, total)
            if digest.hexdigest() != md5:
                raise UsageError(
                    f"{url}: the download of {done:,} bytes is cut short or not the official file; try again"
                )
    except (OSError, HTTPException) as error:
        raise UsageError(
            f"{url}: download failed ({error}); try again, or fetch the file yourself and put it at {destination}"
        ) from error


def _show(name: str, done: int, total: int) -> None:
    """One line that a terminal overwrites; nothing in a log."""
    if sys.stderr.isatty():
        share = f"{100 * done / total:3.0f}% of {total / 1e6:.0f} MB" if total else f"{done / 1e6:.0f} MB"
        sys.stderr.write(f"\r{name}: {share}" + ("\n" if done == total else ""))
        sys.stderr.flush()
