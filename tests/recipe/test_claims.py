"""Claims in a recipe, and the language of their formulas."""

from collections.abc import Callable
from pathlib import Path

import pytest

from okdbench.errors import UsageError
from okdbench.recipe import CellKey, load
from okdbench.recipe.claims import Claim
from okdbench.recipe.formula import LIMIT, Statement, compute

AXES = {
    "dataset": ("cifar10", "cifar100"),
    "network": ("resnet8", "resnet20"),
    "method": ("baseline", "dml@released", "dkel"),
    "dkel.alpha": (0.1, 0.5),
}
NUMBERS = {
    CellKey("cifar10", "resnet8", "baseline"): 90.0,
    CellKey("cifar10", "resnet20", "baseline"): 92.0,
    CellKey("cifar10", "resnet8", "dml@released"): 91.0,
    CellKey("cifar10", "resnet20", "dml@released"): 92.5,
    CellKey("cifar10", "resnet8", "dkel", (("dkel.alpha", 0.1),)): 91.2,
    CellKey("cifar10", "resnet8", "dkel", (("dkel.alpha", 0.5),)): 91.4,
}


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("cell(cifar10, resnet8, 'dml@released') - cell(cifar10, resnet8, baseline)", 1.0),
        ("cell(cifar10, resnet8, dkel, alpha=0.5)", 91.4),
        ("mean(cell(cifar10, n, 'dml@released') - cell(cifar10, n, baseline) for n in network)", 0.75),
        ("max(cell(cifar10, n, m) for n in [resnet8, 'resnet20'] for m in [baseline, 'dml@released'])", 92.5),
        ("sum([cell(cifar10, resnet8, dkel, alpha=a) * a for a in alpha])", 91.2 * 0.1 + 91.4 * 0.5),
        ("min(3, 1 + 1, -(-7) / 2)", 2.0),
        ("abs(1 - 3) + exp(0)", 3.0),
        ("mean(mean(x for x in [1, 2]), 3)", 2.25),
    ],
)
def test_values(formula: str, value: float) -> None:
    assert compute(formula, AXES, NUMBERS) == pytest.approx(value)


def test_comparisons() -> None:
    assert compute("exp(-2) <= 0.01", {}, {}) == Statement(False, "0.1353 <= 0.01")
    assert compute("0.1 + 0.2 > 0.3", {}, {}) == Statement(False, "0.3 > 0.3")
    every = "all(cell(cifar10, n, 'dml@released') - cell(cifar10, n, baseline) > 0.6 for n in network)"
    assert compute(every, AXES, NUMBERS) == Statement(False, "1 of 2", ("resnet20",))
    assert compute(every.replace("0.6", "0.4"), AXES, NUMBERS) == Statement(True, "2 of 2")


@pytest.mark.parametrize(
    ("formula", "problem"),
    [
        ("cell(cifar10, resnet8", "is not a formula"),
        ("x := 3", "is not a formula"),
        ("(" * 300 + "1" + ")" * 300, "is not a formula"),
        ("__import__('os').system('true')", "there is no function"),
        ("cell.__class__", "is not understood"),
        ("(lambda: 1)()", "there is no function"),
        ("2 ** 1000000", "is not understood"),
        ("'a' * 3", "is not understood"),
        ("1 if 1 < 2 else 3", "is not understood"),
        ("True", "is not understood"),
        ("abs(1, 2)", "is not understood"),
        ("1 < 2 < 3", "is not a comparison"),
        ("1 == 1", "is not a comparison"),
        ("all(1 for n in network)", "is not a comparison"),
        ("meen(1)", 'there is no function "meen"; did you mean "mean"?'),
        ("mean()", "has nothing to work on"),
        ("mean(1 for n in network if n)", "a loop is understood only as"),
        ("mean(1 for a, b in network)", "a loop is understood only as"),
        ("mean(1 for n in 'network')", "is not something to loop over"),
        ("mean(1 for n in netwrk)", 'the grid has no axis "netwrk"; did you mean "network"?'),
        ("sum(1 for a in network" + " for b in [1, 2, 3, 4, 5, 6, 7, 8, 9]" * 5 + ")", f"more than {LIMIT} times"),
        ("cell(cifar10, resnet8)", "is not a cell"),
        ("cell(*network)", "is not a cell"),
        ("cell(cifar10, resnet9, baseline)", 'grid.network has no "resnet9"; did you mean "resnet8"?'),
        ("cell(cifar10, resnet8, dkel)", "leaves alpha open; add alpha=..."),
        ("cell(cifar10, resnet8, dkel, alpha=0.2)", 'grid.dkel.alpha has no "0.2"'),
        ("cell(cifar10, resnet8, baseline, alpha=0.5)", "baseline has no alpha in the grid"),
        ("cell(cifar10, resnet8, baseline, **network)", "baseline has no None in the grid"),
        ("cell(cifar100, resnet8, baseline)", "cifar100 / resnet8 / baseline has no reported number"),
        ("1 / 0", "divides by zero"),
        ("exp(1000)", "is too large"),
        ("1e308 * 10", "is too large"),
        ("-" * 5000 + "1", "is"),
    ],
)
def test_what_is_not_in_the_language_is_refused(formula: str, problem: str) -> None:
    with pytest.raises(ValueError) as error:
        compute(formula, AXES, NUMBERS)
    assert problem in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("printed", "decimals", "allowed"), [("0.50", 2, 0.005), (".5", 1, 0.05), ("13", 0, 0.5)])
def test_a_claim_allows_half_a_unit_of_its_last_digit(printed: str, decimals: int, allowed: float) -> None:
    claim = Claim(id="a", text="a", formula="1", printed=printed, source="Table 1")
    assert (claim.decimals, claim.allowed) == (decimals, pytest.approx(allowed))
    assert claim.model_copy(update={"tolerance": 0.2}).allowed == 0.2


REPORTED = """
reported:
  cells:
    - {dataset: cifar10, network: resnet8, method: dml, mean: 91.0}
    - {dataset: cifar10, network: resnet8, method: baseline, mean: 90.0}
claims:
"""


def test_claims_are_part_of_a_recipe(write: Callable[..., Path]) -> None:
    claim = (
        "  - {id: gain, text: DML gains 1, printed: '1.0', formula: 'cell(cifar10, resnet8, dml) - 90', source: text}"
    )
    [found] = load(write(REPORTED + claim)).claims
    assert (found.id, found.printed, found.tolerance) == ("gain", "1.0", None)


def test_every_mistake_in_claims_is_told_with_its_place(write: Callable[..., Path]) -> None:
    path = write(
        REPORTED
        + """
  - {id: a, text: t, source: s, printed: "1", formula: "cell(cifar10, resnet8, dnl)"}
  - {id: a, text: t, source: s, printed: "1", formula: "cell(cifar10, resnet20, dml)"}
  - {id: b, text: t, source: s, printed: 0.50, formula: "1"}
  - {id: c, text: t, source: s, printed: "about 1", formula: "1"}
  - {id: d, text: t, source: s, formula: "1"}
  - {id: e, text: t, source: s, printed: "1", formula: "1 < 2"}
"""
    )
    with pytest.raises(UsageError) as error:
        load(path)
    lines = [line.removeprefix(f"{path}:").partition(": ")[2] for line in str(error.value).splitlines()]
    assert [line.partition(":")[0] for line in lines] == [
        "claims[0].formula",
        "claims[1].id",
        "claims[1].formula",
        "claims[2].printed",
        "claims[3].printed",
        "claims[4].printed",
        "claims[5].printed",
    ]
    assert 'grid.method has no "dnl"; did you mean "dml"?' in lines[0]
    assert 'claims[0] has the id "a" too' in lines[1]
    assert "no reported number" in lines[2]
    assert "must be text, not 0.5; put text in quotes" in lines[3]
    assert '"about 1" is not a number' in lines[4]
    assert "is missing" in lines[5] and "remove it" in lines[6]
