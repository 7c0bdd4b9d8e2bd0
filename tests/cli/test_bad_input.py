"""Whatever is wrong with an input: one line that names file, key and remedy, exit status 2, and no traceback."""

import re

import pytest
from bad_input import BadInput, every
from commandline import Command

CASES = list(every())
HIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture
def loaded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found once and kept is looked for again, with plugins and afterwards without them."""
    from okdbench import methods, networks
    from okdbench.methods import registry as of_methods
    from okdbench.networks import registry as of_networks

    monkeypatch.delenv("OKDBENCH_PLUGINS", raising=False)
    cached = (of_methods._found, methods.available, of_networks._found, networks.available)
    for each in cached:
        each.cache_clear()
    yield
    for each in cached:
        each.cache_clear()


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 120
    assert len({(case.kind, case.what) for case in CASES}) == len(CASES)


@pytest.mark.usefixtures("loaded_anew")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.what:.50}")
def test_bad_input(case: BadInput, okdbench: Command, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    case.prepare(tmp_path)
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value)
    status, out, err = okdbench(*case.words)
    assert (status, out) == (2, "")
    said = " ".join(err.replace("│", " ").split())
    for text in case.says:
        assert text in said, err
    assert not HIDDEN.search(err) and "Traceback" not in err
    assert len(err) < 20_000 and max(map(len, err.splitlines())) < 1_500
