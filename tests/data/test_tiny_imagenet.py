import hashlib
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from okdbench.data import get, tiny_imagenet
from okdbench.data.tiny_imagenet import Layout
from okdbench.errors import UsageError

LAYOUT = Layout("small-imagenet", "small", again="get it again", classes=3, train_per_class=2, val_per_class=1)
WNIDS = ("n03", "n01", "n02")  # not sorted, as in the official file


def jpeg(draws: np.random.Generator, grayscale: bool = False, size: int = 64) -> bytes:
    shape = (size, size) if grayscale else (size, size, 3)
    file = BytesIO()
    Image.fromarray(draws.integers(256, size=shape, dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A complete small tree in the official layout, with a grayscale training and validation image."""
    draws = np.random.default_rng(0)
    top = tmp_path / "small"
    annotations = []
    for number, wnid in enumerate(WNIDS):
        folder = top / "train" / wnid
        (folder / "images").mkdir(parents=True)
        (folder / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t62\t62\n")
        for i in range(2):
            (folder / "images" / f"{wnid}_{i}.JPEG").write_bytes(jpeg(draws, grayscale=number == i == 1))
        annotations.append(f"val_{number}.JPEG\t{wnid}\t0\t0\t62\t62\n")
    (top / "val" / "images").mkdir(parents=True)
    for i in range(3):
        (top / "val" / "images" / f"val_{i}.JPEG").write_bytes(jpeg(draws, grayscale=i == 2))
    (top / "val" / "val_annotations.txt").write_text("".join(annotations))
    (top / "test" / "images").mkdir(parents=True)
    (top / "test" / "images" / "test_0.JPEG").write_bytes(jpeg(draws))
    (top / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    return top


def zipped(tree: Path) -> Path:
    shutil.make_archive(str(tree), "zip", tree.parent, tree.name)
    shutil.rmtree(tree)
    return tree.with_suffix(".zip")


def pixels(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def test_a_tree_is_read_in_the_order_of_sorted_classes(tree: Path) -> None:
    images = LAYOUT.read(tree)
    assert images.train_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert images.test_labels.tolist() == [2, 0, 1]
    order = [f"{wnid}_{i}" for wnid in ("n01", "n02", "n03") for i in range(2)]
    for image, name in zip(images.train, order, strict=True):
        assert torch.equal(image, pixels(tree / "train" / name[:3] / "images" / f"{name}.JPEG"))
    for i, image in enumerate(images.test):
        assert torch.equal(image, pixels(tree / "val" / "images" / f"val_{i}.JPEG"))


def test_grayscale_files_become_rgb(tree: Path) -> None:
    images = LAYOUT.read(tree)
    gray = [bool((image == image[0]).all()) for image in (*images.train, *images.test)]
    assert gray == [False, True, *[False] * 6, True]  # n01_1 and val_2


def test_the_zip_gives_the_same_images(tree: Path) -> None:
    unpacked = LAYOUT.read(tree)
    archive = zipped(tree)
    assert LAYOUT.find(tree.parent) == archive
    from_zip = LAYOUT.read(archive)
    for name in ("train", "train_labels", "test", "test_labels"):
        assert torch.equal(getattr(unpacked, name), getattr(from_zip, name))


def test_the_folder_comes_before_the_zip_and_neither_is_none(tree: Path) -> None:
    tree.with_suffix(".zip").touch()
    assert LAYOUT.find(tree.parent) == tree
    assert LAYOUT.find(tree) is None


def lose_a_training_image(tree: Path) -> None:
    (tree / "train" / "n02" / "images" / "n02_1.JPEG").unlink()


def lose_a_validation_image(tree: Path) -> None:
    (tree / "val" / "images" / "val_1.JPEG").unlink()


def lose_an_annotation(tree: Path) -> None:
    path = tree / "val" / "val_annotations.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]) + "val_2")


def lose_the_classes(tree: Path) -> None:
    (tree / "wnids.txt").unlink()


def confuse_two_classes(tree: Path) -> None:
    (tree / "train" / "n02" / "images" / "n02_1.JPEG").rename(tree / "train" / "n01" / "images" / "n02_1.JPEG")


@pytest.mark.parametrize(
    ("damage", "counts"),
    [
        (lose_a_training_image, "3 of 3 classes in wnids.txt, 5 of 6 train images, 3 of 3 val images"),
        (lose_a_validation_image, "3 of 3 classes in wnids.txt, 6 of 6 train images, 2 of 3 val images"),
        (lose_an_annotation, "3 of 3 classes in wnids.txt, 6 of 6 train images, 2 of 3 val images"),
        (lose_the_classes, "0 of 3 classes in wnids.txt, 0 of 6 train images, 0 of 3 val images"),
        (confuse_two_classes, r"6 of 6 train images, 3 of 3 val images \(2 and 1 of each class\)"),
    ],
)
@pytest.mark.parametrize("as_zip", [False, True])
def test_an_incomplete_tree_is_refused_with_its_counts(
    tree: Path, damage: Callable[[Path], None], counts: str, as_zip: bool
) -> None:
    damage(tree)
    path = zipped(tree) if as_zip else tree
    with pytest.raises(
        UsageError, match=f"{path}: incomplete small-imagenet: .*{counts}.*; delete it and get it again"
    ):
        LAYOUT.read(path)


def test_an_unreadable_image_is_named(tree: Path) -> None:
    path = tree / "train" / "n02" / "images" / "n02_1.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UsageError, match=r"train/n02/images/n02_1\.JPEG is not a readable image"):
        LAYOUT.read(tree)


def test_an_image_of_another_size_is_named(tree: Path) -> None:
    (tree / "val" / "images" / "val_0.JPEG").write_bytes(jpeg(np.random.default_rng(0), size=32))
    with pytest.raises(UsageError, match=r"val/images/val_0\.JPEG is 32 x 32 pixels, not 64 x 64"):
        LAYOUT.read(tree)


def test_a_damaged_zip_is_refused(tree: Path) -> None:
    archive = zipped(tree)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=f"{archive}: damaged zip"):
        LAYOUT.read(archive)
    at = whole.index(b"\xff\xd8\xff")  # the first image, stored or deflated: overwrite its middle
    archive.write_bytes(whole[: at + 900] + bytes(200) + whole[at + 1100 :])
    with pytest.raises(UsageError, match=f"{archive}: damaged zip"):
        LAYOUT.read(archive)


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something to download instead of the official zip."""
    source = tmp_path / "source.zip"
    source.write_bytes(b"not a zip, which fetching does not look into")
    monkeypatch.setattr(tiny_imagenet, "URL", source.as_uri())
    monkeypatch.setattr(tiny_imagenet, "MD5", hashlib.md5(source.read_bytes()).hexdigest())
    return source


def test_fetch_puts_the_zip_in_its_place_once(official: Path, tmp_path: Path) -> None:
    fetch = get("tiny-imagenet").fetch
    assert fetch is not None
    data = tmp_path / "data"
    fetch(data)
    assert [file.name for file in data.iterdir()] == ["tiny-imagenet-200.zip"]
    assert (data / "tiny-imagenet-200.zip").read_bytes() == official.read_bytes()
    official.unlink()
    fetch(data)  # the zip is there: nothing is downloaded


def test_a_download_cut_short_leaves_nothing(official: Path, tmp_path: Path) -> None:
    official.write_bytes(official.read_bytes()[:-1])
    fetch = get("tiny-imagenet").fetch
    assert fetch is not None
    with pytest.raises(UsageError, match="not the official file"):
        fetch(tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_download_that_fails_says_what_to_do(official: Path, tmp_path: Path) -> None:
    official.unlink()
    fetch = get("tiny-imagenet").fetch
    assert fetch is not None
    with pytest.raises(UsageError, match=r"download failed.*put it at .*tiny-imagenet-200\.zip"):
        fetch(tmp_path)


def test_the_real_subset(original: Callable[[str], Path]) -> None:
    images = get("tiny-imagenet-subset").read(original("tiny-imagenet-subset"))
    assert images.train.shape == (5000, 3, 64, 64)
    assert images.train_labels.bincount().tolist() == [25] * 200
    assert images.test_labels.bincount().tolist() == [5] * 200
    gray = (images.train[:, 0] == images.train[:, 1]).flatten(1).all(1) & (
        images.train[:, 0] == images.train[:, 2]
    ).flatten(1).all(1)
    assert 0 < gray.sum() < 500
    assert (images.train.double() / 255).mean((0, 2, 3)).tolist() == pytest.approx([0.4802, 0.4481, 0.3975], abs=0.01)
