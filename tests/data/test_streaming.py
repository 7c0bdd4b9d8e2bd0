"""Images read in loader processes: the same crops whoever makes them, and errors in one line."""

from pathlib import Path

import image_folder
import numpy as np
import pytest
import torch
from PIL import Image

from okdbench import data
from okdbench.data import Centre, Crops, Files, stream
from okdbench.errors import UsageError
from okdbench.torchvision_shim import transforms

SIZE = 32
CROPS = Crops(SIZE, flip=True, seed=1, epoch=2, stream=0, views=2)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("images")
    image_folder.make(root)
    return data.listed(image_folder.NAME, root).train


@pytest.fixture(scope="module")
def order(files: Files) -> torch.Tensor:
    return data.epoch_order(1, 2, len(files.labels))


def parts(start: int, stop: int, size: int = 4) -> list[range]:
    return [range(at, min(at + size, stop)) for at in range(start, stop, size)]


def read(files: Files, order: torch.Tensor, make: Crops | Centre, parts: list[range], workers: int = 0) -> list:
    return list(stream(files, order, make, parts, workers, pin=False))


def test_the_number_of_processes_changes_nothing(files: Files, order: torch.Tensor) -> None:
    expected = read(files, order, CROPS, parts(0, 18))
    assert [tuple(batch.shape) for batch in expected] == [(2, 4, 3, SIZE, SIZE)] * 4 + [(2, 2, 3, SIZE, SIZE)]
    assert expected[0].dtype == torch.uint8
    for workers in (1, 2):
        assert all(map(torch.equal, expected, read(files, order, CROPS, parts(0, 18), workers)))


def test_a_later_start_and_other_batches_see_the_same_crops(files: Files, order: torch.Tensor) -> None:
    whole = torch.cat(read(files, order, CROPS, parts(0, 18)), dim=1)
    assert torch.equal(whole[:, 8:], torch.cat(read(files, order, CROPS, parts(8, 18)), dim=1))
    assert torch.equal(whole[:, 3:6], read(files, order, CROPS, [range(3, 6)])[0])


def test_crops_differ_by_view_place_epoch_seed_and_stream(files: Files) -> None:
    same = torch.zeros(2, dtype=torch.long)
    [batch] = read(files, same, CROPS, [range(2)])
    made = [*batch.flatten(0, 1)]
    for change in ({"seed": 2}, {"epoch": 3}, {"stream": 1}):
        made.append(read(files, same, Crops(**{**vars(CROPS), **change}), [range(1)])[0][0, 0])
    assert all(not torch.equal(made[i], made[j]) for i in range(len(made)) for j in range(i))


def test_the_first_view_is_the_same_with_one_view_or_two(files: Files, order: torch.Tensor) -> None:
    alone = Crops(**{**vars(CROPS), "views": 1})
    two, one = (read(files, order, crops, [range(4)])[0] for crops in (CROPS, alone))
    assert torch.equal(two[:1], one)


def test_no_flip_where_the_data_set_wants_none(tmp_path: Path) -> None:
    pixels = torch.zeros(64, 64, 3, dtype=torch.uint8)
    pixels[:, 32:] = 255  # white on the right, in every crop that has both
    Image.fromarray(pixels.numpy()).save(tmp_path / "0.png")
    files = Files(tmp_path, np.array([b"0.png"]), torch.zeros(1, dtype=torch.long))
    order = torch.zeros(40, dtype=torch.long)
    left = {}
    for flip in (False, True):
        crops = Crops(SIZE, flip, seed=1, epoch=0, stream=0, views=1)
        [batch] = read(files, order, crops, [range(40)])
        left[flip] = int((batch[0, :, 0, :, 0] > batch[0, :, 0, :, -1]).any(dim=1).sum())
    assert left[False] == 0 and left[True] > 5


def test_test_images_are_to_the_bit_those_of_torchvision(files: Files) -> None:
    augmentation = data.augmentation("imagenet", "imagenet")
    [batch] = read(files, torch.arange(18), Centre(224), [range(18)])
    got = data.Normalise(augmentation, "cpu")(batch)
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    published = transforms.Compose([*steps, transforms.Normalize(augmentation.mean, augmentation.std)])
    for name, image in zip(files.names, got, strict=True):
        assert torch.equal(image, published(Image.open(files.folder / name.decode()).convert("RGB")))


def test_grey_images_become_rgb(tmp_path: Path, files: Files) -> None:
    Image.new("L", (50, 50), 77).save(tmp_path / "grey.JPEG")
    grey = Files(tmp_path, np.array([b"grey.JPEG"]), torch.zeros(1, dtype=torch.long))
    [batch] = read(grey, torch.zeros(1, dtype=torch.long), Centre(SIZE), [range(1)])
    assert (batch == 77).all()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_named_in_one_line(tmp_path: Path, workers: int) -> None:
    folder = image_folder.make(tmp_path)
    broken = folder / "train" / "n00000001" / "0.JPEG"
    broken.write_bytes(broken.read_bytes()[:200])
    files = data.listed(image_folder.NAME, tmp_path).train
    with pytest.raises(UsageError, match=rf"{broken}: not a readable image .*; get it again") as caught:
        read(files, torch.arange(18), CROPS, parts(0, 18), workers)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_generator_is_left_alone(files: Files, order: torch.Tensor, workers: int) -> None:
    before = torch.get_rng_state()
    read(files, order, CROPS, parts(0, 8), workers)
    assert torch.equal(before, torch.get_rng_state())
