"""What a run's processes get to train and test on, from packed images and from files alike."""

from pathlib import Path

import image_folder
import pytest
import torch

from okdbench.config import CosineSchedule, DataSettings, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.errors import UsageError
from okdbench.training.distributed import ALONE, Processes
from okdbench.training.images import RunImages, open_dataset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    image_folder.make(root, classes=4, train=5)
    return root


def config(dataset: str, batch_size: int = 8, **settings: int | tuple[str, ...]) -> RunConfig:
    training = TrainingSettings(
        epochs=2,
        batch_size=batch_size,
        optimizer=OptimizerSettings(lr=0.1),
        schedule=CosineSchedule(name="cosine"),
    )
    # As many images as the folder has.
    sizes = {"subset": 20, "test_subset": 8} if dataset == "digits" else {}
    run = {"network": "resnet8", "method": "baseline", "settings": {}, "seed": 3}
    return RunConfig(dataset=dataset, training=training, data=DataSettings(**{**sizes, **settings}), **run)


def open_(config: RunConfig, root: Path, processes: Processes = ALONE, images_per_class: int = 0) -> RunImages:
    return RunImages(open_dataset(config, root, CPU), config, images_per_class, processes)


both = pytest.mark.parametrize("dataset", ["digits", image_folder.NAME])


@both
def test_an_epoch_is_every_image_once(dataset: str, root: Path) -> None:
    images = open_(config(dataset), root)
    batches = list(images.epoch(0, views=2))
    assert images.steps == 3
    assert [len(batch.labels) for batch in batches] == [8, 8, 4]
    assert [len(batch.views) for batch in batches] == [2, 2, 2]
    assert batches[0].views[0].is_contiguous(memory_format=torch.channels_last)
    counts = torch.cat([batch.labels for batch in batches]).bincount()
    assert counts.tolist() == ([2] * 10 if dataset == "digits" else [5] * 4)


@both
def test_an_epoch_continues_where_it_stopped(dataset: str, root: Path) -> None:
    images = open_(config(dataset), root)
    whole, rest = list(images.epoch(1, views=2)), list(images.epoch(1, views=2, start=1))
    for left, right in zip(whole[1:], rest, strict=True):
        assert torch.equal(left.labels, right.labels)
        assert all(map(torch.equal, left.views, right.views))
    assert not torch.equal(whole[0].views[0], next(images.epoch(0, views=2)).views[0])


@both
@pytest.mark.parametrize("policies", [(), ("cutout", "randaugment")])
def test_processes_share_the_same_batches(dataset: str, policies: tuple[str, ...], root: Path) -> None:
    run = config(dataset, policies=policies)
    alone = list(open_(run, root).epoch(0, views=2))
    parts = [list(open_(run, root, Processes(rank, 2)).epoch(0, views=2)) for rank in range(2)]
    for whole, *shared in zip(alone, *parts, strict=True):
        assert torch.equal(whole.labels, torch.cat([part.labels for part in shared]))
        assert len(shared[0].labels) == len(shared[1].labels)
        for view in range(2):
            assert torch.equal(whole.views[view], torch.cat([part.views[view] for part in shared]))


@both
def test_each_view_has_its_policy(dataset: str, root: Path) -> None:
    def views(*policies: str) -> list[torch.Tensor]:
        batches = open_(config(dataset, policies=policies), root).epoch(1, views=3)
        return [torch.cat(each) for each in zip(*(batch.views for batch in batches), strict=True)]

    plain, mixed = views(), views("standard", "cutout", "none")
    assert torch.equal(plain[0], mixed[0])
    changed = (plain[1] != mixed[1]).any(dim=1)
    assert changed.flatten(1).any(dim=1).all(), "every image has a hole"
    # black where there is a hole, as it was everywhere else
    black = [colour[changed] for colour in mixed[1].unbind(1)]
    assert all(len(colour.unique()) == 1 for colour in black)
    images = open_(config(dataset, policies=("none",)), root)
    if dataset == "digits":  # the others are cropped by a policy of the loader processes
        index = torch.cat([batch.indices for batch in images.epoch(1, views=1)])
        whole = torch.cat([pending.batch().views[0] for pending in images.train_source.plain([range(20)])])
        assert torch.equal(mixed[2], whole[index])
    assert all(map(torch.equal, views("cutout"), views("cutout", "cutout", "cutout")))
    for one, other in ((0, 1), (1, 2)):
        assert not torch.equal(views("cutout")[one], views("cutout")[other])


def test_policies_are_one_for_all_views_or_one_for_each(root: Path) -> None:
    images = open_(config("digits", policies=("cutout", "none")), root)
    with pytest.raises(UsageError, match=r"data.policies: names 2 policies, but the method has 3 views; name one for"):
        next(images.epoch(0, views=3))
    with pytest.raises(UsageError, match="but the method has one view"):
        next(images.epoch(0, views=1))


@both
def test_processes_share_the_test_images(dataset: str, root: Path) -> None:
    def labels(processes: Processes) -> list[int]:
        images = open_(config(dataset, 6), root, processes)
        return [int(label) for load in images.test() for label in load.batch().labels]

    shares = [labels(Processes(rank, 3)) for rank in range(3)]
    assert [label for share in shares for label in share] == labels(ALONE)
    assert [len(share) for share in shares] == [2, 3, 3]


def test_images_over_are_left_out_where_processes_must_get_equally_many(root: Path) -> None:
    images = [open_(config("digits", 8, subset=21), root, Processes(rank, 2)) for rank in range(2)]
    assert [[len(batch.labels) for batch in each.epoch(0, views=1)] for each in images] == [[4, 4, 2]] * 2
    nothing_over = open_(config("digits", 8, subset=17), root, Processes(0, 2))
    assert nothing_over.steps == 2, "one image cannot be shared by two processes"


@both
def test_class_aware_batches(dataset: str, root: Path) -> None:
    alone = list(open_(config(dataset, 8), root, images_per_class=2).epoch(0, views=1))
    assert len(alone) == 2
    for batch in alone:
        pairs = batch.labels.view(-1, 2)
        assert (pairs[:, 0] == pairs[:, 1]).all() and len(pairs[:, 0].unique()) == 4
    parts = [open_(config(dataset, 8), root, Processes(rank, 2), 2).epoch(0, views=1) for rank in range(2)]
    for whole, *shared in zip(alone, *parts, strict=True):
        assert torch.equal(whole.labels, torch.cat([part.labels for part in shared]))


@pytest.mark.parametrize(
    ("settings", "size", "per_class", "message"),
    [
        ({"batch_size": 9}, 2, 0, "training.batch_size: 9 cannot be divided among 2 processes; change either"),
        ({"batch_size": 6}, 2, 2, "6 cannot be divided among 2 processes with 2 images of each class"),
        ({"batch_size": 5}, 1, 2, "5 cannot be divided among classes with 2 images of each class"),
        ({"batch_size": 1}, 1, 0, "training.batch_size: 1 makes batches of one image, too few .*; raise it"),
        ({"batch_size": 2}, 2, 0, "training.batch_size: 2 makes batches of one image for each process"),
        ({"batch_size": 8, "subset": 9}, 1, 0, "8 leaves a last batch of one image, .*; change it"),
        ({"batch_size": 8, "subset": 10}, 2, 0, "8 leaves a last batch of one image for each process"),
        ({"batch_size": 8, "subset": 6}, 1, 2, "8 is more than the 6 training images; lower it"),
    ],
)
def test_batches_that_cannot_be_divided_are_refused(settings, size, per_class, message, root: Path) -> None:
    with pytest.raises(UsageError, match=message):
        open_(config(image_folder.NAME, **settings), root, Processes(0, size), per_class)


def test_subsets_of_files_are_class_balanced(root: Path) -> None:
    images = open_(config(image_folder.NAME, 4, subset=8, test_subset=4, validation=8), root)
    trained = [int(label) for batch in images.epoch(0, views=1) for label in batch.labels]
    tested = [int(label) for load in images.test() for label in load.batch().labels]
    held_out = [int(label) for load in images.validation() for label in load.batch().labels]
    assert sorted(trained) == sorted(held_out) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert sorted(tested) == [0, 1, 2, 3]


def test_held_out_files_are_not_trained_on_and_not_augmented(root: Path) -> None:
    def seen(epoch: int) -> list[torch.Tensor]:
        images = open_(config(image_folder.NAME, 6, validation=6), root)
        list(images.epoch(epoch, views=1))
        return [load.batch().views[0].clone() for load in images.validation()]

    assert all(map(torch.equal, seen(0), seen(1)))
    assert open_(config(image_folder.NAME, 6, validation=6), root).steps == 3
