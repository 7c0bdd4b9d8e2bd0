"""A run's id never changes unless its recipe is corrected: `run_ids.json` holds those of all shipped recipes."""

import json
import sys
from pathlib import Path

import pytest

from okdbench.plan import Selection, expand
from okdbench.recipe import available, load

FILE = Path(__file__).with_name("run_ids.json")
KNOWN: dict[str, dict[str, list[str]]] = json.loads(FILE.read_text())


def planned(recipe: str) -> dict[str, list[str]]:
    """Folders of all runs of a recipe (each ends in the run's id), as it is and as a smoke run."""
    plans = {
        "whole": expand(load(recipe)),
        "smoke": expand(load(recipe), Selection(smoke=True, data_present=lambda name: False)),
    }
    return {part: sorted(run.config.folder for run in plan.runs) for part, plan in plans.items()}


@pytest.mark.parametrize("recipe", KNOWN)
def test_the_runs_of_a_shipped_recipe_keep_their_ids(recipe: str) -> None:
    assert planned(recipe) == KNOWN[recipe]


def test_every_recipe_with_known_ids_is_still_shipped_and_every_shipped_one_is_known() -> None:
    assert set(KNOWN) == set(available()), "write the ids of a new recipe with: python tests/plan/test_run_ids.py"


if __name__ == "__main__":  # adds new recipes, and rewrites the corrected ones that are named; others stay as they are
    kept = {name: ids for name, ids in KNOWN.items() if name not in sys.argv[1:]}
    FILE.write_text(json.dumps({name: kept.get(name) or planned(name) for name in available()}, indent=1) + "\n")
