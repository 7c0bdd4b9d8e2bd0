"""Augmentation policies against torchvision: operation by operation to the pixel, and as distributions."""

import json
from collections import Counter
from typing import get_args

import pytest
import torch
from golden.checker import load
from scipy import stats
from torch import Tensor

from okdbench.config import PolicyName
from okdbench.data import POLICIES, Augmentation, epoch_plan, policy_numbers
from okdbench.data.operations import Operation, perform_operations, rotated
from okdbench.data.policies import Cutout
from okdbench.torchvision_shim import transforms

TF = transforms.functional
AUGMENTATION = Augmentation((0.0,) * 3, (1.0,) * 3)


def pictures(count: int, side: int = 32) -> Tensor:
    """Smooth images with some noise and different ranges of intensity, as photographs have."""
    draws = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, 4, 4, generator=draws)
    smooth = torch.nn.functional.interpolate(coarse, side, mode="bicubic", align_corners=False)
    noise = 0.1 * torch.rand(count, 3, side, side, generator=draws)
    low, wide = torch.rand(2, count, 1, 1, 1, generator=draws)
    return (255 * (0.3 * low + (0.3 + 0.4 * wide) * smooth + noise)).clamp(0, 255).to(torch.uint8)


def torchvisions(image: Tensor, operation: Operation, strength: float) -> Tensor:
    """What torchvision's own RandAugment and AutoAugment do to one uint8 tensor."""
    nearest = TF.InterpolationMode.NEAREST
    made: Tensor = transforms.autoaugment._apply_op(image, operation.name, strength, nearest, None)
    return made


def spaces(side: int) -> list[dict]:
    """torchvision's strengths by operation: RandAugment's 31 levels and AutoAugment's 10."""
    size = (side, side)
    return [
        transforms.RandAugment()._augmentation_space(31, size),
        transforms.AutoAugment()._augmentation_space(10, size),
    ]


def test_a_recipe_can_name_all_policies() -> None:
    assert set(get_args(PolicyName)) == set(POLICIES)


@pytest.mark.parametrize("side", [32, 224])
def test_strengths_and_signs_are_torchvisions(side: int) -> None:
    for space, levels in zip(spaces(side), (31, 10), strict=True):
        for name, (strengths, signed) in space.items():
            operation = Operation[name]
            assert operation.signed == signed
            if strengths.ndim:
                own = [operation.strength(level, levels, side) for level in range(levels)]
                assert own == pytest.approx(strengths.tolist(), abs=1e-4), name


@pytest.mark.parametrize("operation", Operation)
def test_every_operation_at_every_strength_is_torchvisions(operation: Operation) -> None:
    strengths = []
    for space in spaces(32):
        levels, signed = space.get(operation.name, (torch.tensor(0.0), False))
        values = [float(level) for level in levels.flatten()]
        strengths += [*values, *(-value for value in values if signed)]
    given = pictures(len(strengths))
    got = perform_operations(given, torch.full((len(given),), operation), torch.tensor(strengths))
    wanted = torch.stack([torchvisions(image, operation, s) for image, s in zip(given, strengths, strict=True)])
    others = (got != wanted).double().mean()
    # Where a shear falls between two pixels, rounding errors decide which is the nearest.
    assert others <= (0.002 if operation in (Operation.ShearX, Operation.ShearY) else 0)
    if operation is not Operation.Identity:
        assert (wanted != given).any()


def test_each_image_gets_the_operation_that_it_drew() -> None:
    given = pictures(len(Operation))
    strengths = torch.tensor([each.strength(5, 10, 32) for each in Operation])
    together = perform_operations(given, torch.tensor(list(Operation)), strengths)
    for number, operation in enumerate(Operation):
        wanted = torchvisions(given[number], operation, float(strengths[number]))
        assert torch.equal(together[number], wanted), operation.name


def test_rotation_is_torchvisions() -> None:
    given = pictures(40)
    degrees = torch.linspace(-14.9, 14.3, 40)
    wanted = [TF.rotate(image, float(angle)) for image, angle in zip(given, degrees, strict=True)]
    assert torch.equal(rotated(given, degrees), torch.stack(wanted))


def test_cutout_is_the_authors() -> None:
    golden = load("okdph_cutout_1.npz", "okdph")
    meta = json.loads(str(golden["meta"]))
    policy = Cutout(meta["size"], "cpu")
    assert policy.length == meta["length"]
    centres = torch.from_numpy(golden["in_centre"])
    assert torch.equal(~policy.holes(centres.T), torch.from_numpy(golden["out_mask"]).bool())
    numbers = (centres.T + 0.5) / meta["size"]
    given = pictures(len(centres), meta["size"])
    assert torch.equal(policy(given, numbers.float()), given * ~policy.holes(centres.T).unsqueeze(1))


def test_a_hole_is_centred_on_every_pixel_alike() -> None:
    numbers = policy_numbers(0, 0, 0, 50_000, ["cutout"])[0]
    pixels = (numbers * 32).long()
    counts = (pixels[0] * 32 + pixels[1]).bincount(minlength=32**2)
    assert stats.chisquare(counts.tolist()).pvalue > 1e-3


def test_angles_are_uniform() -> None:
    [angles] = policy_numbers(0, 0, 0, 20_000, ["rotation"])[0]
    assert stats.kstest(angles.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("randaugment", transforms.RandAugment()),
        ("autoaugment", transforms.AutoAugment()),
        ("rotation", transforms.RandomRotation(15)),
    ],
)
def test_what_becomes_of_an_image_is_distributed_as_with_torchvision(name: str, published: torch.nn.Module) -> None:
    count = 800
    image = pictures(3)[1]
    policy = POLICIES[name](32, "cpu")
    ours = policy(image.expand(count, -1, -1, -1), policy_numbers(1, 0, 0, count, [name])[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = torch.stack([published(image) for _ in range(count)])
    # Different operations give different means; those that few images have are counted together.
    own, other = (Counter((views.double().mean(dim=(1, 2, 3)) * 2).round().tolist()) for views in (ours, theirs))
    often = [outcome for outcome in own | other if own[outcome] + other[outcome] >= 20]
    table = [[*(each[o] for o in often), count - sum(each[o] for o in often)] for each in (own, other)]
    assert len(often) > 5
    assert stats.chi2_contingency([row for row in zip(*table, strict=True) if any(row)]).pvalue > 1e-3


def test_policies_leave_order_crops_and_flips_of_a_plan_alone() -> None:
    plain = epoch_plan(5, 2, 400, 4, AUGMENTATION)
    named = epoch_plan(5, 2, 400, 4, AUGMENTATION, policies=["standard", "cutout", "randaugment", "none"])
    assert plain.numbers.shape == (4, 0, 400) and named.numbers.shape == (4, 4, 400)
    assert torch.equal(plain.order, named.order)
    for part in ("rows", "columns"):
        assert torch.equal(getattr(plain, part)[:3], getattr(named, part)[:3])
        assert (getattr(named, part)[3] == AUGMENTATION.pad).all()
    assert torch.equal(plain.flips[:2], named.flips[:2])
    assert not named.flips[2:].any()
    copy = named.to("cpu", plain)
    assert copy is not plain and torch.equal(copy.numbers, named.numbers)


def test_the_numbers_of_a_view_depend_on_seed_epoch_stream_and_view_alone() -> None:
    numbers = policy_numbers(0, 0, 0, 300, ["cutout", "cutout", "randaugment"])
    assert torch.equal(numbers[:1, :2], policy_numbers(0, 0, 0, 300, ["cutout"]))
    assert not torch.equal(numbers[0], numbers[1])
    for key in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert not torch.equal(policy_numbers(*key, 300, ["cutout"]), numbers[:1, :2])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", POLICIES)
def test_a_gpu_does_the_same_without_waiting(name: str) -> None:
    given, numbers = pictures(64), policy_numbers(0, 0, 0, 64, [name])[0]
    wanted = POLICIES[name](32, "cpu")(given, numbers)
    policy, views, drawn = POLICIES[name](32, "cuda"), given.cuda(), numbers.cuda()
    policy(views, drawn)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = policy(views, drawn)
    graph.replay()
    # Products and sums may be contracted there, so a pixel that lies on a boundary may fall to the other side.
    assert (got.cpu() != wanted).double().mean() < 0.005
