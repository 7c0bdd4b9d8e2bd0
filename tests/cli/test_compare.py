"""Two methods against each other: numbers, a sentence, a figure."""

import json
from pathlib import Path

import pytest
import yaml
from commandline import Command
from fabricate import RECIPE, run

from okdbench.plan import Plan, expand
from okdbench.recipe import load

FINAL = {  # accuracies of seeds 0, 1 and 2
    ("resnet8", "baseline"): (70.0, 71.0, 72.0),
    ("resnet8", "dkel"): (74.0, 75.1, 75.9),
    ("resnet32", "baseline"): (80.0, 81.0, 82.0),
    ("resnet32", "dkel"): (81.0, 80.6, 82.8),
}


@pytest.fixture
def measured(okdbench: Command, tmp_path: Path) -> None:
    """DKEL far above the baseline on ResNet-8, and a little on ResNet-32."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    plan = expand(load(path))
    assert isinstance(plan, Plan)
    for cell in plan.cells:
        for planned, value in zip(cell.runs, FINAL[cell.network, cell.method], strict=True):
            run(Path("results"), planned.config, {"student": [1.0, value]})


@pytest.mark.usefixtures("measured")
def test_differences_are_paired_and_corrected_and_said_in_words(okdbench: Command) -> None:
    facts = json.loads(okdbench("compare", "small.yaml", "dkel", "baseline", "--format", "json").out)
    small, large = facts["cells"]
    assert (small["difference"], large["difference"]) == (pytest.approx(4.0), pytest.approx(1.4 / 3))
    assert small["holm_p_value"] == pytest.approx(2 * small["p_value"]) and small["sign_flip_p_value"] == 0.25
    assert small["decided"] and not large["decided"]
    assert facts["overall"]["summary"]["mean"] == pytest.approx((4.0 + 1.4 / 3) / 2)
    decided, open_ = facts["sentences"]
    assert (
        decided.startswith("ResNet-8 CIFAR-100: DKEL is 4.00 points above Baseline (n = 3, ") and "decided." in decided
    )
    needed = large["seeds_needed"]
    said = f"not decided; a difference of this size needs about n = {needed} seeds"
    assert open_.endswith(f"{said}, and small has 3; a recipe that extends it can have more.")
    Path("more.yaml").write_text(f"title: More\nextends: small.yaml\nseeds: {list(range(100))}\n")
    Path("results/small").rename("results/more")
    more = json.loads(okdbench("compare", "more.yaml", "dkel", "baseline", "--format", "json").out)["sentences"][1]
    seeds = " ".join(f"-s {seed}" for seed in range(3, needed))
    assert more.endswith(f"{said}; run: okdbench run more.yaml -m dkel -m baseline {seeds}")


@pytest.mark.usefixtures("measured")
def test_head_and_epoch_can_be_chosen(okdbench: Command) -> None:
    words = ("compare", "small.yaml", "dkel", "baseline", "--format", "json")
    averaged, last = (json.loads(okdbench(*words, "--epoch", epoch).out)["cells"][0] for epoch in ("last-2", "last"))
    assert averaged["difference"] == pytest.approx(last["difference"] / 2), "the first epochs are equal"
    status, _, err = okdbench(*words, "--head", "student", "--protocol", "last")
    assert status == 2 and "--protocol last: chooses head and epoch" in err
    assert "did you mean" in okdbench(*words, "--head", "studnt").err


@pytest.mark.usefixtures("measured")
def test_the_order_of_the_methods_turns_the_sign_and_the_figure_is_drawn(okdbench: Command) -> None:
    status, out, err = okdbench("compare", "small.yaml", "baseline", "dkel", "-n", "resnet8", "--figure", "a.png")
    assert (status, err) == (0, "figure: a.png\n") and Path("a.png").stat().st_size > 5_000
    assert "Baseline is 4.00 points below DKEL" in " ".join(out.split())


@pytest.mark.usefixtures("measured")
def test_mistakes_are_answered_in_a_line(okdbench: Command) -> None:
    for words, message in (
        (("small.yaml", "dkel", "dkel"), "dkel: is compared with itself"),
        (("small.yaml", "dkel", "dkle"), "dkle"),
        (("small.yaml", "dkel", "baseline", "-m", "dml"), "leave out --method"),
        (("dkel-figure5", "dkel", "pcl"), "dkel-figure5"),
        (("small.yaml", "dkel", "baseline", "--figure", "a.jpg"), "ends in .svg, .png or .pdf"),
    ):
        status, out, err = okdbench("compare", *words)
        assert (status, out) == (2, "") and message in err and "Traceback" not in err


def test_without_runs_the_command_that_makes_them_is_named(okdbench: Command) -> None:
    status, out, _ = okdbench("compare", "quickstart", "dkel", "dml")
    assert status == 0 and "run: okdbench run quickstart -m dkel -m dml" in " ".join(out.split())
