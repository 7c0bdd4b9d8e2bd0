import json
from pathlib import Path

import pytest
from commandline import Command

from okdbench.recipe import available

COPY = """
title: A table of one's own
source: {paper: Mine, year: 2024, table: Table 1}
kind: training
grid: {dataset: [cifar100], network: [resnet32, vgg16_mlp, wrn20_8_tv], method: [dml]}
seeds: [0]
training: {epochs: 2, optimizer: {lr: 0.1}, schedule: {name: cosine}}
protocol: {default: {head: peer0, epoch: last}}
table: {rows: network, columns: method}
reported:
  metric: error
  cells:
    - {dataset: cifar100, network: resnet32, method: dml, mean: 26.32, std: 0.14}
    - {dataset: cifar100, network: vgg16_mlp, method: dml, mean: 24.48, std: 0.10}
    - {dataset: cifar100, network: wrn20_8_tv, method: dml, mean: 20.23, std: 0.07}
claims:
  - {id: mean, text: The mean error is 23.7, printed: "23.70", source: Section 1,
     formula: "mean(cell(cifar100, n, dml) for n in network)"}
"""


def test_one_recipe(okdbench: Command) -> None:
    status, out, err = okdbench("audit", "dkel-table1")
    assert status == 0 and not err
    lines = [" ".join(line.split()) for line in out.splitlines()]
    equal = "dkel-table1 and pcl-table1: baseline, dml, cl, one, okddip, kdcl 60 in both"
    assert any(line.startswith(equal) and line.endswith("59 of 60 cells identical") for line in lines)
    gain = "dkel-table1, text on Table 1: DKEL gains .18 over PCL with ResNet-32 on CIFAR-10 .18 0.23 off by 0.05"
    assert gain in lines


def test_all_recipes_as_json(okdbench: Command) -> None:
    status, out, _ = okdbench("audit", "--format", "json")
    findings = json.loads(out)["findings"]
    assert status == 0
    assert {recipe for finding in findings for recipe in finding["recipes"]} <= set(available())
    [gain] = [
        finding for finding in findings if finding["claim"] == "gain-resnet32" and "dml-table2" in finding["recipes"]
    ]
    assert (gain["printed"], gain["computed"], gain["result"], gain["holds"]) == ("1.20", "2.20", "off by 1.00", False)


def test_ones_own_recipe_is_compared_with_those_that_come_along(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(COPY)
    findings = json.loads(okdbench("audit", "mine.yaml", "--format", "json").out)["findings"]
    assert all("mine" in finding["recipes"] for finding in findings)
    columns = {tuple(f["recipes"]): f["result"] for f in findings if f["check"] == "columns"}
    assert columns[("mine", "pcl-table1")] == "3 of 3 cells identical"
    [claim] = [finding for finding in findings if finding["check"] == "claims"]
    assert (claim["computed"], claim["result"]) == ("23.677", "off by 0.023")


def test_a_recipe_is_not_compared_with_the_one_that_it_extends(okdbench: Command) -> None:
    Path("part.yaml").write_text("title: Part\nextends: dkel-table1\ngrid: {network: [resnet32]}\n")
    found = " ".join(okdbench("audit", "part.yaml").out.split())
    assert "pcl-table1" in found, "it is compared with other tables"
    assert "dkel-table1" not in found


def test_markdown_into_a_file(okdbench: Command, tmp_path: Path) -> None:
    status, out, _ = okdbench("audit", "dkel-table4", "--format", "markdown", "-o", "audit.md")
    assert (status, out) == (0, "audit.md written\n")
    text = (tmp_path / "audit.md").read_text()
    assert text.startswith("### Audit of published numbers\n")
    assert "| rank 4 of 5, 0.58 behind the best |" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({row.count("|") - row.count("\\|") for row in rows}) <= 2  # three or four columns, none broken


def test_a_recipe_without_printed_numbers(okdbench: Command) -> None:
    assert (
        okdbench("audit", "quickstart").out.splitlines()[-1]
        == "No finding: no number is printed, or none that can be compared."
    )


@pytest.mark.parametrize("old", ['printed: "23.70"', "cell(cifar100, n, dml)"])
def test_a_claim_that_cannot_be_computed_is_told_with_its_place(old: str, okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        COPY.replace(old, "printed: 23.7" if "printed" in old else "cell(cifar100, n, dmll)")
    )
    status, out, err = okdbench("audit", "mine.yaml")
    assert (status, out) == (2, "") and err.startswith("okdbench: error: mine.yaml:") and "claims[0]." in err


def test_an_unknown_recipe_and_a_folder_that_cannot_be_written(okdbench: Command) -> None:
    status, _, err = okdbench("audit", "dkel-tabel1")
    assert status == 2 and 'did you mean "dkel-table1"?' in err
    status, _, err = okdbench("audit", "quickstart", "-o", "/dev/null/audit.md")
    assert status == 2 and "cannot be written" in err
