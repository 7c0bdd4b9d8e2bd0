"""Methods that learn from another run's network: the plan is a graph."""

import pytest

from okdbench.errors import UsageError
from okdbench.plan import Selection, expand
from okdbench.recipe import load

GRID = "grid: {dataset: cifar10, network: [resnet8, resnet20], method: kd}"
TABLE = "table: {rows: network, columns: method}"


def test_the_teacher_comes_first_and_is_shared(write) -> None:
    extra = """
teachers: {kd: {network: resnet32, method: baseline, seed: 7}}
overrides: [{when: {network: resnet20}, set: {training.epochs: 9}}]
"""
    plan = expand(load(write(extra, grid=GRID, table=TABLE)))
    first, *students = plan.runs
    assert (first.config.network, first.config.method, first.config.seed) == ("resnet32", "baseline", 7)
    assert len(plan.runs) == 1 + sum(len(cell.runs) for cell in plan.cells), "one teacher for all"
    assert all(run.config.teacher == first.config for run in students)
    assert {run.config.training.epochs for run in students} == {first.config.training.epochs, 9}


def test_a_teacher_of_the_same_seed_and_the_same_changes(write) -> None:
    extra = "teachers: {kd: {network: resnet32, method: baseline}}"
    plan = expand(load(write(extra, grid=GRID, table=TABLE)), Selection(settings={"training.epochs": 2}))
    for cell in plan.cells:
        for run in cell.runs:
            assert run.config.teacher.seed == run.config.seed
            assert run.config.teacher.training.epochs == 2


def test_the_teacher_is_part_of_the_identity(write) -> None:
    ids = set()
    for network in ("resnet32", "resnet56"):
        extra = f"teachers: {{kd: {{network: {network}, method: baseline}}}}"
        ids |= {run.id for cell in expand(load(write(extra, grid=GRID, table=TABLE))).cells for run in cell.runs}
    assert len(ids) == 8


def test_a_missing_teacher_is_told(write) -> None:
    with pytest.raises(UsageError, match=r"teachers: kd needs a trained teacher; add kd: \{network"):
        load(write(grid=GRID, table=TABLE))


def test_an_unknown_teacher_network_makes_the_cell_unavailable(write) -> None:
    extra = "teachers: {kd: {network: resnet23, method: baseline}}"
    plan = expand(load(write(extra, grid=GRID, table=TABLE)))
    assert all('network "resnet23"' in cell.unavailable and not cell.runs for cell in plan.cells)


@pytest.mark.parametrize(
    ("teacher", "told"),
    [
        ("kd: {network: resnet32, method: nosuch}", "teachers.kd.method: no method that trains by itself"),
        ("kd: {network: resnet32, method: kd}", "teachers.kd.method: no method that trains by itself"),
        ("kd: {network: resnet32, method: baseline@foo}", "teachers.kd.method: no method that trains by itself"),
        ("kdd: {network: resnet32, method: baseline}", 'teachers.kdd: grid.method has no "kdd"'),
    ],
)
def test_a_teacher_that_cannot_be_is_refused(teacher: str, told: str, write) -> None:
    with pytest.raises(UsageError) as error:
        load(write(f"teachers: {{{teacher}}}", grid=GRID, table=TABLE))
    assert told in str(error.value)
