"""The folder layout of ImageNet: what is listed, in which order, and what is refused."""

import shutil
from pathlib import Path

import image_folder
import pytest
import torch

from okdbench import data
from okdbench.data import imagenet
from okdbench.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder.make(tmp_path)


def test_files_are_listed_by_class_and_name(folder: Path, tmp_path: Path) -> None:
    (folder / "train" / "n00000001" / "notes.txt").write_text("no image")
    files = data.listed("imagenet-subset", tmp_path)
    assert files.classes == 3
    assert files.train.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert files.test.labels.dtype == torch.int64
    assert [name.decode() for name in files.test.names] == [f"n0000000{c}/{i}.JPEG" for c in range(3) for i in range(2)]
    assert (files.train.folder / files.train.names[-1].decode()).is_file()


def test_listing_opens_no_image(folder: Path, tmp_path: Path) -> None:
    for path in folder.rglob("*.JPEG"):
        path.write_bytes(b"")
    assert len(data.listed("imagenet-subset", tmp_path).train.labels) == 18


def test_it_is_streamed_never_packed(folder: Path, tmp_path: Path) -> None:
    assert data.get("imagenet").streamed and not data.get("cifar10").streamed
    assert data.packing_state("imagenet-subset", tmp_path) == ("found", folder)
    assert data.present("imagenet-subset", tmp_path) and not data.present("imagenet", tmp_path)
    data.check("imagenet-subset", tmp_path)
    assert not (tmp_path / "packed").exists()
    with pytest.raises(UsageError, match="too large to pack"):
        data.load_packed("imagenet-subset", tmp_path)
    with pytest.raises(UsageError, match="is packed"):
        data.listed("digits", tmp_path)


def test_imagenet_itself_must_be_complete(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "imagenet")
    message = r"3 of 1,000 classes, 18 of 1,281,167 train images, 6 of 50,000 val images; .* imagenet-subset"
    with pytest.raises(UsageError, match=message):
        data.check("imagenet", tmp_path)
    assert data.get("imagenet").exact and not data.get("imagenet-subset").exact


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("val", "val: no such folder; put ImageNet there"),
        ("val/n00000001", r"1 classes are not both in train and in val \(n00000001\)"),
        ("train/n00000000/*", "train/n00000000: has no JPEG or PNG file"),
        ("val/*", "val: has no folders of classes"),
    ],
)
def test_what_is_missing_is_said(folder: Path, tmp_path: Path, remove: str, message: str) -> None:
    for path in folder.glob(remove):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UsageError, match=message) as caught:
        data.check("imagenet-subset", tmp_path)
    assert "\n" not in str(caught.value)


def test_more_classes_than_imagenet_has_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "CLASSES", 2)
    with pytest.raises(UsageError, match="3 classes, ImageNet has 2"):
        data.check("imagenet-subset", folder.parent)


def test_an_absent_folder_is_answered_with_the_layout(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"imagenet: its images are not in .*imagenet/\{train,val\}/WNID/\*\.JPEG"):
        data.check("imagenet", tmp_path)
