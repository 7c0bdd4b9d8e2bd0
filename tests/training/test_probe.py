"""Linear probes: frozen features, the classifier's training, and continuing after a stop."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from endings import assert_same
from torch import nn
from torch.nn.functional import cross_entropy

from okdbench import data
from okdbench.config import RunConfig, TrainingSettings
from okdbench.errors import UsageError
from okdbench.methods import configure
from okdbench.runs.folder import RunFolder
from okdbench.runs.probe import ProbeConfig, ProbeRecord, ProbeSettings
from okdbench.runs.records import State
from okdbench.runs.weights import final_weights
from okdbench.seeds import seeded
from okdbench.training import Interrupted, Trainer, build_method
from okdbench.training.deployed import FeatureNetwork, load_features
from okdbench.training.probe import ProbeTrainer

CPU = torch.device("cpu")
IMAGES = 400


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> RunFolder:
    """A finished run of two peers on digits, one epoch long."""
    config = RunConfig.model_validate(
        {
            "dataset": "digits",
            "network": "resnet8",
            "method": "dml",
            "settings": configure("dml", {"peers": 2}).model_dump(mode="json", exclude_defaults=True),
            "training": {"epochs": 1, "batch_size": 50, "optimizer": {"lr": 0.1}, "schedule": {"name": "cosine"}},
            "data": {"subset": 100, "test_subset": 50},
            "seed": 1,
        }
    )
    folder = RunFolder(tmp_path_factory.mktemp("runs") / config.folder)
    folder.path.mkdir()
    Trainer(config, folder, data_root, CPU, lambda: False).train()
    return folder


@pytest.fixture
def probe(source: RunFolder) -> Callable[..., ProbeConfig]:
    """A probe of that run on digits: 3 epochs of 7 batches."""

    def make(**settings: object) -> ProbeConfig:
        probe = {
            "source": "digits",
            "training": {"epochs": 3, "batch_size": 60, "schedule": {"milestones": [2]}},
            "data": {"subset": IMAGES, "test_subset": 50},
            **settings,
        }
        return ProbeConfig(
            dataset="digits", source=source.config, probe=ProbeSettings.model_validate(probe), seed=source.config.seed
        )

    return make


@pytest.fixture(scope="module")
def traced_once(source: RunFolder) -> Callable[..., FeatureNetwork]:
    """`load_features`, which takes seconds, for each head once."""
    return cache(lambda heads, *rest: load_features(source, heads, *rest))


@pytest.fixture
def train(
    source: RunFolder, data_root: Path, traced_once: Callable[..., FeatureNetwork], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RunFolder]:
    """Trains a probe in a folder beside the source's run."""
    monkeypatch.setattr(
        "okdbench.training.probe.load_features", lambda folder, heads, *rest: traced_once(tuple(heads), *rest)
    )

    def train(config: ProbeConfig, name: str, stop: Callable[[], bool] = lambda: False) -> RunFolder:
        folder = RunFolder(source.path.parent / name / config.folder)
        folder.path.mkdir(parents=True, exist_ok=True)
        beside = folder.path.parent / source.path.name
        if not beside.exists():
            beside.symlink_to(source.path)
        ProbeTrainer(config, folder, data_root, CPU, stop).train()
        return folder

    return train


def test_features_are_what_the_heads_classifiers_read(source: RunFolder) -> None:
    method = build_method(source.config, CPU).eval()
    method.load_state_dict(final_weights(source))
    network = load_features(source, ["peer?", "ensemble"], 32, CPU)  # a mean of logits has no features
    assert (list(network.widths), network.deployed) == (["peer0", "peer1"], "peer0")
    images = torch.rand(5, 3, 32, 32)
    with torch.no_grad():
        wanted, features = method.predict(images), network(images).split(list(network.widths.values()), dim=1)
        for peer, part in enumerate(features):
            classifier = method.peers[peer].branch.head.classifier
            assert part.shape == (5, classifier.in_features)
            torch.testing.assert_close(classifier(part), wanted[f"peer{peer}"], rtol=1e-5, atol=1e-5)
    tensors = [value for module in network.modules.values() for value in module.state_dict().values()]
    assert not any(value.requires_grad for value in tensors)


@pytest.mark.parametrize("heads", [["ensemble"], ["leader"]])
def test_a_mean_of_logits_and_an_unknown_head_have_no_features(source: RunFolder, heads: list[str]) -> None:
    told = rf"probe\.heads: dml has no linear classifier of features among {heads[0]}; its heads are peer0, peer1, ens"
    with pytest.raises(UsageError, match=told):
        load_features(source, heads, 32, CPU)


def pixels(split: torch.Tensor) -> torch.Tensor:
    """Images of digits, normalised as the preset does."""
    dataset = data.get("digits")
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (dataset.mean, dataset.std))
    return (split / 255 - mean) / std


def test_the_classifier_is_trained_as_a_plain_loop_trains_it(
    source: RunFolder, data_root: Path, probe: Callable[..., ProbeConfig], train: Callable[..., RunFolder]
) -> None:
    config = probe(view="whole")
    folder = train(config, "plain")
    images, network = data.load_packed("digits", data_root), load_features(source, ["deployed"], 32, CPU)
    chosen = data.subset_indices(images.train_labels, IMAGES)
    features, labels = network(pixels(images.train[chosen])).double(), images.train_labels[chosen]
    with seeded(config.seed, "method", 0):
        classifier = nn.Linear(network.widths["peer0"], 10).double()
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for epoch in range(3):
        optimizer.param_groups[0]["lr"] = 0.1 if epoch < 2 else 0.01
        for places in data.epoch_order(config.seed, epoch, IMAGES).split(60):
            optimizer.zero_grad()
            cross_entropy(classifier(features[places]), labels[places]).backward()
            optimizer.step()
    ours = final_weights(folder)
    torch.testing.assert_close(ours["classifiers.0.weight"].double(), classifier.weight.detach(), rtol=1e-4, atol=1e-5)
    tested = data.subset_indices(images.test_labels, 50)
    with torch.no_grad():
        answers = classifier(network(pixels(images.test[tested])).double()).argmax(dim=1)
    accuracy = 100 * float((answers == images.test_labels[tested]).double().mean())
    assert folder.epochs[-1].heads["peer0"].top1 == pytest.approx(accuracy)


def test_every_head_has_a_classifier_of_its_own(
    probe: Callable[..., ProbeConfig], train: Callable[..., RunFolder]
) -> None:
    one, two = train(probe(view="whole"), "one"), train(probe(heads=["peer?"], view="whole"), "two")
    record = two.record
    assert isinstance(record, ProbeRecord)
    assert two.state is State.finished
    assert (record.heads, record.deployed, record.environment["precision"]) == (("peer0", "peer1"), "peer0", "float32")
    assert [epoch.lr for epoch in two.epochs] == pytest.approx([0.1, 0.1, 0.01])
    assert one.epochs[-1].heads["peer0"].ce == pytest.approx(two.epochs[-1].heads["peer0"].ce, rel=1e-5)
    assert two.epochs[-1].heads["peer1"].ce != two.epochs[-1].heads["peer0"].ce


@pytest.mark.parametrize("view", ["resized-crop", pytest.param("whole", marks=pytest.mark.slow)])
def test_a_probe_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(
    view: str, source: RunFolder, probe: Callable[..., ProbeConfig], train: Callable[..., RunFolder]
) -> None:
    before = source.weights.read_bytes()
    config = probe(view=view)
    whole = train(config, f"whole-{view}")
    for steps in (1, 6, 8):  # while features are computed, then in the second group of an epoch's images
        calls = iter([False] * (steps - 1) + [True] * 100)
        with pytest.raises(Interrupted):
            train(config, f"stopped-{view}", lambda calls=calls: next(calls))  # type: ignore[misc]
    assert_same(whole.path, train(config, f"stopped-{view}").path)
    assert source.weights.read_bytes() == before


def test_a_source_that_is_not_there_is_named(
    probe: Callable[..., ProbeConfig], source: RunFolder, data_root: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"weights\.pt: the source's weights are not there; train that run first"):
        ProbeTrainer(probe(), RunFolder(tmp_path / "probe"), data_root, CPU, lambda: False)


def test_settings_are_laid_over_the_protocol() -> None:
    assert ProbeSettings.model_validate(
        {"training": {"optimizer": {"lr": 30}}}
    ).training == TrainingSettings.model_validate(
        {
            "epochs": 100,
            "batch_size": 64,
            "optimizer": {"lr": 30, "momentum": 0.9, "nesterov": True, "weight_decay": 0},
            "schedule": {"name": "multistep", "milestones": [30, 60, 90]},
        }
    )
    cosine = ProbeSettings.model_validate({"training": {"schedule": {"name": "cosine"}}})
    assert cosine.training.schedule.name == "cosine"
