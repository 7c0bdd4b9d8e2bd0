"""Paths that the user gives, in options, variables and files: ``~`` is the home folder everywhere."""

from pathlib import Path

import typer


def any_path(text: str | Path) -> Path:
    """Return a path; a text that is empty, or ``~NAME`` of nobody, is wrong."""
    if not isinstance(text, str | Path):
        raise typer.BadParameter(f"{text} is not a path; put it in quotes")
    if not str(text).strip():
        raise typer.BadParameter("is empty; name a file or a folder")
    if "\0" in str(text):
        raise typer.BadParameter("has a character that no path can have; write it without")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise typer.BadParameter(f"{text}: there is no such user; write the folder without ~") from None


def folder(text: str | Path) -> Path:
    """Return the path of a folder, which need not exist; one of anything else is wrong."""
    path = any_path(text)
    if path.exists() and not path.is_dir():
        raise typer.BadParameter(f"{path} is not a folder; name a folder")
    return path


def new_file(text: str | Path) -> Path:
    """Return the path of a file to write, which may exist; that of a folder is wrong."""
    path = any_path(text)
    if path.is_dir() or str(text).endswith(("/", "/.")):
        raise typer.BadParameter(f"{path} is a folder; name a file in it")
    return path
