"""Labels for a method with settings of its own, settings that are an axis of every method, cells that are left out."""

from pathlib import Path

import pytest
import yaml

from okdbench.errors import UsageError
from okdbench.plan import Cell, Plan, Selection, expand
from okdbench.recipe import load

pytestmark = pytest.mark.usefixtures("fake_method")

GRID = "grid: {dataset: cifar10, network: resnet8, method: [fake, fake@strong, fake@released]}"
TABLE = "table: {rows: method, columns: dataset}"
VARIANTS = "variants: {fake@strong: {alpha: 0.9}}"


def plan_of(path: Path, selection: Selection | None = None) -> Plan:
    return expand(load(path), selection)


def settings(plan: Plan) -> dict[str, dict[str, object]]:
    return {cell.method: cell.runs[0].config.settings for cell in plan.cells}


def mistakes(path: Path) -> list[str]:
    with pytest.raises(UsageError) as error:
        load(path)
    return [line.removeprefix(f"{path}:").partition(": ")[2] for line in str(error.value).splitlines()]


def test_a_variant_is_its_method_with_other_settings(write) -> None:
    plan = plan_of(write(VARIANTS, grid=GRID, table=TABLE))
    assert settings(plan) == {"fake": {}, "fake@strong": {"alpha": 0.9}, "fake@released": {"alpha": 0.1, "peers": 4}}
    assert {run.config.method for run in plan.runs} == {"fake"}
    assert not any(cell.changed for cell in plan.cells)


def test_a_variant_wins_over_the_overrides_and_an_option_over_the_variant(write) -> None:
    overrides = "overrides: [{set: {fake.alpha: 0.2, fake.peers: 5}}]"
    path = write(f"{VARIANTS}\n{overrides}", grid=GRID, table=TABLE)
    assert settings(plan_of(path))["fake@strong"] == {"alpha": 0.9, "peers": 5}
    changed = plan_of(path, Selection(methods=("fake@strong",), settings={"fake.alpha": 0.3}))
    assert settings(changed) == {"fake@strong": {"alpha": 0.3, "peers": 5}}
    assert changed.cells[0].changed == ("fake.alpha=0.3",)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("variants: {fake@strong: {preset: released, peers: 6}}", {"alpha": 0.1, "peers": 6}),
        (f"overrides: [{{set: {{fake.preset: released}}}}]\n{VARIANTS}", {"alpha": 0.9, "peers": 4}),
    ],
)
def test_a_variant_may_start_from_another_preset(write, extra: str, expected: dict[str, object]) -> None:
    grid = GRID.replace(", fake@released", "")
    assert settings(plan_of(write(extra, grid=grid, table=TABLE)))["fake@strong"] == expected


def test_the_label_of_a_variant_may_stand_wherever_a_method_may(write) -> None:
    extra = f"""
{VARIANTS}
overrides: [{{when: {{method: fake@strong}}, set: {{training.epochs: 9, fake.peers: 4}}}}]
protocol: {{fake: {{head: a, epoch: last}}, fake@strong: {{head: b, epoch: best}}}}
reported: {{cells: [{{dataset: cifar10, network: resnet8, method: fake@strong, mean: 94}}]}}
smoke: {{grid: {{method: fake@strong}}}}
"""
    path = write(extra, grid=GRID, table=TABLE)
    plain, strong, released = plan_of(path).cells
    assert (plain.protocol.head, strong.protocol.head, released.protocol.head) == ("a", "b", "a")
    assert strong.reported and strong.reported.mean == 94 and not plain.reported
    assert (strong.runs[0].config.training.epochs, plain.runs[0].config.training.epochs) == (9, 4)
    assert strong.runs[0].config.settings == {"alpha": 0.9, "peers": 4}
    assert [cell.method for cell in plan_of(path, Selection(smoke=True)).cells] == ["fake@strong"]


def test_two_labels_with_equal_settings_share_their_runs(write) -> None:
    extra = "variants: {fake@strong: {}}\nprotocol: {fake@strong: {head: peer1, epoch: last}}"
    plan = plan_of(write(extra, grid=GRID.replace(", fake@released", ""), table=TABLE))
    assert [len(cell.runs) for cell in plan.cells] == [2, 2]
    assert len(plan.runs) == 2


def test_an_entry_for_a_suffix_is_for_every_label_that_ends_so_and_has_none(write) -> None:
    grid = "grid: {dataset: cifar10, network: resnet8, method: [fake, fake@few, fake@x, dml, dml@few, dml@x]}"
    extra = """
variants: {"@few": {peers: 2}, fake@few: {peers: 4}, "@x": {}}
protocol:
  default: {head: a, epoch: last}
  fake: {head: b, epoch: last}
  "@x": {head: deployed@ema, epoch: last}
  dml@x: {head: "mean(peer?@ema)", epoch: last}
"""
    plan = plan_of(write(extra, grid=grid, table=TABLE))
    assert settings(plan)["fake@few"] == {"peers": 4} and settings(plan)["dml@few"] == {}
    heads = {cell.method: cell.protocol.head for cell in plan.cells}
    assert heads["fake@x"] == "deployed@ema", "a suffix goes before the method"
    assert heads["dml@x"] == "mean(peer?@ema)", "a label before its suffix"
    assert (heads["fake@few"], heads["dml@few"]) == ("b", "a")


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ('variants: {"@strng": {alpha: 0.9}, fake@strong: {}}',
         'variants.@strng: grid.method has no "@strng"; did you mean "@strong"?'),
        ('variants: {"@strong": {alhpa: 0.9}}',
         'variants.@strong.alhpa: unknown setting; did you mean "fake.alpha"?'),
        ('variants: {"@strong": {alpha: -1}}', "variants.@strong.alpha: must be above 0, not -1"),
        ('variants: {"@released": {alpha: 1}, "@strong": {}}',
         "variants.@released: is a preset of fake already; choose another name"),
        ('variants: {"@strong": {}}\nprotocol: {"@stron": {epoch: last}}',
         'protocol.@stron: grid.method has no "@stron"; did you mean "@strong"?'),
    ],
)  # fmt: skip
def test_mistakes_in_entries_for_suffixes(write, extra: str, expected: str) -> None:
    assert expected in mistakes(write(extra, grid=GRID, table=TABLE))


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ("{fake@strng: {alpha: 0.9}, fake@strong: {}}",
         ['variants.fake@strng: grid.method has no "fake@strng"; did you mean "fake@strong"?']),
        ("{fake@strong: {alhpa: 0.9}}",
         ['variants.fake@strong.alhpa: unknown setting; did you mean "fake.alpha"?']),
        ("{fake@strong: {alpha: -1}}", ["variants.fake@strong.alpha: must be above 0, not -1"]),
        ("{fake@strong: {preset: relased}}",
         ['variants.fake@strong.preset: fake has no preset "relased"; did you mean "released"?']),
        ("{fake@strong: 3}",
         ["variants.fake@strong: must be a mapping (key: value), not 3",
          'grid.method[1]: fake has no preset "strong"; choose from: paper, released']),
        ("[fake@strong]",
         ['variants: must be a mapping (key: value), not ["fake@strong"]',
          'grid.method[1]: fake has no preset "strong"; choose from: paper, released']),
        ("{fake: {alpha: 0.9}, fake@strong: {}}",
         ["variants.fake: is a method; name the variant after it, for instance fake@mine"]),
        ("{fake@released: {alpha: 0.9}, fake@strong: {}}",
         ["variants.fake@released: is a preset of fake already; choose another name"]),
    ],
)  # fmt: skip
def test_mistakes_in_variants_are_plain_lines(write, variants: str, expected: list[str]) -> None:
    found = mistakes(write(f"variants: {variants}", grid=GRID, table=TABLE))
    assert sorted(found) == sorted(expected)


AXIS = "grid:\n  dataset: cifar10\n  network: resnet8\n  method: [dml, fake]\n  method.peers: [2, 3]"
LAYOUT = "table: {rows: method, columns: method.peers}"


def test_an_axis_of_every_method(write) -> None:
    reported = "reported: {cells: [{dataset: cifar10, network: resnet8, method: dml, method.peers: 3, mean: 94}]}"
    plan = plan_of(write(reported, grid=AXIS, table=LAYOUT))

    def line(cell: Cell) -> tuple[object, ...]:
        return cell.method, cell.settings, cell.runs[0].config.settings, bool(cell.reported)

    assert [line(cell) for cell in plan.cells] == [
        ("dml", (("method.peers", 2),), {}, False),
        ("dml", (("method.peers", 3),), {"peers": 3}, True),
        ("fake", (("method.peers", 2),), {"peers": 2}, False),
        ("fake", (("method.peers", 3),), {}, False),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"grid": AXIS.replace("dml", "baseline")},
         "grid.method.peers: baseline has no such setting; in place of method., write fake.peers"),
        ({"grid": AXIS.replace("[2, 3]", "[1, 2]")}, "grid.method.peers: must be at least 2, not 1"),
        ({"extra": "overrides: [{set: {fake.peers: 3}}]"},
         "overrides[0].set.fake.peers: is an axis of the grid and gets its values there; remove one of the two"),
        ({"extra": "reported: {cells: [{dataset: cifar10, network: resnet8, method: dml, mean: 94}]}"},
         "reported.cells[0]: method.peers is missing; say which of 2, 3 the number is for"),
    ],
)  # fmt: skip
def test_mistakes_around_such_an_axis(write, changes: dict[str, str], expected: str) -> None:
    assert expected in mistakes(write(**{"grid": AXIS, "table": LAYOUT, **changes}))


def test_cells_that_are_left_out_keep_their_number_and_have_no_runs(write) -> None:
    extra = """
left_out: [{when: {network: resnet20, method: dml}, why: not in the paper}]
reported: {cells: [{dataset: cifar10, network: resnet20, method: dml, mean: 94}]}
"""
    cells = plan_of(write(extra)).cells
    out = [cell for cell in cells if cell.unavailable]
    assert {cell.key[:3] for cell in out} == {(data, "resnet20", "dml") for data in ("cifar10", "cifar100")}
    assert all(cell.unavailable == "not in the paper" and not cell.runs for cell in out)
    assert out[0].reported and out[0].reported.mean == 94
    assert all(cell.runs for cell in cells if cell not in out)


def test_what_is_left_out_must_be_in_the_grid(write) -> None:
    assert mistakes(write("left_out: [{when: {method: dmll}, why: x}]")) == [
        'left_out[0].when.method[0]: grid.method has no "dmll"; did you mean "dml"?'
    ]


@pytest.mark.parametrize("junk", [None, -1, "x", True, [], [[1]], {}, {"a": {"b": [None]}}, {1: 2}], ids=repr)
@pytest.mark.parametrize("place", ["variants", "variant", "value", "left_out", "item"])
def test_junk_there_is_answered_with_lines_and_no_traceback(write, place: str, junk: object) -> None:
    sections = {
        "variants": {"variants": junk},
        "variant": {"variants": {"fake@strong": junk}},
        "value": {"variants": {"fake@strong": {"alpha": junk}}},
        "left_out": {"left_out": junk},
        "item": {"left_out": [junk]},
    }
    path = write(yaml.safe_dump(sections[place]), grid=GRID, table=TABLE)
    try:
        load(path)
    except UsageError as error:
        assert all(line.startswith(f"{path}:") for line in str(error).splitlines())
