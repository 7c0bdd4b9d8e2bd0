"""Image folders and archives as people have them: files that do not belong there, damaged ones, and traps."""

import os
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import image_folder
import pytest
from PIL import Image

from okdbench import data
from okdbench.data.cifar import DATASETS as CIFAR
from okdbench.data.decode import decode_rgb
from okdbench.data.tiny_imagenet import Layout
from okdbench.errors import UsageError

CLASS = "train/n00000000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder.make(tmp_path)


def listed(root: Path) -> int:
    return len(data.listed("imagenet-subset", root).train.labels)


def bad(root: Path) -> list[str]:
    files = data.listed("imagenet-subset", root)
    return [problem for split in (files.train, files.test) for problem in data.problems(split) if problem]


@pytest.mark.parametrize("name", ["._0.JPEG", ".DS_Store", ".hidden.png", "Thumbs.db", "notes.txt", "a.tif", "a.JPEG~"])
def test_other_files_beside_images_are_no_images(name: str, folder: Path, tmp_path: Path) -> None:
    (folder / CLASS / name).write_bytes(b"\0\5\x16\7")
    assert listed(tmp_path) == 18


def test_hidden_folders_are_no_classes(folder: Path, tmp_path: Path) -> None:
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    assert listed(tmp_path) == 18


def test_a_link_to_nothing_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / CLASS / "9.JPEG").symlink_to("nowhere")
    with pytest.raises(UsageError, match=r"9\.JPEG is a link to nothing"):
        listed(tmp_path)


def test_a_link_to_an_image_is_one(folder: Path, tmp_path: Path) -> None:
    (folder / CLASS / "9.JPEG").symlink_to("0.JPEG")
    assert listed(tmp_path) == 19


def test_the_flat_validation_images_of_the_archive_are_recognised(folder: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted((folder / "val").glob("*/*.JPEG"))):
        path.rename(folder / "val" / f"ILSVRC2012_val_{number:08d}.JPEG")
    for path in (folder / "val").glob("n*"):
        path.rmdir()
    with pytest.raises(UsageError, match="val: 6 images without folders for their classes, as in the official archive"):
        listed(tmp_path)


def test_every_damaged_file_is_found(folder: Path, tmp_path: Path) -> None:
    whole = (folder / CLASS / "0.JPEG").read_bytes()
    damage = {"0.JPEG": b"", "1.JPEG": whole[: len(whole) // 2], "2.JPEG": b"text", "3.JPEG": bomb(), "4.JPEG": gif()}
    for name, content in damage.items():
        (folder / CLASS / name).write_bytes(content)
    (folder / CLASS / "5.JPEG").unlink()
    os.mkfifo(folder / CLASS / "pipe.JPEG")
    assert listed(tmp_path) == 17
    assert [Path(line.split(":")[0]).name for line in bad(tmp_path)] == list(damage)
    with pytest.raises(ValueError, match="is not a file"):
        decode_rgb(folder / CLASS / "pipe.JPEG")


def test_a_file_larger_than_an_image_can_be_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / CLASS / "0.JPEG"
    size = path.stat().st_size
    monkeypatch.setattr("okdbench.data.decode.LARGEST_FILE", size)
    assert decode_rgb(path) == decode_rgb(path.read_bytes())
    path.write_bytes(path.read_bytes() + b"\0")
    for source in (path, path.read_bytes()):
        with pytest.raises(ValueError, match=f"^{size + 1:,} bytes$"):
            decode_rgb(source)


def bomb() -> bytes:
    """A small PNG that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + crc

    side = (60_000).to_bytes(4, "big")
    header = chunk(b"IHDR", side + side + b"\x08\x02\0\0\0")
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")


def gif() -> bytes:
    """An image in a format that no data set has, under the name of a JPEG file."""
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "GIF")
    return file.getvalue()


LAYOUT = Layout("small-imagenet", "small", again="get it again", classes=2, train_per_class=2, val_per_class=1)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "small"
    for number, wnid in enumerate(("n01", "n02")):
        (top / "train" / wnid / "images").mkdir(parents=True)
        for index in range(2):
            Image.new("RGB", (64, 64), (100 * number, 50, index)).save(
                top / "train" / wnid / "images" / f"{wnid}_{index}.JPEG"
            )
    (top / "val" / "images").mkdir(parents=True)
    for number in range(2):
        Image.new("RGB", (64, 64), (0, 0, 100 * number)).save(top / "val" / "images" / f"val_{number}.JPEG")
    (top / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t1\t1\nval_1.JPEG\tn01\t0\t0\t1\t1\n")
    (top / "wnids.txt").write_text("n01\nn02\n")
    return top


@pytest.mark.parametrize("below", ["", "images"])
def test_sorted_validation_images_are_the_same(below: str, tree: Path) -> None:
    official = LAYOUT.read(tree)
    for file, wnid in (("val_0.JPEG", "n02"), ("val_1.JPEG", "n01")):
        folder = tree / "val" / wnid / below
        folder.mkdir(parents=True, exist_ok=True)
        (tree / "val" / "images" / file).rename(folder / file)
    (tree / "val" / "images").rmdir()
    (tree / "val" / "val_annotations.txt").unlink()
    found = LAYOUT.read(tree)
    assert found.test_labels.tolist() == official.test_labels.tolist() == [1, 0]
    assert (found.test == official.test).all()


def test_hidden_files_are_ignored_and_surplus_ones_named(tree: Path) -> None:
    (tree / "train" / "n01" / "images" / "._n01_0.JPEG").write_bytes(b"\0")
    (tree / "val" / "images" / "._val_0.JPEG").write_bytes(b"\0")
    assert len(LAYOUT.read(tree).train) == 4
    surplus = tree / "train" / "n01" / "images" / "n01_0 (copy).JPEG"
    surplus.write_bytes((tree / "train" / "n01" / "images" / "n01_0.JPEG").read_bytes())
    with pytest.raises(UsageError, match=r"remove the files that it does not have: train/n01/images/n01_0 \(copy\)"):
        LAYOUT.read(tree)


def test_a_huge_member_of_an_archive_is_not_unpacked(tree: Path) -> None:
    with zipfile.ZipFile(tree.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for path in tree.rglob("*.*"):
            huge = path.name == "n01_0.JPEG"
            archive.writestr(f"small/{path.relative_to(tree)}", bytes(1 << 27) if huge else path.read_bytes())
    with pytest.raises(UsageError, match=r"n01_0\.JPEG is not a readable image .*134,217,728 bytes"):
        LAYOUT.read(tree.with_suffix(".zip"))


def test_a_damaged_archive_is_named_with_its_md5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"half of it")
    fetch = CIFAR[0].fetch
    assert fetch
    with pytest.raises(UsageError, match=r"cifar-10-python\.tar\.gz: has the MD5 \w{32}, the official file has c58f30"):
        fetch(tmp_path)
