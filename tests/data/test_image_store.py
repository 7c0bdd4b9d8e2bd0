from dataclasses import replace

import pytest
import torch
from torch import Tensor

from okdbench.data import Augmentation, ImageStore
from okdbench.torchvision_shim import transforms

TF = transforms.functional
MEAN, STD = (0.5071, 0.4866, 0.4409), (0.2675, 0.2565, 0.2761)
ZERO, REFLECT = Augmentation(MEAN, STD), Augmentation(MEAN, STD, padding="reflect")


def images(count: int, size: int) -> Tensor:
    return torch.randint(256, (count, 3, size, size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def torchvision_view(image: Tensor, row: int, column: int, flip: bool, augmentation: Augmentation) -> Tensor:
    """The reference: one PIL image through torchvision's pad, crop, flip, ToTensor, Normalize."""
    mode = "constant" if augmentation.padding == "zero" else "reflect"
    picture = TF.pad(TF.to_pil_image(image), augmentation.pad, padding_mode=mode)
    picture = TF.crop(picture, row, column, image.shape[-1], image.shape[-1])
    picture = TF.hflip(picture) if flip else picture
    return TF.normalize(TF.to_tensor(picture), augmentation.mean, augmentation.std)


@pytest.mark.parametrize(
    "augmentation",
    [ZERO, REFLECT, replace(ZERO, pad=2), replace(ZERO, pad=0)],
    ids=["zero", "reflect", "pad 2", "pad 0"],
)
@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("channels_last", [True, False])
def test_views_are_bitwise_torchvisions(augmentation: Augmentation, size: int, channels_last: bool) -> None:
    pictures = images(5, size)
    store = ImageStore(pictures, torch.arange(5), augmentation, "cpu", channels_last)
    offsets = 2 * augmentation.pad + 1
    # Every pair of offsets, flipped and not, over two views of the same batch.
    cases = torch.cartesian_prod(torch.arange(2), torch.arange(offsets), torch.arange(offsets))
    order = torch.randperm(len(cases), generator=torch.Generator().manual_seed(2))
    plan = torch.stack([cases, cases[order]])
    flips, rows, columns = plan[..., 0].bool(), plan[..., 1].to(torch.uint8), plan[..., 2].to(torch.uint8)
    index = torch.arange(len(cases)) % len(pictures)
    views = store.augmented(index, rows, columns, flips)
    assert len(views) == 2
    for v, view in enumerate(views):
        expected = [
            torchvision_view(pictures[index[i]], int(rows[v, i]), int(columns[v, i]), bool(flips[v, i]), augmentation)
            for i in range(len(index))
        ]
        assert torch.equal(view, torch.stack(expected))


@pytest.mark.parametrize("augmentation", [ZERO, REFLECT], ids=["zero", "reflect"])
def test_plain_images_are_bitwise_torchvisions(augmentation: Augmentation) -> None:
    pictures = images(6, 32)
    store = ImageStore(pictures, torch.arange(6), augmentation, "cpu")
    expected = [TF.normalize(TF.to_tensor(TF.to_pil_image(image)), MEAN, STD) for image in pictures[2:5]]
    assert torch.equal(store.plain(torch.arange(2, 5)), torch.stack(expected))


@pytest.mark.parametrize(("channels_last", "expected"), [(True, torch.channels_last), (False, torch.contiguous_format)])
def test_batches_have_the_memory_format_asked_for(channels_last: bool, expected: torch.memory_format) -> None:
    store = ImageStore(images(4, 32), torch.arange(4), ZERO, "cpu", channels_last)
    codes = torch.zeros(2, 4, dtype=torch.uint8)
    for view in (*store.augmented(torch.arange(4), codes, codes, codes.bool()), store.plain(torch.arange(4))):
        assert view.is_contiguous(memory_format=expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_the_float32_values_converted(dtype: torch.dtype) -> None:
    store = ImageStore(images(4, 32), torch.arange(4), ZERO, "cpu")
    index, codes = torch.tensor([3, 0]), torch.tensor([[1, 8]], dtype=torch.uint8)
    arguments = (index, codes, codes, codes.bool())
    assert torch.equal(store.augmented(*arguments, dtype=dtype)[0], store.augmented(*arguments)[0].to(dtype))
    assert torch.equal(store.plain(torch.arange(4), dtype), store.plain(torch.arange(4)).to(dtype))


def test_the_store_leaves_the_images_alone() -> None:
    pictures = images(4, 32)
    before = pictures.clone()
    store = ImageStore(pictures, torch.tensor([3, 1, 2, 0]), replace(ZERO, pad=0), "cpu")
    store.plain(torch.arange(4))
    codes = torch.zeros(1, 4, dtype=torch.uint8)
    store.augmented(torch.arange(4), codes, codes, codes.bool())
    assert torch.equal(pictures, before)
    assert len(store) == 4
    assert store.labels.tolist() == [3, 1, 2, 0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_bits_of_the_cpu() -> None:
    pictures = images(64, 32)
    draws = torch.Generator().manual_seed(3)
    rows, columns = (torch.randint(9, (3, 64), generator=draws, dtype=torch.uint8) for _ in range(2))
    flips = torch.randint(2, (3, 64), generator=draws).bool()
    on_cpu, on_gpu = (ImageStore(pictures, torch.arange(64), ZERO, device) for device in ("cpu", "cuda"))
    expected = on_cpu.augmented(torch.arange(64), rows, columns, flips)
    measured = on_gpu.augmented(*(each.cuda() for each in (torch.arange(64), rows, columns, flips)))
    assert all(torch.equal(a, b.cpu()) for a, b in zip(expected, measured, strict=True))
    assert torch.equal(on_cpu.plain(torch.arange(64)), on_gpu.plain(torch.arange(64).cuda()).cpu())
