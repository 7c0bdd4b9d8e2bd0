"""The packages that okdbench needs, and those that its optional extras bring, as its installation declares them."""

import re
import shlex
from importlib import metadata

OWN = ""
"""Stands for what every installation needs, in place of an extra's name."""


def declared() -> dict[str, dict[str, str]]:
    """Return by extra, with `OWN` first, the packages with their requirements (``ray>=2.40``).

    Nothing is known of a checkout that is not installed.
    """
    try:
        requirements = metadata.requires("okdbench") or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, dict[str, str]] = {OWN: {}}
    for each in requirements:
        wanted, _, condition = (part.strip() for part in each.partition(";"))
        extra = re.search(r"extra == ['\"](\w+)['\"]", condition)
        found.setdefault(extra[1] if extra else OWN, {})[re.split(r"[^\w.-]", wanted)[0]] = wanted
    return found


def install_command(extra: str, package: str) -> str:
    """Return the command that installs an extra's packages, or that one where nothing is known of the extra.

    They are named one by one, because okdbench is on no package index, where pip would look for an extra by its name.
    """
    return f"pip install {shlex.join(declared().get(extra, {package: package}).values())}"
