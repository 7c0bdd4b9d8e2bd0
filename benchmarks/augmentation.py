"""Augmented views per processor second: torchvision's PIL transforms against the gather that training uses.

    python benchmarks/augmentation.py --data data --dataset cifar100

Measured: crop, flip, to float and normalise of batches of 128 images in 3 views each, on one thread, without loader
processes or training; processor time, so that other work on the machine counts for nothing; blocks of both in turns.
The images are the data set's, or made ones in their shape where they are absent. The epoch plan (which crop, which
flip) is drawn beforehand, once for an epoch, as training draws it, and is part of what is timed.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from okdbench import data
from okdbench.bench.pil import PilDataset, augmenting
from okdbench.bench.timing import Spread, ratios
from okdbench.training.memory import keep_freed_memory

Given = TypeVar("Given")
Made = TypeVar("Made")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--dataset", default="cifar100")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--batches", type=int, default=200, help="in a block of ours; a twentieth with PIL")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does
    name = options.dataset if data.present(options.dataset, options.data) else f"synthetic-{options.dataset}"
    pil, ours = measure(name, options.data, options.batch_size, options.views, options.blocks, options.batches)
    print(f"{name}, batches of {options.batch_size} in {options.views} views, one thread, {options.blocks} blocks each")
    for label, times in (("PIL transforms", pil), ("okdbench", ours)):
        rate = Spread.of([options.views / seconds for seconds in times])
        print(f"{label:<15} {rate.median:>9,.0f} views per processor second ({rate.low:,.0f} to {rate.high:,.0f})")
    ratio = ratios(pil, ours)
    print(f"{'ratio':<15} {ratio.median:>9.1f} ({ratio.low:.1f} to {ratio.high:.1f})")


def measure(
    name: str, root: Path, batch_size: int, views: int, blocks: int, batches: int
) -> tuple[list[float], list[float]]:
    """Processor seconds for one image in ``views`` views, block by block: PIL's, then ours."""
    images = data.load_packed(name, root)
    augmentation = data.augmentation(name, "dkel")
    pictures = PilDataset(images.train, images.train_labels, augmenting(augmentation, images.train.shape[-1]), views)
    store = data.ImageStore(images.train, images.train_labels, augmentation, "cpu")
    size = len(images.train)
    many = min(batches, size // batch_size)
    few = max(1, many // 20)

    def draw(number: int) -> data.EpochPlan:
        return data.epoch_plan(0, number, size, views, augmentation)

    def cut(plan: data.EpochPlan) -> None:
        for step in range(many):
            part = slice(step * batch_size, (step + 1) * batch_size)
            store.augmented(plan.order[part], plan.rows[:, part], plan.columns[:, part], plan.flips[:, part])

    def transform(plan: data.EpochPlan) -> None:
        for step in range(few):
            part = plan.order[step * batch_size : (step + 1) * batch_size]
            _stacked([pictures[index][0] for index in part.tolist()])

    times: tuple[list[float], list[float]] = [], []
    for number in range(blocks + 1):
        drawing, plan = _timed(draw, number)
        cutting, _ = _timed(cut, plan)
        transforming, _ = _timed(transform, plan)
        times[0].append(transforming / (few * batch_size))
        times[1].append(drawing / size + cutting / (many * batch_size))
    return times[0][1:], times[1][1:]


def _stacked(pictures: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
    """One tensor for each view, as a loader collates them."""
    return [torch.stack(view) for view in zip(*pictures, strict=True)]


def _timed(work: Callable[[Given], Made], argument: Given) -> tuple[float, Made]:
    """Processor seconds, and what came out."""
    begun = time.process_time()
    made = work(argument)
    return time.process_time() - begun, made


if __name__ == "__main__":
    main()
