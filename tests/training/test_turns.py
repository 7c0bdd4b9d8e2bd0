"""Runs that take turns in one process: each ends as it does alone."""

from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path

import pytest
import torch
from endings import assert_same
from torch import nn

from okdbench import kinds, networks, worker
from okdbench.config import RunConfig
from okdbench.files import read_json
from okdbench.runs.folder import Exit, RunFolder
from okdbench.runs.interleave import Turns, drain, in_context, round_robin
from okdbench.runs.lease import held
from okdbench.training.backends import drawing_from, in_own_stream
from okdbench.training.memory import require_room

ALONE, TOGETHER = "alone", "together"
METHODS = ("baseline", "dkel", "dml")


def test_an_error_passes_through() -> None:
    def failing() -> Turns[None]:
        yield
        raise ValueError("out of luck")

    with pytest.raises(ValueError, match="out of luck"):
        drain(in_own_stream(failing(), torch.device("cpu")))


def folders(root: Path, place: str, configs: dict[str, RunConfig]) -> list[str]:
    """A folder for each run, as engines make them."""
    made = {name: root / place / name for name in configs}
    for name, folder in made.items():
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(configs[name].model_dump_json())
    return [str(folder) for folder in made.values()]


@pytest.fixture
def options(data_root: Path) -> list[str]:
    return ["--data", str(data_root), "--threads", "1"]


@pytest.mark.slow
def test_each_run_ends_as_it_does_alone(small, options, tmp_path) -> None:
    configs = {name: small(name) for name in METHODS}
    for folder in folders(tmp_path, ALONE, configs):
        assert worker.main([folder, *options]) == Exit.done
    unknown = small("baseline").model_copy(update={"dataset": "nonesuch"})
    several = folders(tmp_path, TOGETHER, {"baseline": configs["baseline"], "unknown": unknown, **configs})
    assert worker.main([*several, *options, "--jobs", "4"]) == Exit.failed
    for name in METHODS:
        assert_same(tmp_path / ALONE / name, tmp_path / TOGETHER / name)
        assert read_json(tmp_path / TOGETHER / name / "record.json")["environment"]["jobs"] == 4
        assert "eager backend" in (tmp_path / TOGETHER / name / "log.txt").read_text()
    broken = tmp_path / TOGETHER / "unknown"
    assert "nonesuch" in read_json(broken / "failure.json")["error"]
    assert "Traceback" in (broken / "log.txt").read_text()


def stop_after(looks: int) -> Callable[[], bool]:
    """Answers no ``looks`` times, and then that somebody wants the worker to stop."""
    answers = chain(repeat(False, looks), repeat(True))
    return lambda: next(answers)


def test_interrupted_in_the_middle_all_continue(small, options, tmp_path, monkeypatch) -> None:
    configs = {name: small(name) for name in METHODS[:2]}
    for folder in folders(tmp_path, ALONE, configs):
        assert worker.main([folder, *options]) == Exit.done
    several = folders(tmp_path, TOGETHER, configs)
    training, stop = kinds.get("training"), stop_after(7)
    execute = training.execute
    with monkeypatch.context() as patched:
        patched.setattr(training, "execute", lambda run, folder, how, _, *more: execute(run, folder, how, stop, *more))
        assert worker.main([*several, *options, "--jobs=2"]) == Exit.interrupted
    for name in configs:
        assert RunFolder(tmp_path / TOGETHER / name).checkpoints
        assert not (tmp_path / TOGETHER / name / "record.json").exists()
    assert worker.main([*several, *options, "--jobs=2"]) == Exit.done
    for name in configs:
        assert_same(tmp_path / ALONE / name, tmp_path / TOGETHER / name)


def test_one_that_is_in_work_is_left_to_whoever_has_it(small, options, tmp_path) -> None:
    busy, free = folders(tmp_path, TOGETHER, {name: small("baseline") for name in ("busy", "free")})
    with held(Path(busy)) as lease:
        assert lease and worker.main([busy, free, *options]) == Exit.busy
    assert not (Path(busy) / "record.json").exists() and (Path(free) / "record.json").exists()


def test_too_many_for_the_memory_are_all_refused(small, options, tmp_path, monkeypatch) -> None:
    def execute(*_: object) -> Turns[None]:
        require_room(3, peak=2 * 10**9, free=3 * 10**9)
        yield

    several = folders(tmp_path, TOGETHER, {name: small(name) for name in METHODS})
    monkeypatch.setattr(kinds.get("training"), "execute", execute)
    assert worker.main([*several, *options, "--jobs=3"]) == Exit.failed
    message = "a run needs 2.0 GB or more, and 3.0 GB are free beside the first; choose 2 or fewer"
    for folder in several:
        assert RunFolder(Path(folder)).reason == f"--jobs-per-device 3: {message}"


def test_what_fits_is_not_refused() -> None:
    require_room(3, peak=10, free=20)
    require_room(1, peak=10, free=0)


def test_several_processes_take_one_run(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit):
        worker.main([str(tmp_path), str(tmp_path), "--data", str(tmp_path), "--processes", "2"])
    assert "several processes train one run at a time" in capsys.readouterr().err


class OwnState(torch.Generator):
    """A CPU generator that changes its state as that of a GPU does: all of it, by what it points to."""

    def __new__(cls) -> "OwnState":
        made = super().__new__(cls)
        made.pointed = torch.Generator()
        return made

    def graphsafe_get_state(self) -> torch.Generator:
        return self.pointed

    def graphsafe_set_state(self, state: torch.Generator) -> None:
        self.pointed = state

    def clone_state(self) -> torch.Generator:
        return torch.Generator().set_state(self.pointed.get_state())


def test_each_run_draws_from_a_state_of_its_own() -> None:
    device = OwnState()
    seen: dict[str, list[int]] = {"a": [], "b": []}

    def work(name: str, seed: int) -> Turns[None]:
        device.pointed.manual_seed(seed)
        for _ in range(3):
            seen[name].append(int(torch.randint(1000, (), generator=device.pointed)))
            yield

    before = device.pointed
    works = []
    for name, seed in (("a", 1), ("b", 2)):
        state = device.clone_state()
        works.append(in_context(work(name, seed), lambda state=state: drawing_from(device, state)))
    round_robin(works)
    assert device.pointed is before
    for name, seed in (("a", 1), ("b", 2)):
        alone = torch.Generator().manual_seed(seed)
        assert seen[name] == [int(torch.randint(1000, (), generator=alone)) for _ in range(3)]


def test_runs_that_draw_in_every_step_are_known() -> None:
    assert networks.has_dropout(networks.Single(networks.get("vgg16_mlp_dropout").build(10)))
    plain = networks.Single(networks.get("resnet8").build(10))
    assert not networks.has_dropout(plain)
    for name, value in {"drop_prob": 0.1, "drop_rate": 0.2, "draws": True}.items():
        layer = nn.Identity()
        setattr(layer, name, value)
        assert networks.has_dropout(nn.Sequential(plain, layer))
        setattr(layer, name, None)
        assert not networks.has_dropout(nn.Sequential(plain, layer))
