"""``okdbench doctor``: whether everything that a run needs is in place."""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import typer

import okdbench
from okdbench.cli.options import Places, command, data_arguments, grouped
from okdbench.cli.output import count, say
from okdbench.errors import UsageError

PROBLEM = 1
ENOUGH_BYTES = 1_000_000_000
"""Free space for the packed images of all data sets and the checkpoints of a few runs."""


@dataclass(frozen=True)
class Line:
    """One line: what was checked, what was found, and the remedy for a note or a problem (which prevents running)."""

    level: Literal["ok", "note", "problem"]
    subject: str
    text: str
    remedy: str = ""


@grouped
def doctor(places: Places) -> None:
    """Check versions, device, disk, folders, images and recipes.

    Exit status 1 if something prevents running; notes do not.

    Examples:
      okdbench doctor
      okdbench doctor --data /mnt/images --results /mnt/results
    """
    styles = {"ok": "green", "note": "yellow", "problem": "bold red"}
    problems = 0
    checks: list[Callable[[], Iterator[Line]]] = [
        _versions,
        _torch,
        _torchvision,
        _cores,
        lambda: _folder("results", places.results),
        lambda: _folder("data", places.data),
        lambda: _images(places.data),
        _recipes,
    ]
    for check in checks:
        for finding in check():
            problems += finding.level == "problem"
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            say(f"{finding.level:<8} {finding.subject}: {finding.text}{remedy}", style=styles[finding.level])
    say(f"{count(problems, 'problem')}" if problems else "everything that a run needs is in place")
    if problems:
        raise typer.Exit(PROBLEM)


def _versions() -> Iterator[Line]:
    """Report the versions of okdbench, Python and the libraries."""
    yield Line("ok", "okdbench", f"{okdbench.__version__} in {Path(okdbench.__file__).parent}")
    yield Line("ok", "python", f"{platform.python_version()} on {platform.platform()}")
    found, missing = [], []
    for name in _required():
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    yield Line("ok", "libraries", ", ".join(found) or "unknown, because okdbench is not installed as a package")
    if missing:
        yield Line("problem", "libraries", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")


def _required() -> list[str]:
    """Return the libraries that okdbench declares, without those of its extras."""
    try:
        declared = metadata.requires("okdbench") or []
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return []
    return [re.split(r"[^\w.-]", each)[0] for each in declared if "extra ==" not in each]


def _torch() -> Iterator[Line]:
    """Check whether torch loads, and report the devices that it can train on."""
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Line(
            "problem", "torch", f"does not load ({error})", "install it again: pip install --force-reinstall torch"
        )
        return
    if not torch.cuda.is_available():
        built = "this torch is built without CUDA" if torch.version.cuda is None else "CUDA sees no GPU"
        yield Line("ok", "device", f"cpu ({built})")
        return
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        yield Line("ok", "device", f"cuda:{index}, {torch.cuda.get_device_name(index)}, {memory:.0f} GiB")


def _torchvision() -> Iterator[Line]:
    """Check whether torchvision loads through `okdbench.torchvision_shim`."""
    try:
        import okdbench.torchvision_shim  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        line = " ".join(str(error).split())
        remedy = "install the version that fits torch (see constraints.txt)"
        yield Line("problem", "torchvision", f"does not load ({line})", remedy)
    else:
        yield Line("ok", "torchvision", "loads")


def _cores() -> Iterator[Line]:
    """Report the cores that --jobs divides."""
    from okdbench.engines import usable_cores

    yield Line("ok", "cores", f"{usable_cores()} usable of {os.cpu_count()}; run divides them by --jobs")


def _folder(name: str, folder: Path) -> Iterator[Line]:
    """Check whether a folder, or the one that will contain it, can be written to and has space."""
    remedy = f"choose another folder with --{name} or OKDBENCH_{name.upper()}"
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        yield Line("problem", name, f"{folder.absolute()}: cannot be written ({error.strerror})", remedy)
        return
    free = shutil.disk_usage(existing).free
    made = "" if existing == folder.absolute() else " (to be created)"
    text = f"{folder.absolute()}{made}: can be written, {free / 1e9:.1f} GB free"
    yield Line("ok", name, text) if free >= ENOUGH_BYTES else Line("note", name, text, "make space, or " + remedy)


def _images(data: Path) -> Iterator[Line]:
    """Report which data sets are present; an absent one prevents only its own runs."""
    from okdbench.data import available, packing_state

    for name, dataset in available().items():
        state, path = packing_state(name, data)
        if state == "corrupt":
            remedy = command("data", "pack", name, "--force", *data_arguments(data))
            yield Line("problem", f"images of {name}", f"{path}: damaged or cut short", remedy)
        elif state == "absent":
            remedy = (
                f"fetch them: {command('data', 'fetch', name, *data_arguments(data))}"
                if dataset.fetch
                else f"put them there as {dataset.layout}"
            )
            yield Line("note", f"images of {name}", "absent", remedy)
        else:
            yield Line("ok", f"images of {name}", f"{state}, {path}")


def _recipes() -> Iterator[Line]:
    """Check whether the recipes are found and valid."""
    from okdbench.recipe import available, load

    names, invalid = list(available()), []
    for name in names:
        try:
            load(name)
        except UsageError:
            invalid.append(name)
    if not names:
        yield Line("problem", "recipes", "none found beside the package", "install okdbench again")
    elif invalid:
        remedy = f"see every mistake: {command('validate', 'all')}"
        yield Line("problem", "recipes", f"invalid: {', '.join(invalid)}", remedy)
    else:
        yield Line("ok", "recipes", f"{len(names)} found, all valid: {', '.join(names)}")
