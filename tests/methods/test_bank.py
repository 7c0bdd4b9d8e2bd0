"""Memory banks: which images an image is contrasted with, what moves rows, and what does not."""

import pytest
import torch
from methods.build import method
from torch.nn.functional import normalize

from okdbench import networks
from okdbench.methods import Batch, Build, Progress, configure, get
from okdbench.methods.parts.bank import MemoryBank
from okdbench.seeds import seeded

LABELS = torch.tensor([2, 0, 1, 2, 2, 0, 1, 2, 0, 2])


def bank(labels: torch.Tensor = LABELS, networks: int = 2, width: int = 128, seed: int = 0) -> MemoryBank:
    with seeded(seed, "memory"):
        return MemoryBank(labels, networks, width, torch.zeros((), dtype=torch.float64))


def step(number: int) -> torch.Tensor:
    return torch.tensor(float(number))


def test_slots_hold_the_image_one_of_its_class_and_others_of_other_classes() -> None:
    index = torch.tensor([3, 1, 6])
    slots = bank().slots(index, LABELS[index], step(0), 500)
    assert slots.shape == (3, 502)
    assert torch.equal(slots[:, 0], index)
    assert torch.equal(LABELS[slots[:, 1]], LABELS[index])
    for row, own in zip(slots[:, 2:], LABELS[index], strict=True):
        assert not (LABELS[row] == own).any()
        assert set(row.tolist()) == set((own != LABELS).nonzero().flatten().tolist()), "all of the other classes occur"


def test_a_positive_is_the_image_itself_as_often_as_any_of_its_class() -> None:
    index = torch.arange(len(LABELS))
    drawn = torch.stack([bank().slots(index, LABELS, step(number), 4) for number in range(2000)])
    for image, size in ((0, 5), (1, 3), (2, 2)):
        share = (drawn[:, image, 1] == image).float().mean()
        assert abs(share - 1 / size) < 4 * (1 / size * (1 - 1 / size) / 2000) ** 0.5
    others = drawn[:, 2, 2:].flatten()  # of eight images
    frequencies = torch.stack([(others == image).float().mean() for image in others.unique()])
    assert len(frequencies) == 8
    assert (frequencies - 1 / 8).abs().max() < 4 * (1 / 8 * 7 / 8 / len(others)) ** 0.5


def test_slots_are_keyed_by_seed_step_and_image() -> None:
    index = torch.tensor([0, 3])
    first = bank().slots(index, LABELS[index], step(7), 50)
    assert torch.equal(first, bank().slots(index, LABELS[index], step(7), 50))
    assert torch.equal(first[1:], bank().slots(index[1:], LABELS[index[1:]], step(7), 50))
    assert not torch.equal(first[0, 1:], first[1, 1:]), "of two images of one class"
    assert not torch.equal(first, bank().slots(index, LABELS[index], step(8), 50))
    assert not torch.equal(first, bank(seed=1).slots(index, LABELS[index], step(7), 50))


def test_an_update_ends_at_length_one_and_leaves_other_rows_alone() -> None:
    b = bank()
    before = b.rows.clone()
    assert before.abs().max() < (3 / 128) ** 0.5
    z = normalize(torch.randn(2, 3, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=-1)
    index = torch.tensor([4, 0, 9])
    b.update(index, z, 0.25)
    assert torch.allclose(b.rows[:, index].norm(dim=-1), torch.ones(2, 3, dtype=torch.float64))
    assert torch.allclose(b.rows[:, index], normalize(0.25 * before[:, index] + 0.75 * z, dim=-1))
    untouched = [image for image in range(len(LABELS)) if image not in index]
    assert torch.equal(b.rows[:, untouched], before[:, untouched])


def test_each_bank_is_read_once_and_sends_no_gradient() -> None:
    b, reads = bank(networks=3), []

    class Watched(torch.Tensor):
        def __getitem__(self, key):
            reads.append(key)
            return super().__getitem__(key)

    b.rows = b.rows.as_subclass(Watched)
    z = torch.randn(5, 2, 128, dtype=torch.float64).requires_grad_()
    b.similarities(b.slots(torch.tensor([0, 1]), LABELS[:2], step(0), 6), z, 0.07).sum().backward()
    assert sum(torch.is_tensor(key) for key in reads) == 3
    assert z.grad is not None
    assert not b.rows.requires_grad


@pytest.mark.parametrize("label", ["mcl", "l-mcl"])
def test_banks_move_after_the_step_and_are_no_weights(label: str) -> None:
    m = method(label, bank=True, negatives=6, images_per_class=0, **({"exits": "final"} if label == "l-mcl" else {}))
    before = set(m.state_dict())
    m.remember(torch.arange(40) % 10)
    assert set(m.state_dict()) == before
    rows = m.memory()["bank"]
    start = rows.clone()
    labels = torch.arange(8)
    views = (torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)),)
    now = Progress(torch.tensor(0.0), torch.tensor(0.0))
    m.losses(Batch(views, labels, labels), now)
    assert torch.equal(rows, start)
    m.after_step(now)
    assert torch.equal(m.memory()["bank"][:, 8:], start[:, 8:])
    assert not torch.isclose(rows[:, :8], start[:, :8]).all(dim=-1).any()


def test_light_exits_are_of_some_networks() -> None:
    with pytest.raises(ValueError, match="resnet8 has no light exits"):
        method("l-mcl@imagenet")
    pair = [networks.get("imagenet_resnet18"), networks.get("resnet8")]
    assert "resnet8 has no light exits" in str(get("l-mcl").obstacle(configure("l-mcl@imagenet", {}), pair))
    with pytest.raises(ValueError, match="has no light exits"):
        Build(pair[1:], 10, seed=0).light_exits()
