"""``okdbench bench``: what it prints, what it keeps, and that ``show --cost`` finds it."""

import json
from pathlib import Path

import pytest
from commandline import Command
from json_page import require_documented

QUICK = ("bench", "--dataset", "digits", "--network", "resnet8", "--subset", "64", "--batch-size", "16", "--workers=0")


def test_markdown_to_a_file_and_nothing_kept(okdbench: Command) -> None:
    status, out, err = okdbench(*QUICK, "-m", "baseline", "--quick", "--format", "markdown", "-o", "bench.md")
    assert status == 0 and out == "bench.md written\n"
    assert "digits resnet8 baseline, batches of 16" in err and "ours: building" in err
    assert "| resnet8" in Path("bench.md").read_text()
    assert not Path("results").exists()


def test_json_over_batch_sizes_kept_for_the_cost_of_recipes(okdbench: Command) -> None:
    words = ("-m", "baseline", "--batch-size", "32", "--blocks", "1", "--steps", "1", "--against", "fair-eager")
    status, out, _ = okdbench(*QUICK, *words, "--format", "json")
    assert status == 0
    require_documented(out, "okdbench.bench/1")
    measured = json.loads(out)["measurements"]
    assert [m["config"]["training"]["batch_size"] for m in measured] == [16, 32]
    assert all(m["ratio_fair_eager"] > 0 and m["ratio_as_published"] is None for m in measured)
    assert len(list(Path("results/bench").glob("*/*.json"))) == 2
    status, out, _ = okdbench("show", "quickstart", "--cost", "--format", "json")
    assert status == 0
    [device] = {device for cost in json.loads(out)["cost"] for device in cost["device_hours"]}
    assert device == measured[0]["device"]
    text = okdbench("show", "quickstart", "--cost").out
    assert f"on {device}: " in text and "hours in total, from the measured speed of" in text


def test_the_trainings_of_a_recipe_side_by_side(okdbench: Command) -> None:
    words = ("bench", "quickstart", "-m", "baseline", "-m", "dkel", "--blocks", "1", "--steps", "1")
    status, out, err = okdbench(*words, "--format", "json")
    assert status == 0 and "1 blocks of 1 steps each, in turns" in err
    require_documented(out, "okdbench.bench-recipe/1")
    assert [each["names"]["method"] for each in json.loads(out)["trainings"]] == ["baseline", "dkel"]
    text = okdbench("show", "quickstart", "--cost", "-m", "baseline", "-m", "dkel").out
    costs = [line for line in text.splitlines() if line.startswith("digits-8x8")]
    assert len(costs) == 2 and not any(sign in line for line in costs for sign in "~≈"), (
        "these very trainings were timed"
    )
    status, _, err = okdbench("bench", "quickstart", "--peers", "2")
    assert status == 2 and "--peers: a recipe's steps are timed as it has them; leave the option out" in err
    status, _, err = okdbench("bench", "dkel-figure5")
    assert (
        status == 2 and "dkel-figure5: none of what is selected trains a method, so there are no steps to time" in err
    )


def test_a_training_whose_teacher_is_not_trained_is_not_timed(okdbench: Command) -> None:
    words = ("bench", "small-cifar100", "-m", "kd", "--quick", "--subset", "200")
    status, _, err = okdbench(*words)
    assert status == 2 and "left out, since what it needs is not trained: cifar100 resnet32 baseline seed 0" in err
    assert "small-cifar100: what the selected trainings need is not trained; train it, or select others" in err


def test_runs_that_share_the_device(okdbench: Command) -> None:
    words = ("-m", "baseline", "--blocks", "1", "--steps", "1", "--against", "fair-eager", "--jobs-per-device", "2")
    status, out, err = okdbench(*QUICK, *words, "--format", "json")
    assert status == 0 and "batches of 16, 2 runs in turns" in err
    assert [m["execution"]["jobs"] for m in json.loads(out)["measurements"]] == [2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-m", "nothing"), 'unknown method "nothing"'),
        (("-m", "dml", "--peers", "1"), "--peers: "),
        (("--backend", "graph", "--device", "cpu"), "--backend graph: needs an NVIDIA GPU"),
    ],
)
def test_mistakes(words: tuple[str, ...], message: str, okdbench: Command) -> None:
    status, out, err = okdbench(*QUICK, *words)
    assert status == 2 and not out
    assert err.startswith("okdbench: error: ") and message in err and err.count("error: ") == 1


def test_operations_are_counted_instead_of_timed(okdbench: Command) -> None:
    status, out, _ = okdbench(*QUICK, "-m", "baseline", "--count", "--format", "json")
    assert status == 0
    require_documented(out, "okdbench.operations/1")
    [case] = json.loads(out)["operations"]
    assert case["operations_per_step"] == sum(case["operations"].values())
    assert case["operations"]["convolution"] == case["operations"]["convolution_backward"] == 9
    assert "convolution_backward" in okdbench(*QUICK, "-m", "baseline", "--count").out
    assert not Path("results").exists()
