"""``okdbench doctor``: whether everything that a run needs is in place."""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

import okdbench
from okdbench import extras, machine
from okdbench.cli import options, settings
from okdbench.cli.options import Places, TextOrJson, command, data_arguments, grouped
from okdbench.cli.output import say, say_json, say_wrapped, verbosity
from okdbench.errors import UsageError
from okdbench.words import count

if TYPE_CHECKING:
    import torch

PROBLEM = 1
ENOUGH_BYTES = 1_000_000_000
"""Free space for the packed images of all data sets and the checkpoints of a few runs."""


@dataclass(frozen=True)
class Check:
    """One line: what was checked, what was found, and the remedy for a note or a problem (which prevents running)."""

    level: Literal["ok", "note", "problem"]
    subject: str
    text: str
    remedy: str = ""


@grouped
def doctor(context: typer.Context, places: Places, format: options.FormatOption = TextOrJson.text) -> None:
    """Check versions, device, configuration, folders, images and recipes.

    Exit status 1 if something prevents running; notes do not. With -v it also
    loads torchvision, which takes seconds.

    Examples:
      okdbench doctor
      okdbench doctor --data /mnt/images --results /mnt/results
      okdbench doctor --format json
    """
    styles = {"ok": "green", "note": "yellow", "problem": "bold red"}
    found: list[Check] = []
    checks: list[Callable[[], Iterator[Check]]] = [
        _versions,
        _extras,
        _torch,
        _determinism,
        _torchvision,
        _cores,
        _engines,
        lambda: _configuration(context.find_root().command),
        lambda: _folder("results", places.results),
        lambda: _folder("data", places.data),
        lambda: _images(places.data),
        _recipes,
    ]
    for check in checks:
        for finding in check():
            found.append(finding)
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            if format is TextOrJson.text:
                line = f"{finding.level:<8} {finding.subject}: {finding.text}{remedy}"
                say_wrapped(line, styles[finding.level], indent=9)
    problems = sum(each.level == "problem" for each in found)
    if format is TextOrJson.json:
        say_json("okdbench.doctor/1", {"problems": problems, "checks": [asdict(each) for each in found]})
    else:
        _conclude(problems)
    if problems:
        raise typer.Exit(PROBLEM)


def _conclude(problems: int) -> None:
    say(f"{count(problems, 'problem')}" if problems else "everything that a run needs is in place")


def _versions() -> Iterator[Check]:
    """Report the versions of okdbench, Python and the libraries."""
    yield Check("ok", "okdbench", f"{okdbench.__version__} in {Path(okdbench.__file__).parent}")
    yield Check("ok", "python", f"{platform.python_version()} on {platform.platform()}")
    found, missing = [], []
    for name in extras.declared().get(extras.OWN, ()):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    yield Check("ok", "libraries", ", ".join(found) or "unknown, because okdbench is not installed as a package")
    if missing:
        yield Check("problem", "libraries", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")


def _extras() -> Iterator[Check]:
    """Report which extras are installed; one that is not prevents only what needs it."""
    optional = {name: packages for name, packages in extras.declared().items() if name != extras.OWN}
    missing = {name: [each for each in packages if not _installed(each)] for name, packages in optional.items()}
    if present := [name for name, packages in missing.items() if not packages]:
        yield Check("ok", "extras", f"installed: {', '.join(present)}")
    for name, packages in missing.items():
        if packages:
            remedy = f"where it is needed: {extras.install_command(name, packages[0])}"
            yield Check("note", f"extra {name}", f"not installed: {', '.join(packages)}", remedy)


def _installed(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def _torch() -> Iterator[Check]:
    """Check whether torch loads, and report the devices that it can train on."""
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Check(
            "problem", "torch", f"does not load ({error})", "install it again: pip install --force-reinstall torch"
        )
        return
    if not torch.cuda.is_available():
        built = "this torch is built without CUDA" if torch.version.cuda is None else "CUDA sees no GPU"
        if (version := _driver()) and torch.version.cuda is None:
            remedy = "to train on the GPU, install a torch with CUDA: https://pytorch.org/get-started/locally"
            yield Check("note", "device", f"cpu ({built}, but there is NVIDIA's driver {version})", remedy)
        else:
            yield Check("ok", "device", f"cpu, {machine.device_name('cpu')} ({built})")
        return
    yield Check("ok", "driver", f"{_driver() or 'unknown'}, CUDA {torch.version.cuda}")
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        yield Check("ok", "device", f"cuda:{index}, {torch.cuda.get_device_name(index)}, {memory:.0f} GiB")


def _driver() -> str | None:
    """Return the version of NVIDIA's kernel driver, None if it is not loaded."""
    try:
        found = re.search(r"\b\d+\.\d+(\.\d+)?\b", Path("/proc/driver/nvidia/version").read_text())
    except OSError:
        return None
    return found[0] if found else None


def _determinism() -> Iterator[Check]:
    """Train a small network twice for a few steps and compare the bits."""
    try:
        import torch

        from okdbench.runs.execution import Algorithms
        from okdbench.training.computation import configure_process
    except (ImportError, OSError):
        return  # as `_torch` reports
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    before = torch.get_deterministic_debug_mode()
    configure_process(Algorithms.deterministic, device)
    same = all(torch.equal(a, b) for a, b in zip(_few_steps(device), _few_steps(device), strict=True))
    torch.set_deterministic_debug_mode(before)
    if same:
        yield Check("ok", "determinism", f"the same weights, bit by bit, after training twice on {device.type}")
    else:
        remedy = "results can differ in the last digits between runs; try another version of torch or of the driver"
        yield Check("note", "determinism", f"training twice on {device.type} gave different weights", remedy)


def _few_steps(device: "torch.device") -> "list[torch.Tensor]":
    """Return the weights of a small network after a few steps on made-up images."""
    import torch
    from torch import nn

    draws = torch.Generator().manual_seed(0)
    images, labels = torch.randn(64, 3, 16, 16, generator=draws).to(device), torch.arange(64, device=device) % 10
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 10)
    )
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draws) / 16
    network.to(device)
    parameters = list(network.parameters())
    for _ in range(3):
        gradients = torch.autograd.grad(nn.functional.cross_entropy(network(images), labels), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=0.1)
    return [parameter.detach().cpu() for parameter in parameters]


def _torchvision() -> Iterator[Check]:
    """Check whether torchvision is made for the installed torch, and with -v, which takes seconds, whether it loads."""
    remedy = "install the version that fits torch (see constraints.txt)"
    try:
        needed = [each for each in metadata.requires("torchvision") or [] if re.match(r"torch\s*==", each)]
        found, torch_version = metadata.version("torchvision"), metadata.version("torch").partition("+")[0]
    except metadata.PackageNotFoundError:
        return  # as `_versions` reports
    wanted = needed[0].partition("==")[2].partition(";")[0].strip() if needed else torch_version
    if wanted != torch_version:
        yield Check("problem", "torchvision", f"{found} is made for torch {wanted}, not {torch_version}", remedy)
        return
    if verbosity.verbose:
        try:
            import okdbench.torchvision_shim  # noqa: F401
        except (ImportError, RuntimeError, OSError) as error:
            yield Check("problem", "torchvision", f"does not load ({' '.join(str(error).split())})", remedy)
            return
    loads = " and loads" if verbosity.verbose else ""
    yield Check("ok", "torchvision", f"{found} is made for torch {torch_version}{loads}")


def _cores() -> Iterator[Check]:
    """Report the cores that --jobs divides."""
    from okdbench.engines import usable_cores

    yield Check("ok", "cores", f"{usable_cores()} of {os.cpu_count()} usable; run divides them by --jobs")


def _engines() -> Iterator[Check]:
    """Report of each engine whether it can be used here, and its settings."""
    from okdbench.engines import registry

    try:
        given = {(each.verb[-1], each.option): each.value for each in settings.engines()}
    except UsageError:  # as `_configuration` reports
        given = {}
    for name in registry.available():
        try:
            found = registry.get(name).find()
        except UsageError as error:
            found = f"not here ({str(error).removeprefix(f'--engine {name}: ')})"
        own = ", ".join(f"{option} = {value!r}" for (engine, option), value in given.items() if engine == name)
        yield Check("ok", f"engine {name}", f"{found}; settings: {own}" if own else found)


def _configuration(program: Any) -> Iterator[Check]:
    """Report which files and variables give defaults of options; a wrong one stops every other verb."""
    known = settings.verbs(program)
    try:
        given = [*settings.given(known), *settings.engines()]
        settings.default_map(program)
    except UsageError as error:
        for line in str(error).splitlines():
            yield Check("problem", "configuration", line, "until that is corrected, only doctor and --help work")
        return
    sources = {str(path): 0 for path in settings.configuration_files()}
    for each in {(each.source, each.option): each for each in given}.values():
        sources[each.source] = sources.get(each.source, 0) + 1
    text = ", ".join(f"{source} ({count(number, 'value')})" for source, number in sources.items())
    yield Check(
        "ok", "configuration", text or f"no {settings.FILE}, here or in your configuration folder, no variables"
    )


def _folder(name: str, folder: Path) -> Iterator[Check]:
    """Check whether a folder, or the one that will contain it, can be written to and has space."""
    remedy = f"choose another folder with --{name} or OKDBENCH_{name.upper()}"
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        yield Check("problem", name, f"{folder.absolute()}: cannot be written ({error.strerror})", remedy)
        return
    free = shutil.disk_usage(existing).free
    made = "" if existing == folder.absolute() else " (to be created)"
    text = f"{folder.absolute()}{made}: can be written, {free / 1e9:.1f} GB free"
    yield Check("ok", name, text) if free >= ENOUGH_BYTES else Check("note", name, text, "make space, or " + remedy)


def _images(data: Path) -> Iterator[Check]:
    """Report which data sets are present; an absent one prevents only its own runs."""
    from okdbench.data import available, packing_state

    for name, dataset in available().items():
        state, path = packing_state(name, data)
        if state == "corrupt":
            remedy = command("data", "pack", name, "--force", *data_arguments(data))
            yield Check("problem", f"images of {name}", f"{path}: damaged or cut short", remedy)
        elif state == "absent":
            remedy = (
                f"fetch them: {command('data', 'fetch', name, *data_arguments(data))}"
                if dataset.fetch
                else f"put them there as {dataset.layout}"
            )
            yield Check("note", f"images of {name}", "absent", remedy)
        else:
            verified = ", its checksum is right" if state == "packed" else ""
            yield Check("ok", f"images of {name}", f"{state}, {path}{verified}")


def _recipes() -> Iterator[Check]:
    """Check whether the recipes are found and valid."""
    from okdbench.cli.plans import judged
    from okdbench.recipe import available

    names = list(available())
    invalid = [name for name in names if judged(name).mistakes]
    if not names:
        yield Check("problem", "recipes", "none found beside the package", "install okdbench again")
    elif invalid:
        remedy = f"see every mistake: {command('validate', 'all')}"
        yield Check("problem", "recipes", f"invalid: {', '.join(invalid)}", remedy)
    else:
        yield Check("ok", "recipes", f"{len(names)} found, all valid")
