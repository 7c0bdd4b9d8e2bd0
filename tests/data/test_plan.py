import pytest
import torch
from scipy import stats
from torch import Tensor

from okdbench.data import Augmentation, ClassBatches, EpochBatches, EpochPlan, ImageStore, epoch_plan, subset_indices
from okdbench.errors import UsageError
from okdbench.torchvision_shim import transforms

FLIPPED = Augmentation((0.0,) * 3, (1.0,) * 3)
STRAIGHT = Augmentation((0.0,) * 3, (1.0,) * 3, flip=False)


def same(a: EpochPlan, b: EpochPlan) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("order", "rows", "columns", "flips"))


def test_a_plan_visits_every_image_once_with_offsets_in_range() -> None:
    plan = epoch_plan(0, 0, 1000, 3, FLIPPED)
    assert plan.order.sort().values.tolist() == list(range(1000))
    for offsets in (plan.rows, plan.columns):
        assert offsets.shape == (3, 1000)
        assert offsets.dtype == torch.uint8
        assert sorted(set(offsets.flatten().tolist())) == list(range(9))
    assert plan.flips.shape == (3, 1000)
    assert plan.flips.dtype == torch.bool


def test_the_first_views_are_the_same_however_many_there_are() -> None:
    one, three = epoch_plan(5, 2, 400, 1, FLIPPED), epoch_plan(5, 2, 400, 3, FLIPPED)
    assert torch.equal(one.order, three.order)
    for name in ("rows", "columns", "flips"):
        assert torch.equal(getattr(one, name)[0], getattr(three, name)[0])
        assert not torch.equal(getattr(three, name)[0], getattr(three, name)[1])


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}, {"stream": 1}])
def test_seeds_epochs_and_streams_differ_in_every_part(other: dict[str, int]) -> None:
    key = {"seed": 0, "epoch": 0, "stream": 0}
    a, b = (epoch_plan(**each, count=500, views=1, augmentation=FLIPPED) for each in (key, {**key, **other}))
    for name in ("order", "rows", "columns", "flips"):
        assert not torch.equal(getattr(a, name), getattr(b, name))


def test_an_epoch_can_be_planned_without_those_before_it_and_disturbs_nobody() -> None:
    run = [epoch_plan(7, epoch, 100, 2, FLIPPED) for epoch in range(4)]
    torch.rand(11)
    state = torch.get_rng_state()
    assert same(run[3], epoch_plan(7, 3, 100, 2, FLIPPED))
    assert torch.equal(torch.get_rng_state(), state)


def test_without_flips_the_crops_stay_the_same() -> None:
    straight, flipped = epoch_plan(0, 0, 200, 2, STRAIGHT), epoch_plan(0, 0, 200, 2, FLIPPED)
    assert not straight.flips.any()
    assert torch.equal(straight.rows, flipped.rows)
    assert torch.equal(straight.columns, flipped.columns)


def test_the_numbers_are_those_of_every_earlier_release() -> None:
    plan = epoch_plan(0, 3, 50_000, 2, FLIPPED)
    assert plan.order[:6].tolist() == [34425, 44841, 24799, 46461, 9899, 36006]
    assert plan.rows[:, :8].tolist() == [[5, 4, 5, 7, 1, 3, 2, 0], [3, 7, 0, 0, 1, 0, 0, 6]]
    assert plan.columns[:, :8].tolist() == [[8, 7, 5, 4, 8, 1, 4, 1], [4, 4, 0, 1, 1, 1, 2, 0]]
    assert plan.flips[:, :8].int().tolist() == [[0, 1, 0, 1, 1, 1, 1, 0], [0, 1, 0, 0, 1, 0, 0, 1]]


def outcome(view: Tensor) -> Tensor:
    """Which of the 9 x 9 x 2 outcomes made each view [N, 3, 32, 32] of an image with its coordinates as colours."""
    pixels = (view * 255).round().long()
    centre, left = pixels[:, :, 16, 16], pixels[:, :, 16, 15]
    flip = (left[:, 1] > centre[:, 1]).long()
    row = centre[:, 0] - 12
    # In a mirrored view, the pixel at column 15 is the crop's pixel at column 16.
    column = torch.where(flip.bool(), left[:, 1], centre[:, 1]) - 12
    return (row * 9 + column) * 2 + flip


def test_crops_and_flips_are_distributed_as_torchvisions() -> None:
    count, cells = 9 * 9 * 2 * 50, 9 * 9 * 2
    places = torch.arange(32, dtype=torch.uint8)
    blank = torch.zeros(32, 32, dtype=torch.uint8)
    image = torch.stack([places.view(32, 1).expand(32, 32), places.expand(32, 32), blank])

    store = ImageStore(image.unsqueeze(0), torch.zeros(1, dtype=torch.long), FLIPPED, "cpu")
    plan = epoch_plan(0, 0, count, 1, FLIPPED)
    index = torch.zeros(900, dtype=torch.long)
    ours = torch.cat(
        [
            outcome(store.augmented(index, plan.rows[:, part], plan.columns[:, part], plan.flips[:, part])[0])
            for part in (slice(start, start + 900) for start in range(0, count, 900))
        ]
    ).bincount(minlength=cells)

    theirs = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = torch.stack([theirs(image) for _ in range(count)])
    reference = outcome(drawn.float() / 255).bincount(minlength=cells)

    assert ours.sum() == reference.sum() == count
    assert stats.chi2_contingency(torch.stack([ours, reference]).numpy()).pvalue > 0.01
    assert stats.chisquare(ours.numpy()).pvalue > 0.01


def test_offsets_of_one_image_are_independent_between_epochs_and_views() -> None:
    plans = [epoch_plan(0, epoch, 200_000, 2, FLIPPED) for epoch in range(2)]
    pairs = [
        (plans[0].rows[0], plans[0].columns[0]),
        (plans[0].rows[0], plans[0].rows[1]),
        (plans[0].rows[0], plans[1].rows[0]),
    ]
    for a, b in pairs:
        table = (a.long() * 9 + b.long()).bincount(minlength=81).view(9, 9)
        assert stats.chi2_contingency(table.numpy()).pvalue > 0.01


def test_a_subset_is_balanced_and_begins_every_larger_one() -> None:
    labels = torch.arange(1000) % 10
    chosen = subset_indices(labels, 64)
    assert len(set(chosen.tolist())) == 64
    assert sorted(labels[chosen].bincount().tolist()) == [6] * 6 + [7] * 4
    assert torch.equal(chosen, subset_indices(labels, 500)[:64])
    assert torch.equal(subset_indices(labels, 1000).sort().values, torch.arange(1000))
    torch.manual_seed(99)
    assert torch.equal(chosen, subset_indices(labels, 64))


def test_a_subset_of_uneven_classes_takes_what_there_is() -> None:
    labels = torch.tensor([0] * 3 + [1] * 20 + [2] * 20)
    assert labels[subset_indices(labels, 30)].bincount().tolist() == [3, 14, 13]


def test_too_large_a_subset_is_refused_with_both_numbers() -> None:
    with pytest.raises(UsageError, match=r"data\.subset.*\b21 images.*only 20;"):
        subset_indices(torch.zeros(20, dtype=torch.long), 21)


@pytest.mark.parametrize(
    ("batches", "steps", "trained"),
    [
        (EpochBatches(100, 40), 3, 100),
        (EpochBatches(100, 50), 2, 100),
        (EpochBatches(30, 40), 1, 30),
        (EpochBatches(41, 40, images_per_class=2), 1, 40),  # the last image is left out, so it does no harm
        (EpochBatches(47, 40, processes=2), 2, 46),
        (EpochBatches(41, 40, processes=2), 1, 40),
    ],
)
def test_batches_of_an_epoch(batches: EpochBatches, steps: int, trained: int) -> None:
    assert batches.problem is None
    assert (batches.steps, batches.trained) == (steps, trained)


LABELS = torch.arange(50_000) % 100
"""As many images of each class as CIFAR-100 has."""


def batches(labels: Tensor, batch_size: int, each: int, **key: int) -> Tensor:
    """Image indices [steps, classes in a batch, images of each] of an epoch."""
    classes = ClassBatches(labels, batch_size, each)
    plan = epoch_plan(
        **{"seed": 0, "epoch": 0, **key}, count=len(labels), views=1, augmentation=FLIPPED, classes=classes
    )
    assert plan.rows.shape == plan.flips.shape == (1, len(plan.order))
    return plan.order.view(classes.steps, batch_size // each, each)


@pytest.mark.parametrize("each", [2, 4])
def test_class_aware_batches_hold_different_images_of_different_classes(each: int) -> None:
    drawn = batches(LABELS, 128, each)
    assert drawn.shape == (390, 128 // each, each)
    shown = LABELS[drawn]
    assert (shown == shown[..., :1]).all()
    assert all(len(set(classes)) == 128 // each for classes in shown[..., 0].tolist())
    assert (drawn.sort(dim=-1).values.diff(dim=-1) > 0).all()


def test_an_epoch_of_class_aware_batches_misses_as_many_images_as_chance_says() -> None:
    expected = (1 - 0.64 * 2 / 500) ** 390
    assert expected == pytest.approx(0.368, abs=5e-4)
    missed = [1 - len(batches(LABELS, 128, 2, epoch=epoch).unique()) / 50_000 for epoch in range(10)]
    # The share of one epoch has a standard deviation below that of 50,000 independent images.
    assert sum(missed) / 10 == pytest.approx(expected, abs=3 * (expected * (1 - expected) / 500_000) ** 0.5)


def test_classes_images_and_places_of_class_aware_batches_are_drawn_evenly() -> None:
    drawn = torch.cat([batches(LABELS, 128, 2, epoch=epoch) for epoch in range(10)])
    classes = LABELS[drawn[..., 0]]
    assert stats.chisquare(classes[:, 0].bincount(minlength=100)).pvalue > 0.01  # one draw a batch: independent ones
    few = torch.arange(30) % 3
    pairs = torch.cat([batches(few, 2, 2, epoch=epoch) for epoch in range(600)]).flatten(0, 1) // 3
    table = (pairs[:, 0] * 10 + pairs[:, 1]).bincount(minlength=100).view(10, 10)
    assert (table.diagonal() == 0).all()
    assert stats.chisquare(table[~torch.eye(10, dtype=torch.bool)]).pvalue > 0.01


def test_where_classes_are_few_they_take_turns() -> None:
    labels = torch.arange(1000) % 10
    shown = labels[batches(labels, 50, 2)][..., 0]
    counts = torch.stack([row.bincount(minlength=10) for row in shown])
    assert set(counts.flatten().tolist()) == {2, 3}
    assert (counts[:, :].sum(dim=1) == 25).all()
    assert all(sorted(row[:10].tolist()) == list(range(10)) for row in shown)


def test_classes_may_be_missing_and_of_different_sizes() -> None:
    labels = torch.tensor([7] * 2 + [3] * 5 + [0] * 33)
    drawn = batches(labels, 6, 2)
    assert drawn.shape == (6, 3, 2)
    assert all(sorted(row.tolist()) == [0, 3, 7] for row in labels[drawn][..., 0])
    assert set(drawn[labels[drawn] == 7].tolist()) == {0, 1}


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}, {"stream": 1}])
def test_class_aware_batches_are_keyed(other: dict[str, int]) -> None:
    assert torch.equal(batches(LABELS, 128, 2), batches(LABELS, 128, 2))
    assert not torch.equal(batches(LABELS, 128, 2), batches(LABELS, 128, 2, **other))
    state = torch.get_rng_state()
    batches(LABELS, 128, 2)
    assert torch.equal(torch.get_rng_state(), state)


def test_class_aware_batches_that_cannot_be_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"training\.batch_size: 127 cannot be divided among classes with 2 images of each"
    ):
        ClassBatches(LABELS, 127, 2)
    with pytest.raises(UsageError, match=r"training\.batch_size: 128 is more than the 100 training images; lower it"):
        ClassBatches(LABELS[:100], 128, 2)
    with pytest.raises(UsageError, match=r"images_per_class: 2 asked for, but one class has 1 training"):
        ClassBatches(torch.tensor([0, 0, 0, 1]), 4, 2)
