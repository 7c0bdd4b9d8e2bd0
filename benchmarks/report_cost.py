"""What ``status`` and ``report`` cost, in seconds of CPU time and bytes of memory, by the number of records.

``python -m benchmarks.report_cost [--keep DIR] [RUNS...]`` fabricates records of 300 epochs for one recipe in a
temporary folder, or in DIR/RUNS where they are not there yet, and gives each command twice: the second finds what the
first one keeps.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from okdbench.cli.app import main
from okdbench.plan import expand
from okdbench.recipe import load

EPOCHS, HEADS = 300, ("student", "peer0", "peer1")
CELLS = 40


def recipe(folder: Path, runs: int) -> Path:
    """Write a recipe of that many runs: 40 cells of equally many seeds."""
    grid = {
        "dataset": ["cifar10", "cifar100"],
        "network": ["resnet8", "resnet20", "resnet32", "resnet44", "resnet56"],
        "method": ["baseline", "dml", "dkel", "one"],
    }
    training = {
        "epochs": EPOCHS,
        "batch_size": 128,
        "optimizer": {"lr": 0.1},
        "schedule": {"name": "multistep", "milestones": [150]},
    }
    content = {
        "title": "Many runs",
        "source": {"paper": "None", "year": 2026, "table": "None"},
        "kind": "training",
        "grid": grid,
        "seeds": list(range(runs // CELLS)),
        "training": training,
        "protocol": {"default": {"head": "student", "epoch": "best"}},
        "table": {"rows": "network", "columns": "method", "panels": "dataset"},
    }
    path = folder / "many.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def fabricate(path: Path, results: Path) -> int:
    """Write the records of a recipe's runs; return how many there are."""
    metrics = {"top5": 91.25, "ce": 1.512345678, "ece": 2.512345678, "max_logit": 13.512345678}
    plan = expand(load(str(path)))
    for run in plan.runs:
        folder = results / plan.recipe.name / run.config.folder
        folder.mkdir(parents=True)
        lines = []
        for epoch in range(EPOCHS):
            heads = {head: {"top1": 30 + 40 * epoch / EPOCHS + run.seed % 7 / 10, **metrics} for head in HEADS}
            lines.append({"epoch": epoch, "lr": 0.1, "losses": {"ce": 2.0123456789, "kl": 0.123456789}, "heads": heads})
            lines[-1] |= {"seconds": 1.0123456789, "images_per_second": 9000.123456789}
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "metrics.jsonl").write_text(text)
        (folder / "config.json").write_text(run.config.model_dump_json())
        record = {"schema": 2, "id": run.id, "status": "finished", "config": run.config.model_dump(mode="json")}
        record |= {"heads": list(HEADS), "deployed": "student", "epochs": EPOCHS, "wall_seconds": 300.0}
        record["metrics_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        (folder / "record.json").write_text(json.dumps({**record, "environment": {"okdbench": "0", "device": "cpu"}}))
    return len(plan.runs)


def cost(words: list[str], folder: Path) -> tuple[float, int]:
    """Give a command; return its CPU seconds and its most bytes of memory."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "OKDBENCH_RESULTS": str(folder / "results")}
    code = "import benchmarks.report_cost as cost, sys; cost.measured(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, check=False
    )
    seconds, memory = done.stderr.split()[-2:]
    return float(seconds), int(memory)


def measured(words: list[str]) -> None:
    """Give the command in this process, and print what it has cost."""
    sys.argv = ["okdbench", *words]
    try:
        main()
    except SystemExit as end:
        if end.code not in (0, None):
            raise
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, file=sys.stderr)


@contextmanager
def place(number: int, keep: Path | None) -> Iterator[Path]:
    """Yield a folder with a recipe of that many runs and their records, and nothing else."""
    with TemporaryDirectory() as temporary:
        folder = keep / str(number) if keep else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        made = folder / "made"
        if not made.exists():
            shutil.rmtree(folder / "results", ignore_errors=True)
            fabricate(recipe(folder, number), folder / "results")
            made.touch()
        shutil.rmtree(folder / "cache", ignore_errors=True)
        yield folder


def compare(number: int, folder: Path) -> None:
    """Print what the commands cost in a folder with this number of runs."""
    path = folder / "many.yaml"
    for words in (["status", str(path)], ["report", str(path), "-o", str(folder / "report.md")]):
        for time in ("first", "again"):
            seconds, memory = cost(words, folder)
            print(f"{number:6} runs  {words[0]:6} {time}: {seconds:5.1f} s  {memory / 2**20:,.0f} MiB", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("runs", type=int, nargs="*", default=[80, 800, 8000])
    given = parser.parse_args()
    for each in given.runs:
        with place(each, given.keep) as folder:
            compare(each, folder)
