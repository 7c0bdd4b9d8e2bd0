"""What the Ray engine refuses before it connects; tests/services has a cluster."""

import re
import socket
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from okdbench.engines.ray import ENGINE
from okdbench.engines.registry import Request
from okdbench.errors import UsageError


def refused(**settings: Any) -> str:
    with pytest.raises(UsageError) as caught:
        ENGINE.make(Request(Path("images"), Path("results"), settings=settings))
    return str(caught.value)


@pytest.fixture
def with_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray counts as installed; it is not loaded before a cluster answers."""
    monkeypatch.setattr("importlib.metadata.version", lambda package: "2.60.0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.usefixtures("with_ray")
def test_settings_that_are_none_or_wrong() -> None:
    assert refused(adress="x") == '--engine ray: adress: is no setting of it; did you mean "address"?'
    assert refused(cpus=0) == "--engine ray: cpus: Input should be greater than or equal to 1"
    assert "--engine ray: nowhere: is no address of a cluster; give HOST:PORT" in refused(address="nowhere")


@pytest.mark.usefixtures("with_ray")
def test_an_address_at_which_nothing_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused(address=address)
    assert re.match(rf"--engine ray: no cluster answers at {address} \(.*\); start one with `ray start --head`", said)


def test_an_extra_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert re.fullmatch(r"--engine ray: needs the package ray: pip install 'ray>=[\d.]+'", refused())
