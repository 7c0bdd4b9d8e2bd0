"""The identity of runs whose method or network comes from a plugin (a stub stands for the worker)."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from commandline import Command

from okdbench import methods, networks, plugins
from okdbench.plan import Run, Selection, expand
from okdbench.recipe import available, load

METHOD = """
from okdbench.methods.baseline import Baseline

class Mine(Baseline):
    name = "mine"
"""
NETWORK = """
from dataclasses import replace
from okdbench.networks import resnet

ARCHITECTURES = [replace(resnet.ARCHITECTURES[0], name="plain")]
"""


def forget() -> None:
    """What a new process would not know."""
    for cached in (plugins._module, *(each.registry._found for each in (methods, networks))):
        cached.cache_clear()
    for each in (methods, networks):
        each.available.cache_clear()


@pytest.fixture
def runs(okdbench: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., list[Run]]]:
    """The runs of mine.yaml, two methods on two networks, as a new process plans them with these plugin files."""
    content = yaml.safe_load(available()["quickstart"].read_text())
    content |= {"overrides": [], "seeds": [0], "protocol": {"default": {"head": "deployed", "epoch": "last"}}}
    content["grid"] |= {"network": ["resnet8", "plain"], "method": ["baseline", "mine"]}
    content["table"] = {"rows": "method", "columns": "network"}
    Path("mine.yaml").write_text(yaml.safe_dump(content))

    def runs(**files: str) -> list[Run]:
        monkeypatch.setenv(plugins.VARIABLE, "")
        forget()
        for name, text in files.items():
            Path(f"{name}.py").write_text(text)
            plugins.add(Path(f"{name}.py"))
        return list(expand(load("mine.yaml"), Selection()).runs)

    yield runs
    forget()


def by_name(runs: list[Run]) -> dict[tuple[str, str], Run]:
    return {(run.config.network, run.config.method): run for run in runs}


def test_the_content_of_a_plugin_is_part_of_the_identity(runs: Callable[..., list[Run]]) -> None:
    before = by_name(runs(method=METHOD, network=NETWORK))
    assert {key: run.id for key, run in by_name(runs(method=METHOD, network=NETWORK)).items()} == {
        key: run.id for key, run in before.items()
    }
    changed = by_name(runs(method=METHOD + "# changed\n", network=NETWORK))
    for key, run in changed.items():
        assert (run.id == before[key].id) == (key[1] == "baseline"), key
    changed = by_name(runs(method=METHOD, network=NETWORK + "# changed\n"))
    for key, run in changed.items():
        assert (run.id == before[key].id) == (key[0] == "resnet8"), key


def test_runs_without_a_plugin_of_their_own_are_the_same_beside_one(runs: Callable[..., list[Run]]) -> None:
    [alone] = runs()
    with_plugins = by_name(runs(method=METHOD, network=NETWORK))[("resnet8", "baseline")]
    assert alone.id == with_plugins.id and alone.config.plugins is None


def test_a_file_of_the_same_size_and_time_is_still_another_file(runs: Callable[..., list[Run]]) -> None:
    versions = []
    for number in (1, 2):
        runs(method=METHOD + f"number = {number}\n")
        module, version = plugins.offers("okdbench.methods")[-1]
        assert module.number == number, "not what an older bytecode says"
        versions.append(version)
    assert versions[0] != versions[1]


@pytest.mark.usefixtures("stubbed")
def test_a_changed_plugin_trains_again(runs: Callable[..., list[Run]], okdbench: Command) -> None:
    words = ("mine.yaml", "-m", "mine", "-n", "resnet8")
    runs(method=METHOD, network=NETWORK)
    assert "1 run to train" in okdbench("run", *words).out
    runs(method=METHOD, network=NETWORK)
    assert okdbench("run", *words).out.startswith("1 run: 1 finished\n")
    runs(method=METHOD + "# changed\n", network=NETWORK)
    assert "1 run: 1 pending" in okdbench("run", *words, "--dry-run").out
    assert "1 run to train" in okdbench("run", *words).out
    plans = [json.loads(path.read_text())["plugins"] for path in Path("results/mine").glob("*/config.json")]
    assert len(plans) == 2 and all(list(each) == ["method mine"] for each in plans) and plans[0] != plans[1]


def test_a_package_counts_with_its_version(runs: Callable[..., list[Run]], monkeypatch: pytest.MonkeyPatch) -> None:
    from okdbench.methods.baseline import Baseline

    kind = type("Theirs", (Baseline,), {"name": "theirs"})
    distribution = SimpleNamespace(name="their-package", version="1.2")
    entry = SimpleNamespace(name="theirs", dist=distribution, load=lambda: kind)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == "okdbench.methods" else [])
    forget()
    assert methods.origins("theirs", "resnet8+resnet20") == {"method theirs": "their-package 1.2"}
    assert methods.origins("baseline", "resnet8") is None
