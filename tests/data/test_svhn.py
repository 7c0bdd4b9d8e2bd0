import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from okdbench.data import get, packing_state, svhn
from okdbench.errors import UsageError
from okdbench.torchvision_shim import datasets

COUNTS = {"train": 7, "extra": 5, "test": 3}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, np.ndarray]]:
    """A few images in SVHN's files, below ``tmp_path / "served"``, which torchvision takes for the official ones."""
    served = tmp_path / "served"
    served.mkdir()
    draws = np.random.default_rng(0)
    pixels, splits = {}, {}
    for split, count in COUNTS.items():
        pixels[split] = draws.integers(256, size=(32, 32, 3, count), dtype=np.uint8)
        path = served / f"{split}_32x32.mat"
        labels = np.arange(1, count + 1, dtype=np.uint8)
        labels[-1] = 10
        savemat(path, {"X": pixels[split], "y": labels[:, None]})
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        splits[split] = [path.as_uri(), path.name, md5]

    class Small(datasets.SVHN):  # type: ignore[misc]
        split_list = splits

    monkeypatch.setattr(datasets, "SVHN", Small)
    return tmp_path / "data", pixels


def fetched(name: str, root: Path) -> Path:
    fetch = get(name).fetch
    assert fetch is not None
    fetch(root)
    folder = get(name).found(root)
    assert folder == root / "svhn"
    return folder


def test_images_keep_their_order_and_planes(small: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, pixels = small
    images = get("svhn").read(fetched("svhn", root))
    assert images.train.shape == (7, 3, 32, 32)
    assert images.train.is_contiguous()
    row, column, plane, image = 5, 20, 2, 4
    assert images.train[image, plane, row, column] == pixels["train"][row, column, plane, image]
    assert torch.equal(images.test, torch.from_numpy(pixels["test"]).permute(3, 2, 0, 1))
    assert images.test_labels.dtype == torch.int64


def test_the_label_is_the_digit(small: tuple[Path, Any]) -> None:
    images = get("svhn").read(fetched("svhn", small[0]))
    assert images.train_labels.tolist() == [1, 2, 3, 4, 5, 6, 0]
    assert images.test_labels.tolist() == [1, 2, 0]


def test_the_extra_images_follow_the_others(small: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, pixels = small
    few = get("svhn").read(fetched("svhn", root))
    assert not (root / "svhn" / "extra_32x32.mat").exists()
    assert packing_state("svhn-extra", root).state == "absent"
    many = get("svhn-extra").read(fetched("svhn-extra", root))
    assert torch.equal(many.train[:7], few.train)
    assert torch.equal(many.train[7:], torch.from_numpy(pixels["extra"]).permute(3, 2, 0, 1))
    assert many.train_labels.tolist() == [*few.train_labels.tolist(), 1, 2, 3, 4, 0]
    assert torch.equal(many.test, few.test)


@pytest.mark.parametrize("split", COUNTS)
def test_a_changed_file_is_named_and_fetched_anew(small: tuple[Path, Any], split: str) -> None:
    folder = fetched("svhn-extra", small[0])
    file = folder / f"{split}_32x32.mat"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(UsageError, match=rf'{folder}: .*MD5: {file.name}; run "okdbench data fetch svhn-extra --data'):
        get("svhn-extra").read(folder)
    fetched("svhn-extra", small[0])
    assert len(get("svhn-extra").read(folder).train) == 12


def test_what_is_there_is_not_fetched_again(small: tuple[Path, Any], tmp_path: Path) -> None:
    fetched("svhn", small[0])
    for file in (tmp_path / "served").iterdir():
        file.unlink()
    fetched("svhn", small[0])
    with pytest.raises(UsageError, match=r"extra_32x32\.mat: download failed"):
        fetched("svhn-extra", small[0])


def test_the_files_are_torchvisions() -> None:
    assert {split: file for split, (_, file, _) in datasets.SVHN.split_list.items()} == {
        split: f"{split}_32x32.mat" for split in svhn.SIZES
    }
