"""The moving average beside a run: what it holds, and that the run never notices."""

import json

import pytest
import torch

from okdbench.config import AverageSettings
from okdbench.methods import Batch
from okdbench.training import Interrupted
from okdbench.training.step import Step


@pytest.fixture
def averaged(small):
    """A run with an average that moves fast enough to be seen."""

    def make(method: str = "baseline", decay: float = 0.5, warmup: bool = True):
        config = small(method)
        ema = AverageSettings(decay=decay, warmup=warmup)
        return config.model_copy(update={"training": config.training.model_copy(update={"ema": ema})})

    return make


def noise(seed: int) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    return Batch((torch.randn(8, 3, 8, 8, generator=draws),), torch.randint(10, (8,), generator=draws))


def test_it_follows_weights_and_statistics(averaged, trainer, tmp_path) -> None:
    step: Step = trainer(averaged(), tmp_path / "run").step
    step.begin_epoch(0)
    names = [name for name, value in step.method.state_dict().items() if value.is_floating_point()]
    states = []
    for number in range(2):
        step(noise(number), number)
        states.append({name: value.clone() for name, value in step.method.state_dict().items()})
    average = step.average.method.state_dict()
    for name in names:  # the first step copies, the second moves half of the way
        assert torch.allclose(average[name], 0.5 * states[0][name] + 0.5 * states[1][name]), name
    assert any("running_mean" in name for name in names)
    assert not torch.equal(states[0][names[0]], states[1][names[0]])


def test_the_run_never_notices(small, averaged, trainer, tmp_path) -> None:
    plain, beside = trainer(small("baseline"), tmp_path / "a"), trainer(averaged(), tmp_path / "b")
    plain.train()
    beside.train()
    assert plain.config.id != beside.config.id
    lines = [(tmp_path / folder / "metrics.jsonl").read_text().splitlines() for folder in "ab"]
    records = [json.loads((tmp_path / folder / "record.json").read_text()) for folder in "ab"]
    assert records[0]["weights_sha256"] == records[1]["weights_sha256"]
    assert records[1]["heads"] == ["student", "student@ema"]
    for one, two in zip(*(map(json.loads, each) for each in lines), strict=True):
        assert list(two["heads"]) == records[1]["heads"]
        assert one["heads"]["student"] == two["heads"]["student"]
        assert two["heads"]["student"] != two["heads"]["student@ema"]


@pytest.mark.slow
def test_an_interrupted_average_continues_to_the_bit(averaged, trainer, tmp_path) -> None:
    whole, parts = averaged("dkel"), tmp_path / "parts"
    trainer(whole, tmp_path / "whole").train()
    steps = iter(range(100))
    with pytest.raises(Interrupted):
        trainer(whole, parts, stop=lambda: next(steps) == 3).train()
    trainer(whole, parts).train()
    heads = [
        [json.loads(line)["heads"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (tmp_path / "whole", parts)
    ]
    assert heads[0] == heads[1]
    assert "teacher0@ema" in heads[0][0]
