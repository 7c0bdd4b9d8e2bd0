import copy
import hashlib
import json
import math
import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commandline import Command
from json_page import require_documented

from okdbench.config import RunConfig, TrainingSettings
from okdbench.runs.provenance import OLDEST_TORCH
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


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"torch": "2.10.1"}, "record.json has torch 2.10.1, where okdbench needs 2.11 or newer"),
        ({"torch": "potato"}, "record.json has torch potato, where okdbench needs 2.11 or newer"),
        ({"precision": "float16"}, "record.json has precision float16, where okdbench has float32, bfloat16"),
        (
            {"backend": "auto"},
            "record.json has backend auto, where okdbench has eager, compiled, graph, compiled-graph",
        ),
        ({"algorithms": ""}, "record.json has algorithms , where okdbench has deterministic, fast"),
        ({"device": "cpu", "backend": "graph"}, "record.json has backend graph on a CPU, and a graph needs a GPU"),
    ],
)
def test_what_no_run_is_computed_with_is_named(
    folders: list[Path], changed: dict[str, Any], said: str, okdbench: Command
) -> None:
    change(folders[0], record=lambda content: content["environment"].update(changed))
    done = okdbench("results", "verify", "theirs")
    assert (done.status, done.err) == (1, "")
    assert f"{Path('theirs', 'quickstart', folders[0].name)}: {said}" in done.out
    assert "theirs: 1 run sound" in done.out


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            lambda content: [content["environment"].pop(name) for name in ("backend", "precision")],
            "record.json does not say how it was computed: no backend, precision",
        ),
        (lambda content: content.pop("weights_sha256"), "record.json has no hash of the weights"),
        (lambda content: content["environment"].update(git_commit=None), "names no commit of okdbench"),
        (
            lambda content: content["environment"].update(processes=2),
            "trained by 2 processes, each of which normalises its own part of a batch",
        ),
        (
            lambda content: content["environment"].update(algorithms="fast"),
            "trained with fast algorithms, which need not give the same numbers again",
        ),
        (
            lambda content: content["environment"].update(earlier=[{"device_name": "Abacus", "precision": "float32"}]),
            "begun with another device_name Abacus, precision float32",
        ),
    ],
)
def test_what_a_reader_should_know_is_remarked(folders: list[Path], record: Any, said: str, okdbench: Command) -> None:
    change(folders[0], record=record)
    done = okdbench("results", "verify", "theirs")
    assert (done.status, done.err) == (0, "")
    assert f"1 run ({folders[0].name}): {said}" in done.out


def test_other_images_of_the_same_name_are_remarked(folders: list[Path], okdbench: Command) -> None:
    for folder, images in zip(folders, ("a" * 64, "b" * 64), strict=True):
        change(folder, record=lambda content, images=images: content["environment"].update(images_sha256=images))
    done = okdbench("results", "verify", "theirs")
    assert (done.status, done.err) == (0, "")
    said = f"its images of digits-8x8 are not those of {Path('theirs', 'quickstart', folders[0].name)}"
    assert f"1 run ({folders[1].name}): {said}" in done.out


def test_a_hash_of_weights_is_one(folders: list[Path], okdbench: Command) -> None:
    change(folders[0], record=lambda content: content.update(weights_sha256="hello"))
    done = okdbench("results", "verify", "theirs")
    assert done.status == 1 and "record.json: not a valid record (weights_sha256: " in done.out


def test_the_oldest_torch_is_that_of_the_requirements() -> None:
    project = tomllib.loads((PUBLISHED.parents[1] / "pyproject.toml").read_text())["project"]
    assert f"torch>={'.'.join(map(str, OLDEST_TORCH))}" in project["dependencies"]


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
        (
            lambda lines: heads(lines)[0].update(max_logit=0.01),
            len,
            "where logits up to 0.01 give 2.2846 to 2.3206",
        ),
        (
            lambda lines: heads(lines)[0].update(ce=50.0, max_logit=2.0),
            len,
            "epoch 0, peer0: cross-entropy 50, where logits up to 2 give 0.152584 to 6.19926",
        ),
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


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (lambda content: content["environment"].update(plugins=5), "environment.plugins: Input should be a valid dict"),
        (lambda content: content["environment"].update(plugins=[1]), "environment.plugins: Input should be a valid"),
        (lambda content: content["environment"].update(plugins=True), "environment.plugins: Input should be a valid"),
        (lambda content: content["environment"].update(jobs=10**400), "environment.jobs: Input should be"),
        (lambda content: content["environment"].update(jobs="3"), "environment.jobs: Input should be"),
        (lambda content: content["environment"].update(processes="x"), "environment.processes: Input should be"),
        (lambda content: content["environment"].update(device_name={"a": [1]}), "environment.device_name: Input"),
        (lambda content: content.update(environment=[]), "environment: Input should be"),
        (lambda content: content.update(schema=True), "record.json: damaged (schema True is no version)"),
        (lambda content: content.update(schema="2"), "record.json: damaged (schema '2' is no version)"),
        (lambda content: content.update(schema=0), "record.json: damaged (schema 0 is no version)"),
        (lambda content: content.update(schema=3), "schema 3, but this version of okdbench knows up to 2; upgrade"),
        (
            lambda content: content.update(wall_seconds=1e9),
            "record.json has wall_seconds 1e+09, more than thirty years",
        ),
    ],
)
def test_a_record_that_would_stop_a_report_is_named(
    folders: list[Path], record: Any, said: str, okdbench: Command
) -> None:
    change(folders[0], record=record)
    done = okdbench("results", "verify", "theirs")
    assert (done.status, done.err) == (1, "")
    assert said in done.out and "theirs: 1 run sound" in done.out and "--force" not in done.out


@pytest.mark.parametrize("depth", [300, 900])
def test_settings_within_settings_hide_no_other_run(folders: list[Path], depth: int, okdbench: Command) -> None:
    content = json.loads((folders[0] / "record.json").read_text())
    content["config"]["settings"]["x"] = nested(depth)
    (folders[0] / "record.json").write_text(json.dumps(content))
    done = okdbench("results", "verify", "theirs")
    assert (done.status, done.err) == (1, "")
    assert f"{folders[0].name}/record.json: damaged (" in done.out and "theirs: 1 run sound" in done.out
    assert "damaged (" in okdbench("results", "index", "--results", "theirs").err


def test_a_record_without_precision_is_reported_without_it(folders: list[Path], okdbench: Command) -> None:
    change(folders[0], record=lambda content: content["environment"].pop("precision"))
    assert okdbench("results", "verify", "theirs").status == 0
    told = okdbench("report", "quickstart", "--results", "theirs", "--style", "paper")
    assert (told.status, told.err) == (0, "")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**31)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "record.json"])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "is no file; send the file itself"),
        (Path.mkdir, "is no file; send the file itself"),
        (lambda path: path.symlink_to("/dev/zero"), "is a symbolic link; send the file itself"),
        (lambda path: path.symlink_to(path), "is a symbolic link; send the file itself"),
        (lambda path: path.symlink_to("nowhere"), "is a symbolic link; send the file itself"),
        (huge, "MiB, which no run writes; ask its"),
    ],
)
def test_what_is_no_file_is_not_opened(
    folders: list[Path], name: str, make: Callable[[Path], object], said: str, okdbench: Command
) -> None:
    (folders[0] / name).unlink()
    make(folders[0] / name)
    done = okdbench("results", "verify", "theirs")
    assert (done.status, done.err) == (1, "")
    assert f"{Path('theirs', 'quickstart', folders[0].name, name)}: " in done.out and said in done.out
    assert "theirs: 1 run sound" in done.out


def test_a_run_that_is_a_link_is_not_looked_into_here_and_is_read_by_reports(
    folders: list[Path], okdbench: Command
) -> None:
    elsewhere = folders[0].rename(folders[0].parent.parent.parent / "elsewhere")
    folders[0].symlink_to(elsewhere)
    done = okdbench("results", "verify", "theirs")
    assert done.status == 1 and f"{folders[0].name}: is a symbolic link; send the folder itself" in done.out
    assert "2 finished runs" in okdbench("results", "index", "--results", "theirs").out


def test_a_recipe_that_is_a_link_is_not_looked_into(folders: list[Path], okdbench: Command) -> None:
    recipe = folders[0].parent
    recipe.symlink_to(recipe.rename(recipe.parent.parent / "elsewhere"))
    done = okdbench("results", "verify", "theirs")
    assert done.status == 1 and "no run is sound" in done.out
    assert f"{Path('theirs', 'quickstart')}: is a symbolic link; send the folder itself" in done.out
    assert okdbench("results", "merge", "theirs", "--results", "here").status == 1
    assert not Path("here").exists()


def test_metrics_that_cannot_be_read_hide_no_other_run(
    folders: list[Path], okdbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    actual = Path.read_bytes

    def read(path: Path) -> bytes:
        if path.parent.name == folders[0].name and path.name == "metrics.jsonl":
            raise PermissionError(13, "Permission denied", str(path))
        return actual(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    done = okdbench("results", "verify", "theirs")
    assert (done.status, done.err) == (1, "")
    assert "metrics.jsonl: cannot be read (Permission denied); ask its sender" in done.out
    assert "theirs: 1 run sound" in done.out


def test_names_of_others_say_only_what_they_are(folders: list[Path], okdbench: Command) -> None:
    (folders[0] / "x\x1b[31m\nfake: 9 runs sound").write_text("")
    Path("theirs/quickstart").rename(os.fsdecode(b"theirs/a\xff"))
    done = okdbench("results", "verify", "theirs")
    assert (done.status, done.err) == (0, "")
    assert "theirs: 2 runs sound" in done.out and "\x1b" not in done.out and "\nfake" not in done.out
    assert okdbench("results", "verify", "theirs", "--format", "json").status == 0


def test_a_line_that_breaks_off_nothing(folders: list[Path], okdbench: Command) -> None:
    folders[0].rename(folders[0].parent / f"a\n{folders[0].name}")
    done = okdbench("results", "verify", "theirs")
    assert done.status == 1 and len(done.out.splitlines()) == 2


@pytest.mark.parametrize(
    ("bend", "line"),
    [
        (lambda text: text + '{"epo', 5),
        (lambda text: text.rstrip("\n"), 4),
        (lambda text: text.replace("\n", "\r\n"), 1),
        (lambda text: text.replace('"top1": ', '"top1": 99.0, "top1": ', 1), 1),
        (lambda text: text.replace('{"epoch": 2', '{"note": 1, "epoch": 2'), 3),
    ],
)
def test_lines_that_okdbench_does_not_write_are_remarked(
    folders: list[Path], bend: Callable[[str], str], line: int, okdbench: Command
) -> None:
    metrics, record = folders[0] / "metrics.jsonl", folders[0] / "record.json"
    before = hashlib.sha256(metrics.read_bytes()).hexdigest()
    metrics.write_bytes(bend(metrics.read_text()).encode())
    record.write_text(record.read_text().replace(before, hashlib.sha256(metrics.read_bytes()).hexdigest()))
    done = okdbench("results", "verify", "theirs")
    assert done.status == 0
    assert f"metrics.jsonl, line {line}, is not as okdbench writes it" in done.out


@pytest.mark.parametrize("name", ["config.json", "record.json"])
def test_a_key_that_is_there_twice_is_damage(folders: list[Path], name: str, okdbench: Command) -> None:
    path = folders[0] / name
    path.write_text(path.read_text().replace('"seed": ', '"seed": 7, "seed": ', 1))
    done = okdbench("results", "verify", "theirs")
    assert done.status == 1 and f'{name}: damaged ("seed" is there twice); ask its sender for the file' in done.out


def test_a_run_without_its_configuration_is_not_whole(folders: list[Path], okdbench: Command) -> None:
    (folders[0] / "config.json").unlink()
    done = okdbench("results", "verify", "theirs")
    assert done.status == 1 and "config.json is not there; ask its sender for the file" in done.out


def other_times(lines: list[Any]) -> None:
    lines[0]["seconds"] += 1e-3


def other_numbers(lines: list[Any]) -> None:
    other_times(lines)
    heads(lines)[0]["ece"] += 1e-3


def all_other_numbers(lines: list[Any]) -> None:
    for head in heads(lines):
        head["ce"] += 1e-9


def all_but_one_epoch(lines: list[Any]) -> None:
    kept = copy.deepcopy(lines[2])
    all_other_numbers(lines)
    lines[2] = kept


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (len, "metrics.jsonl is that of {}, another run"),
        (other_times, "has numbers of {}, a run of another seed (epoch 0)"),
        (other_numbers, "has numbers of {}, a run of another seed (epoch 0)"),
        (all_but_one_epoch, "has numbers of {}, a run of another seed (epoch 2)"),
        (all_other_numbers, "has the weights of {}, a run of another seed"),
    ],
)
def test_a_run_under_another_seed_is_named(folders: list[Path], metrics: Any, said: str, okdbench: Command) -> None:
    shutil.rmtree(folders[1])
    copied = folders[0].parent / "copy"
    shutil.copytree(folders[0], copied)
    change(copied, metrics, lambda content: content["config"].update(seed=77))
    done = okdbench("results", "verify", "theirs")
    assert done.status == 1
    assert said.format(Path("theirs", "quickstart", folders[0].name)) in done.out


def test_numbers_of_a_dead_network_are_no_copy(folders: list[Path], okdbench: Command) -> None:
    for folder in folders:
        change(folder, lambda lines: heads(lines)[0].update(top1=0.0, top5=0.0, ce=math.log(10), max_logit=0.0))
    assert okdbench("results", "verify", "theirs").status == 0


@pytest.mark.parametrize("largest", [40.0, 1e308])
def test_a_cross_entropy_that_float32_rounds_to_0_is_sound(
    largest: float, folders: list[Path], okdbench: Command
) -> None:
    perfect = {"top1": 100.0, "top5": 100.0, "ce": 0.0, "max_logit": largest}
    change(folders[0], lambda lines: heads(lines)[0].update(perfect))
    assert okdbench("results", "verify", "theirs").status == 0


def test_the_same_numbers_with_other_settings_are_remarked(folders: list[Path], okdbench: Command) -> None:
    other = Path(shutil.copytree(folders[0], folders[0].parent / "other"))
    changed = change(
        other, other_times, lambda content: content["config"]["training"]["optimizer"].update(weight_decay=0.25)
    )
    done = okdbench("results", "verify", "theirs")
    assert (done.status, done.err) == (0, "")
    first, second = sorted((changed.name, folders[0].name))
    said = "has all the numbers of {}: what tells the two apart has had no effect"
    assert f"1 run ({second}): {said.format(Path('theirs', 'quickstart', first))}" in " ".join(done.out.split())


@pytest.mark.parametrize(("metrics", "status"), [(other_times, 0), (other_numbers, 1)])
def test_a_run_in_two_recipes_has_one_result(folders: list[Path], metrics: Any, status: int, okdbench: Command) -> None:
    other = Path(shutil.copytree(folders[0], folders[0].parent.parent / "another" / folders[0].name))
    change(other, metrics)
    done = okdbench("results", "verify", "theirs")
    assert done.status == status
    first, second = (Path("theirs", recipe, other.name) for recipe in ("another", "quickstart"))
    assert (f"{second}: has another result than {first}, and is the same run" in done.out) is bool(status)


def test_a_time_below_that_of_the_epochs_is_remarked(folders: list[Path], okdbench: Command) -> None:
    change(folders[0], record=lambda content: content.update(wall_seconds=0.0))
    done = okdbench("results", "verify", "theirs")
    assert done.status == 0 and "record.json has wall_seconds below those of its epochs" in done.out


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("quickstart/extra/{}", "extra): holds no run: not looked at"),
        ("quickstart/extra/{}", "): holds a record, and is not at DIR/RECIPE/RUN: not looked at"),
        ("incoming/results/quickstart/{}", "): holds a record, and is not at DIR/RECIPE/RUN: not looked at"),
        ("bench/{}", "): holds a record, and is not at DIR/RECIPE/RUN: not looked at"),
        ("{}", "): holds a record, and is not at DIR/RECIPE/RUN: not looked at"),
    ],
)
def test_what_is_not_looked_at_is_named(folders: list[Path], place: str, said: str, okdbench: Command) -> None:
    shutil.copytree(folders[0], Path("theirs", place.format(folders[0].name)))
    done = okdbench("results", "verify", "theirs")
    assert (done.status, done.err) == (0, "")
    assert "theirs: 2 runs sound" in done.out and said in done.out
