"""What `results verify` asks of a run's configuration is so for every run that okdbench's own recipes plan."""

import json

import pytest

from okdbench.plan import expand
from okdbench.recipe import Recipe, available, load
from okdbench.runs.records import Record, State
from okdbench.training.plausibility import doubts, unchecked

BROUGHT = {"status": State.diverged, "cause": "not-finite", "environment": {}, "wall_seconds": 1.0}


@pytest.mark.slow
def test_no_planned_configuration_is_doubted() -> None:
    seen = set[str]()
    for name in available():
        recipe = load(name)
        for run in expand(recipe).runs if isinstance(recipe, Recipe) else ():
            source = run.config.source
            peers = source.network.count("+")
            key = json.dumps([source.method, source.settings, source.dataset, peers], sort_keys=True)
            if key in seen:
                continue
            seen.add(key)
            record = Record(id=source.id, config=source, heads=("none",), deployed="none", epochs=0, **BROUGHT)
            [doubt] = doubts(record, ()) if not unchecked(record) else ["has the heads none, where it is not here"]
            assert doubt.startswith("has the heads none, where"), f"{source.folder}: {doubt}"
    assert len(seen) > 200
