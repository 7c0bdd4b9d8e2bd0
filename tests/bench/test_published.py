"""The plain loop computes what our methods compute, so that only speed differs."""

import pytest
import torch
from PIL import Image
from torch import Tensor

from okdbench import data, networks
from okdbench.bench.pil import PilDataset, augmenting, load_batches
from okdbench.bench.published import PlainStep, is_published, plain_loop
from okdbench.config import CosineSchedule, OptimizerSettings, TrainingSettings
from okdbench.methods import Batch, Build, Method, Progress, configure, get
from okdbench.training import Step

SETTINGS = OptimizerSettings(lr=0.1)


def method(name: str, **settings: object) -> Method:
    build = Build([networks.get("resnet8")], 10, seed=0)
    return get(name)(build, configure(name, settings)).double().train()


def batch(views: int, seed: int = 0) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    images = tuple(torch.randn(6, 3, 32, 32, generator=draws, dtype=torch.float64) for _ in range(views))
    return Batch(images, torch.randint(10, (6,), generator=draws))


CASES = [
    ("baseline", {}),
    ("baseline", {"views": 2}),
    ("dkel", {}),
    ("dkel", {"ensemble": "convex", "weight": 0.3, "ema_warmup": True}),
    ("dkel", {"ensemble": "off", "peers": 2}),
    ("dkel", {"views": "shared", "ensemble_of": "logits"}),
    ("dkel", {"peer_teachers": False}),
    ("dkel", {"teacher_stem": "student"}),
]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_the_first_step_has_our_loss(name: str, settings: dict[str, object]) -> None:
    m = method(name, **settings)
    m.prepare(batch(m.views, 9) for _ in range(2))  # apart from the student, a teacher has something to say
    weights = {key: torch.tensor(value, dtype=torch.float64) for key, value in m.schedule(3, 300).items()}
    now = torch.zeros((), dtype=torch.float64)
    ours = sum(m.losses(batch(m.views), Progress(now, now, weights)).values())
    code = plain_loop(m)
    assert code
    loss, peers = code.losses(batch(m.views), weights)
    assert loss.item() == pytest.approx(ours.item(), rel=1e-12)
    assert all(logits.shape == (6, 10) for logits in peers)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_three_steps_end_in_our_weights(name: str, settings: dict[str, object]) -> None:
    plainly, ours = method(name, **settings), method(name, **settings)
    training = TrainingSettings(epochs=300, optimizer=SETTINGS, schedule=CosineSchedule(name="cosine"))
    step, other = Step(ours, training), PlainStep(plainly, SETTINGS, plainly.schedule(0, 300))
    step.begin_epoch(0)
    for number in range(3):
        step(batch(ours.views, number))
        assert other(batch(plainly.views, number)) > 0
        assert all(0 <= accuracy <= 100 for accuracy in other.accuracy)
    for (key, one), other in zip(plainly.state_dict().items(), ours.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11, msg=lambda text, key=key: f"{key}: {text}")


def test_only_loops_that_are_written_are_offered() -> None:
    m = method("dml")
    assert plain_loop(m) is None and not is_published(type(m))
    with pytest.raises(ValueError, match="DML"):
        PlainStep(m, SETTINGS, {})


def test_evaluation_counts_every_head() -> None:
    m = method("dkel")
    step = PlainStep(m, SETTINGS, m.schedule(0, 300))
    given = [batch(1, 4), batch(1, 5)]
    right = [0, 0, 0, 0]
    m.eval()
    for images, labels, _ in given:
        predictions = m.predict(images[0])
        for place, head in enumerate(("teacher0", "teacher1", "teacher2", "teacher_ensemble")):
            right[place] += int((predictions[head].argmax(dim=1) == labels).sum())
    assert step.evaluate(given) == pytest.approx([100 * count / 12 for count in right])
    assert m.training


def images(count: int = 40) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    return torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=draws), torch.arange(count) % 10


@pytest.mark.parametrize("preset", ["dkel", "ffl"])
def test_the_transforms_make_views_that_our_store_can_make(preset: str) -> None:
    pictures, labels = images(4)
    augmentation = data.augmentation("cifar100", preset)
    torch.manual_seed(3)
    made = augmenting(augmentation, 32)(Image.fromarray(pictures[2].permute(1, 2, 0).numpy()))
    store = data.ImageStore(pictures, labels, augmentation, "cpu")
    offsets = torch.arange(9, dtype=torch.uint8)
    rows, columns = offsets.repeat_interleave(9).repeat(2), offsets.repeat(18)
    flips = torch.arange(162) >= 81
    [every] = store.augmented(torch.full((162,), 2), rows[None], columns[None], flips[None])
    assert (every == made).flatten(1).all(dim=1).sum() == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders_give_full_batches_of_all_views(workers: int) -> None:
    pictures = PilDataset(*images(), augmenting(data.augmentation("cifar100", "dkel"), 32), views=3)
    device = torch.device("cpu")
    batches = list(load_batches(pictures, 16, workers, device, seed=0, batches=4))
    assert [len(b.labels) for b in batches] == [16] * 4  # more than an epoch's 40 images
    assert all(view.shape == (16, 3, 32, 32) for b in batches for view in b.views)
    assert not torch.equal(batches[0].views[0], batches[0].views[1])
    epoch = list(load_batches(pictures, 16, workers, device, seed=0))
    assert sorted(int(label) for b in epoch for label in b.labels) == sorted(images()[1].tolist())
