import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commandline import Command
from json_page import require_documented

from okdbench.config import RunConfig, TrainingSettings
from okdbench.training.optimizer import rate_factor

PUBLISHED = Path(__file__).parents[2] / "results" / "quickstart"


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two published runs in a results folder."""
    copies = [tmp_path / "theirs" / "quickstart" / path.name for path in sorted(PUBLISHED.glob("*.dkel.*"))[:2]]
    return [Path(shutil.copytree(PUBLISHED / copy.name, copy)) for copy in copies]


def change(folder: Path, metrics: Callable[[list[Any]], object] = len, record: Callable[[Any], object] = len) -> Path:
    """Change what a run left, and hash its metrics again; return the folder, renamed where the configuration is another
    one.
    """
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    metrics(lines)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    content = json.loads((folder / "record.json").read_text())
    before = copy.deepcopy(content["config"])
    content["metrics_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    record(content)
    if content["config"] != before:
        config = RunConfig.model_validate(content["config"])
        content["id"] = config.id
        (folder / "config.json").write_text(json.dumps(content["config"]))
        folder = folder.rename(folder.parent / config.folder)
    (folder / "record.json").write_text(json.dumps(content))
    return folder


def heads(lines: list[Any]) -> list[dict[str, float]]:
    """The metrics of every head after every epoch."""
    return [head for line in lines for head in line["heads"].values()]


def test_published_records_are_sound(okdbench: Command) -> None:
    done = okdbench("results", "verify", str(PUBLISHED.parent))
    assert (done.status, done.err) == (0, "")
    runs = len(list(PUBLISHED.parent.glob("*/*/record.json")))
    assert f"{PUBLISHED.parent}: {runs} runs sound" in done.out


@pytest.mark.parametrize(
    ("metrics", "record", "said"),
    [
        (
            lambda lines: lines[3]["heads"]["peer0"].update(top1=97.0, top5=99.71830985915493),
            len,
            "epoch 3, peer0: top-1 accuracy 97.0 is not that of a whole number of 355 images",
        ),
        (
            lambda lines: lines[1]["heads"]["peer1"].update(top5=lines[1]["heads"]["peer1"]["top1"] - 100 / 355),
            len,
            "epoch 1, peer1: top-5 accuracy",
        ),
        (lambda lines: lines[2].update(lr=0.1), len, "epoch 2 has learning rate 0.1, where the schedule has 0.05"),
        (lambda lines: lines[0]["heads"].pop("ensemble"), len, "epoch 0 has other heads than the record"),
        (lambda lines: lines.pop(), lambda content: content.update(epochs=3), "has 3 epochs, and is to have 4"),
        (
            len,
            lambda content: content["environment"].pop("torch"),
            "record.json does not say on what it was computed: no torch",
        ),
        (len, lambda content: content.update(deployed="peer9"), "the deployed head peer9 is none of its heads"),
    ],
)
def test_what_no_training_writes_is_named(
    folders: list[Path], metrics: Any, record: Any, said: str, okdbench: Command
) -> None:
    change(folders[0], metrics, record)
    done = okdbench("results", "verify", "theirs")
    assert done.status == 1
    assert f"{Path('theirs', 'quickstart', folders[0].name)}: {said}" in done.out
    assert "theirs: 1 run sound" in done.out


def without_peer(lines: list[Any]) -> None:
    for line in lines:
        del line["heads"]["peer2"]


@pytest.mark.parametrize(
    ("metrics", "record", "said"),
    [
        (len, lambda content: content.update(deployed="peer1"), "deploys peer1, where dkel deploys teacher0"),
        (len, lambda content: content["heads"].append("peer0"), "has the heads peer0, peer1, peer2, ensemble"),
        (without_peer, lambda content: content["heads"].remove("peer2"), "has the heads peer0, peer1, ensemble"),
        (len, lambda content: content["config"].update(settings={"bogus": 1}), "settings.bogus of dkel: Extra inputs"),
        (
            len,
            lambda content: content["config"].update(settings={**content["config"]["settings"], "peers": 3}),
            "settings.peers of dkel is not as okdbench writes it, which leaves out defaults",
        ),
        (len, lambda content: content["config"].update(method="nope"), 'unknown method "nope"'),
        (len, lambda content: content["config"].update(network="nope"), 'unknown network "nope"'),
        (len, lambda content: content["config"].update(network="resnet8+resnet8"), "is one network twice"),
        (len, lambda content: content["config"].update(network="resnet8+nope"), 'unknown network "nope"'),
        (len, lambda content: content["config"].update(dataset="nope"), 'unknown data set "nope"'),
        (len, lambda content: content["config"].update(method="kd", settings={}), "kd needs a teacher"),
        (
            len,
            lambda content: content["config"].update(teacher=copy.deepcopy(content["config"])),
            "dkel has no teacher",
        ),
        (
            len,
            lambda content: content["config"].update(plugins={"method other": "other 1"}),
            "names a plugin for method other, which",
        ),
        (len, lambda content: content["config"]["data"].update(normalisation="nope"), 'unknown preset "nope"'),
        (len, lambda content: content["config"]["data"].update(test_subset=10**12), "data.test_subset must be at most"),
        (len, lambda content: content["config"]["data"].update(subset=10**9), "data.subset must be at most"),
        (len, lambda content: content["config"]["data"].update(validation=10**9), "data.validation must be below"),
        (
            lambda lines: heads(lines)[0].update(top1=100.01, top5=100.01),
            len,
            "top-1 accuracy 100.01 is not that of a whole number",
        ),
        (
            lambda lines: heads(lines)[0].update(top1=100 * 356 / 355, top5=100 * 356 / 355),
            len,
            "line 1 is not the metrics of epoch 0",
        ),
        (lambda lines: heads(lines)[0].update(ce=-0.5), len, "epoch 0, peer0: cross-entropy -0.5 below"),
        (
            lambda lines: heads(lines)[0].update(top1=0.0, top5=0.0, ce=1.79),
            len,
            "cross-entropy 1.79 below 1.79176, the least of these accuracies",
        ),
        (lambda lines: heads(lines)[0].update(max_logit=-1.0), len, "epoch 0, peer0: largest logit -1 below 0"),
        (lambda lines: lines[2].update(losses={}), len, "epoch 2 has no losses"),
        (lambda lines: lines[2].update(losses={"ce": 1.0}), len, "epoch 2 has other losses than the first one"),
        (lambda lines: lines[2].update(heads=lines[1]["heads"]), len, "epoch 2 has all the numbers of epoch 1"),
        (lambda lines: lines[1].update(seconds=0.0), len, "epoch 1 took 0 seconds"),
        (len, lambda content: content.update(cause="collapsed"), "is finished, and says why it diverged"),
        (len, lambda content: content.update(reason="none"), "is finished, and says why it diverged"),
        (len, lambda content: content.update(status="diverged"), "diverged, and does not say why"),
        (
            len,
            lambda content: content.update(status="diverged", cause="not-finite"),
            "diverged (not-finite) after 4 epochs, and is to have 4",
        ),
        (
            len,
            lambda content: content.update(status="diverged", cause="collapsed"),
            "is said to have collapsed, and its logits have not",
        ),
        (
            lambda lines: lines.append({**lines[0], "epoch": 4}),
            lambda content: content.update(status="diverged", cause="not-finite", epochs=5),
            "diverged (not-finite) after 5 epochs, and is to have 4",
        ),
    ],
)
def test_what_cannot_be_asked_for_or_measured_is_named(
    folders: list[Path], metrics: Any, record: Any, said: str, okdbench: Command
) -> None:
    changed = change(folders[0], metrics, record)
    done = okdbench("results", "verify", "theirs")
    assert (done.status, done.err) == (1, "")
    assert f"{Path('theirs', 'quickstart', changed.name)}" in done.out and said in done.out
    assert "theirs: 1 run sound" in done.out


@pytest.mark.parametrize("cut", [0, 2])
def test_a_run_that_diverged_is_sound(folders: list[Path], cut: int, okdbench: Command) -> None:
    def record(content: Any) -> None:
        content.update(status="diverged", cause="not-finite", reason="loss not finite (ce)", epochs=cut)

    change(folders[0], lambda lines: lines.__delitem__(slice(cut, None)), record)
    done = okdbench("results", "verify", "theirs")
    assert (done.status, done.out) == (0, "theirs: 2 runs sound\n")


def gone(lines: list[Any], epochs: int) -> None:
    """Let a run go on for some epochs with logits of 0 from the first one on, each of them with the same numbers."""
    chance = {"top1": 100 * 36 / 355, "top5": 100 * 178 / 355, "ce": 2.302585, "ece": 0.0, "max_logit": 0.0}
    for epoch in range(len(lines), epochs):
        lines.append({**copy.deepcopy(lines[-1]), "epoch": epoch})
    del lines[epochs:]
    for head in heads(lines):
        head.update(chance)


@pytest.mark.parametrize(("epochs", "said"), [(5, "sound"), (6, "had collapsed in epoch 4, which ends a run")])
def test_a_collapsed_run_ends_when_it_has(folders: list[Path], epochs: int, said: str, okdbench: Command) -> None:
    def record(content: Any) -> None:
        content["config"]["training"].update(epochs=8)
        content.update(status="diverged", cause="collapsed", reason="collapsed", epochs=epochs)

    def metrics(lines: list[Any]) -> None:
        gone(lines, epochs)
        for line in lines:
            line["lr"] = rate(line["epoch"])

    training = json.loads((folders[0] / "record.json").read_text())["config"]["training"]
    settings = TrainingSettings.model_validate({**training, "epochs": 8})

    def rate(epoch: int) -> float:
        return settings.optimizer.lr * rate_factor(settings, epoch)

    change(folders[0], metrics, record)
    assert said in okdbench("results", "verify", "theirs").out


def test_a_method_of_a_plugin_that_is_not_here_is_no_doubt(folders: list[Path], okdbench: Command) -> None:
    config = {"method": "mine", "plugins": {"method mine": "mine 1.0"}}
    change(folders[0], record=lambda content: content["config"].update(config))
    done = okdbench("results", "verify", "theirs")
    assert done.status == 0
    assert "theirs: 2 runs sound" in done.out
    assert "needs method mine of plugin mine 1.0, which is not here: not checked" in done.out


def test_metrics_of_another_run_and_another_configuration_are_named(folders: list[Path], okdbench: Command) -> None:
    shutil.copy(folders[1] / "config.json", folders[0] / "config.json")
    text = (folders[0] / "metrics.jsonl").read_text()
    (folders[1] / "metrics.jsonl").write_text(text)
    change(folders[1])
    change(folders[0])
    done = okdbench("results", "verify", "theirs")
    assert done.status == 1
    assert "config.json is not the configuration of the record" in done.out
    assert f"metrics.jsonl is that of {Path('theirs', 'quickstart', folders[0].name)}, another run" in done.out


def test_what_need_not_be_sent_and_what_is_not_finished_is_told(folders: list[Path], okdbench: Command) -> None:
    (folders[0] / "weights.pt").write_bytes(b"weights")
    (folders[1] / "record.json").unlink()
    done = okdbench("results", "verify", "theirs")
    assert done.status == 0
    assert "theirs: 1 run sound, 1 run not finished" in done.out
    assert "also holds weights.pt, which records do not need" in done.out
    out = okdbench("results", "verify", "theirs", "--format", "json").out
    require_documented(out, "okdbench.verification/1")
    assert "has no runs as DIR/RECIPE/RUN" in okdbench("results", "verify", "nowhere").err
