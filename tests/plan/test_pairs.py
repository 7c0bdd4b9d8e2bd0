"""Pairs of networks, and cells that are trained on another network than the one whose name they print."""

from pathlib import Path

import pytest

from okdbench.errors import UsageError
from okdbench.plan import Cell, Plan, Selection, expand
from okdbench.recipe import load

PAIR = "resnet8+resnet20"
GRID = f"grid: {{dataset: cifar10, network: [resnet20, {PAIR}], method: [baseline, dml, dml@net2]}}"
NET2 = "variants: {dml@net2: {}}\nprotocol: {dml@net2: {head: peer1, epoch: last}}"
TABLE = "table: {rows: network, columns: method}"


def plan_of(path: Path, **selection: object) -> Plan:
    return expand(load(path), Selection(**selection))


def cell(plan: Plan, network: str, method: str) -> Cell:
    (found,) = (each for each in plan.cells if (each.network, each.method) == (network, method))
    return found


def mistakes(path: Path) -> list[str]:
    with pytest.raises(UsageError) as error:
        load(path)
    return [line.removeprefix(f"{path}:").partition(": ")[2] for line in str(error.value).splitlines()]


def test_a_pair_is_a_network_like_any_other(write) -> None:
    plan = plan_of(write(NET2, grid=GRID, table=TABLE))
    first, second = cell(plan, PAIR, "dml"), cell(plan, PAIR, "dml@net2")
    assert [run.config for run in first.runs] == [run.config for run in second.runs], "one training, two networks"
    assert first.runs[0].config.network == PAIR
    assert first.runs[0].config.folder == f"cifar10.{PAIR}.dml.s0.{first.runs[0].id}"
    assert (first.protocol.head, second.protocol.head) == ("deployed", "peer1")
    assert first.runs[0].title == f"cifar10 {PAIR} dml seed 0"
    chosen = plan_of(write(NET2, grid=GRID, table=TABLE), networks=(PAIR,), seeds=(1,))
    assert [run.config.network for run in chosen.runs] == [PAIR]
    with pytest.raises(UsageError, match=r"did you mean \"resnet8\+resnet20\""):
        plan_of(write(NET2, grid=GRID, table=TABLE), networks=("resnet8",))


def test_the_order_of_a_pair_is_part_of_the_identity(write) -> None:
    grid = f"grid: {{dataset: cifar10, network: [{PAIR}, resnet20+resnet8], method: dml}}"
    plan = plan_of(write(grid=grid, table=TABLE))
    assert len({run.id for run in plan.runs}) == 4


@pytest.mark.parametrize(
    ("network", "method", "variants", "reason"),
    [
        (PAIR, "cl", "", "CL is made of one network and cannot be trained as the pair resnet8+resnet20"),
        (PAIR, "okddip", "", "OKDDip with branches is made of one network and cannot be trained as the pair " + PAIR),
        (PAIR, "okddip@networks", "variants: {okddip@networks: {sharing: networks}}", None),
        ("resnet8+wrn16_2", "okddip@networks", "variants: {okddip@networks: {sharing: networks}}",
         "OKDDip's attention compares features, which have widths [64, 128] here"),
        (PAIR + "+resnet32", "dml", "", "DML trains 2 networks, not 3"),
        (PAIR + "+resnet32", "dml@three", "variants: {dml@three: {peers: 3}}", None),
        ("resnet8+galaxy", "dml", "", 'unknown network "galaxy" (did you forget --plugin FILE.py?)'),
        ("galaxy+stars", "dml", "", 'unknown network "galaxy" (did you forget --plugin FILE.py?) and network "stars" '
         "(did you forget --plugin FILE.py?)"),
        ("galaxy+resnet8", "baseline", "", 'unknown network "galaxy" (did you forget --plugin FILE.py?)'),
        (PAIR, "future", "", 'unknown method "future" (did you forget --plugin FILE.py?)'),
    ],
)  # fmt: skip
def test_a_pair_that_cannot_be_trained_says_why(
    write, network: str, method: str, variants: str, reason: str | None
) -> None:
    grid = f"grid: {{dataset: cifar10, network: {network}, method: {method}}}"
    (only,) = plan_of(write(variants, grid=grid, table="table: {}")).cells
    assert only.unavailable == reason
    assert bool(only.runs) == (reason is None)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ("resnet8+resnet8", 'grid.network[0]: "resnet8+resnet8" is one network twice; write "resnet8"'),
        ("resnet8+", 'grid.network[0]: "resnet8+" is not a network; name one, or several as A+B'),
        ("resnet8+resnet20+resnet8", 'grid.network[0]: "resnet8+resnet20+resnet8" names one network twice; name '
         "different ones"),
    ],
)  # fmt: skip
def test_what_is_no_pair_is_refused(write, network: str, told: str) -> None:
    assert told in mistakes(write(grid=f"grid: {{dataset: cifar10, network: ['{network}'], method: dml}}"))


def test_a_cell_may_be_trained_on_another_network_than_it_prints(write) -> None:
    extra = """
overrides:
  - {when: {network: galaxy}, set: {network: resnet8}}
  - {when: {network: galaxy, method: dml}, set: {network: resnet8+resnet20, training.epochs: 9}}
reported: {cells: [{dataset: cifar10, network: galaxy, method: dml, mean: 94}]}
"""
    grid = "grid: {dataset: cifar10, network: [resnet20, galaxy], method: [baseline, dml]}"
    plan = plan_of(write(extra, grid=grid, table=TABLE))
    plain, paired = cell(plan, "galaxy", "baseline"), cell(plan, "galaxy", "dml")
    assert (plain.trained_network, paired.trained_network) == ("resnet8", PAIR)
    assert [run.config.network for run in paired.runs] == [PAIR] * 2
    assert paired.runs[0].title == f"cifar10 {PAIR} dml seed 0", "a run is called by what it is"
    assert paired.runs[0].config.training.epochs == 9
    assert paired.reported and paired.changed == () and not paired.unavailable
    assert paired.facts["network"] == "galaxy" and paired.facts["trained"] == PAIR
    assert cell(plan, "resnet20", "dml").trained_network == "resnet20"


def test_a_run_that_two_cells_print_differently_is_trained_once(write) -> None:
    extra = f"overrides: [{{when: {{method: dml}}, set: {{network: {PAIR}}}}}]"
    plan = plan_of(write(extra, grid="grid: {dataset: cifar10, network: [resnet8, resnet20], method: dml}"))
    assert [len(each.runs) for each in plan.cells] == [2, 2]
    assert len(plan.runs) == 2


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ("overrides: [{set: {network: 3}}]", "overrides[0].set: network must be text, not 3"),
        ("overrides: [{set: {network: resnet8+resnet8}}]",
         'overrides[0].set: "resnet8+resnet8" is one network twice; write "resnet8"'),
        ("smoke: {set: {network: resnet8}}", "smoke.set.network: unknown setting; a key begins with one of: training., "
         "data., baseline., dml."),
    ],
)  # fmt: skip
def test_mistakes_about_the_network_of_an_override(write, extra: str, told: str) -> None:
    assert told in mistakes(write(extra))


def test_an_override_for_one_method_may_name_a_network(write) -> None:
    plan = plan_of(write("overrides: [{when: {method: dml}, set: {network: resnet8}}]"))
    assert {each.trained_network for each in plan.cells if each.method == "dml"} == {"resnet8"}


def test_options_do_not_name_a_network(write) -> None:
    with pytest.raises(UsageError, match=r"--set network=.*unknown setting"):
        plan_of(write(), settings={"network": "resnet8"})
