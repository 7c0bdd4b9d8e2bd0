"""What a run records, when it counts as diverged, and that methods start from the same weights and batches."""

import json

import pytest
import torch

from okdbench import worker
from okdbench.files import read_json
from okdbench.runs.folder import RunFolder
from okdbench.runs.records import Cause, HeadMetrics, State
from okdbench.training import build_method
from okdbench.training.evaluation import Meter, collapsed, not_finite


def test_every_head_at_every_epoch(small, trainer, tmp_path) -> None:
    config = small("dkel")
    trainer(config, tmp_path / "run").train()
    record = read_json(tmp_path / "run" / "record.json")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert record["status"] == "finished"
    assert record["id"] == config.id
    assert record["config"] == config.model_dump(mode="json")
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    for line in lines:
        assert list(line["heads"]) == record["heads"]
        for metrics in line["heads"].values():
            assert 0 <= metrics["top1"] <= metrics["top5"] <= 100
            assert metrics["top1"] / 2 == pytest.approx(round(metrics["top1"] / 2)), "a mean over 50 images"
    assert lines[0]["lr"] == 0.1
    assert lines[2]["lr"] == pytest.approx(0.025)


def test_a_run_that_explodes_is_recorded_as_diverged(small, trainer, tmp_path) -> None:
    config = small("baseline")
    optimizer = config.training.optimizer.model_copy(update={"lr": 1e12})
    config = config.model_copy(update={"training": config.training.model_copy(update={"optimizer": optimizer})})
    trainer(config, tmp_path / config.folder).train()
    record = RunFolder(tmp_path / config.folder).record
    assert record and (record.status, record.cause) == (State.diverged, Cause.not_finite)
    assert "loss not finite (ce) in epoch 1" in str(record.reason)


def test_collapse_needs_five_epochs_of_tiny_logits_at_chance() -> None:
    dead = HeadMetrics(top1=10.0, top5=50.0, ce=2.3, ece=0.0, max_logit=1e-5)
    found = collapsed([dead] * 5, classes=10)
    assert found and found.cause is Cause.collapsed
    assert collapsed([dead] * 4, classes=10) is None
    assert collapsed([dead] * 4 + [dead.model_copy(update={"max_logit": 0.1})], classes=10) is None
    assert collapsed([dead] * 4 + [dead.model_copy(update={"top1": 11.0})], classes=10) is None
    assert not_finite("loss", {"ce": 1.0, "kl": float("inf")}) == "loss not finite (kl)"


def test_meter_is_a_mean_over_samples() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(70, 10), torch.randint(10, (70,))
    whole, parts = Meter(1, labels.device), Meter(1, labels.device)
    whole.add(logits[None], labels)
    for part in (slice(0, 64), slice(64, 70)):
        parts.add(logits[None, part], labels[part])
    [read] = whole.read()
    assert read.model_dump() == pytest.approx(parts.read()[0].model_dump())
    assert read.top1 == pytest.approx(100 * (logits.argmax(1) == labels).float().mean().item())
    assert read.ce == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item())


def test_heads_measured_together_have_the_metrics_of_each_alone() -> None:
    torch.manual_seed(0)
    logits, labels = 3 * torch.randn(4, 70, 10), torch.randint(10, (70,))
    logits[2, 5] = torch.nan
    together = Meter(4, labels.device)
    together.add(logits, labels)
    for head, read in enumerate(together.read()):
        alone = Meter(1, labels.device)
        alone.add(logits[head : head + 1], labels)
        assert read.model_dump() == pytest.approx(alone.read()[0].model_dump(), rel=1e-12, abs=1e-12, nan_ok=True)
        assert (read.ce == read.ce) is (head != 2)


def test_calibration_error_of_a_known_case() -> None:
    # Four samples at confidence 0.8 of which two are right: |0.5 - 0.8| = 30 %.
    logits = torch.log(torch.tensor([[0.8, 0.2]])).repeat(4, 1)
    meter = Meter(1, logits.device)
    meter.add(logits[None], torch.tensor([0, 0, 1, 1]))
    assert meter.read()[0].ece == pytest.approx(30.0, abs=1e-4)


def test_methods_start_from_the_same_weights(small) -> None:
    cpu = torch.device("cpu")
    baseline, dml, dkel = (build_method(small(name), cpu) for name in ("baseline", "dml", "dkel"))
    own = baseline.student.state_dict()
    peer = dml.peers[0].state_dict()
    assert all(torch.equal(own[name], peer[name]) for name in own)
    student = dkel.student.network
    assert torch.equal(own["trunk.stem.0.weight"], student.trunk.stem[0].weight)
    assert torch.equal(own["branch.head.classifier.weight"], student.branches[0].head.classifier.weight)
    assert not torch.equal(dml.peers[0].trunk.stem[0].weight, dml.peers[1].trunk.stem[0].weight)


def test_building_and_training_leave_the_global_generator_alone(small, trainer, tmp_path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trainer(small("dkel"), tmp_path / "run").train()
    assert torch.equal(before, torch.get_rng_state())


def test_worker_says_why_it_failed_in_one_line(small, tmp_path, capsys) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    config = small("baseline").model_copy(update={"dataset": "cifar100"})
    (folder / "config.json").write_text(config.model_dump_json())
    assert worker.main([str(folder), "--data", str(tmp_path / "nowhere")]) == worker.Exit.failed
    error = read_json(folder / "failure.json")["error"]
    assert "okdbench data fetch cifar100" in error
    assert "\n" not in error


def test_worker_refuses_a_plugin_that_is_not_the_planned_one(small, tmp_path, capsys) -> None:
    config = small("baseline").model_copy(update={"plugins": {"method baseline": "0123456789ab"}})
    (tmp_path / "config.json").write_text(config.model_dump_json())
    assert worker.main([str(tmp_path), "--data", str(tmp_path)]) == worker.Exit.failed
    assert "plugins have changed since the run was planned" in read_json(tmp_path / "failure.json")["error"]
