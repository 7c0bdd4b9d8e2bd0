"""A run that an earlier version has begun is finished by this one.

``checkpoint_2026_11.json`` was written by commit 13bc87c: configuration, journal, and the checkpoint after 4 of 9 steps
of DKEL with a moving average, in which types and shapes stand for all tensors but scalars.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from okdbench.config import RunConfig
from okdbench.runs.folder import RunFolder
from okdbench.training import Interrupted, checkpoint

OLD = json.loads(Path(__file__).with_name("checkpoint_2026_11.json").read_text())


def made(description: Any) -> Any:
    """What was described, with small positive numbers in all tensors that are not scalars."""
    if isinstance(description, dict):
        if description.keys() == {"tensor", "value"}:
            return torch.tensor(description["value"], dtype=getattr(torch, description["tensor"]))
        return {int(key) if key.isdigit() else key: made(each) for key, each in description.items()}
    if isinstance(description, list):
        return [made(each) for each in description]
    if isinstance(description, str):
        dtype, *shape = description.split()
        draws = torch.Generator().manual_seed(len(description))
        return 0.1 * torch.rand(*map(int, shape), dtype=getattr(torch, dtype), generator=draws)
    return description


def shape(state: Any) -> Any:
    """Keys, types and shapes of a checkpoint."""
    if isinstance(state, dict):
        return {key: shape(value) for key, value in state.items()}
    if isinstance(state, list):
        return [shape(value) for value in state]
    return (state.dtype, state.shape) if isinstance(state, torch.Tensor) else type(state)


def test_a_run_begun_before_is_finished(trainer, tmp_path: Path) -> None:
    old = made(OLD["checkpoint"])
    torch.save(old, tmp_path / "checkpoint-000000004.pt")
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in OLD["metrics"]))
    config = RunConfig.model_validate(OLD["config"])
    with pytest.raises(Interrupted):
        trainer(config, tmp_path, stop=lambda: True).train()
    new = next(checkpoint.readable(RunFolder(tmp_path), config.id))
    assert shape({key: new[key] for key in old}) == shape(old)
    assert (new["epoch"], new["batch"], new["step"]["images"]) == (1, 2, old["step"]["images"] + 40)
    assert int(new["step"]["step"]) == int(old["step"]["step"]) + 1
    trainer(config, tmp_path).train()
    lines = [json.loads(text) for text in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[:1] == OLD["metrics"] and [line["epoch"] for line in lines] == [0, 1, 2]
    assert json.loads((tmp_path / "record.json").read_text())["status"] == "finished"
