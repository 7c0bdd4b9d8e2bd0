"""The Python packages that the GPU machine's image lacks: carried as wheels."""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

LACKING = ("pydantic", "msgspec")
"""With what they need: annotated-types, pydantic-core, typing-extensions, typing-inspection."""
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def download(folder: Path) -> list[str]:
    """Fill the folder with wheels for the GPU machine; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--python-version", PYTHON]
    command += ["--implementation", "cp", *(f"--platform={platform}" for platform in PLATFORMS)]
    subprocess.run([*command, "--dest", str(folder), "--constraint", str(CONSTRAINTS), *LACKING], check=True)
    return sorted(wheel.name for wheel in folder.glob("*.whl"))


def unpacked(wheels: Path, folder: Path) -> Path | None:
    """Unpack the wheels to ``folder`` and return it; None where this Python has the packages anyway."""
    if all(map(importlib.util.find_spec, LACKING)):
        return None
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder
