import hashlib
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from okdbench.data import get, packing_state, stl10
from okdbench.data.base import Images
from okdbench.errors import UsageError
from okdbench.torchvision_shim import datasets

COUNTS = {"train": 7, "test": 3}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, np.ndarray]]:
    """A few images [N, 3, column, row] in an archive like STL-10's, which torchvision takes for the official one."""
    made, draws = tmp_path / "made" / "stl10_binary", np.random.default_rng(0)
    made.mkdir(parents=True)
    stored = {split: draws.integers(256, size=(count, 3, 96, 96), dtype=np.uint8) for split, count in COUNTS.items()}
    for split, pixels in stored.items():
        pixels.tofile(made / f"{split}_X.bin")
        (np.arange(len(pixels), dtype=np.uint8) + 4).tofile(made / f"{split}_y.bin")
    (made / "unlabeled_X.bin").write_bytes(b"much")
    archive = tmp_path / "made" / "stl10_binary.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(made, "stl10_binary")

    def listed(*names: str) -> list[list[str]]:
        return [[name, md5(made / name)] for name in names]

    class Small(datasets.STL10):  # type: ignore[misc]
        url, tgz_md5 = archive.as_uri(), md5(archive)
        train_list = listed("train_X.bin", "train_y.bin", "unlabeled_X.bin")
        test_list = listed("test_X.bin", "test_y.bin")

    monkeypatch.setattr(datasets, "STL10", Small)
    return tmp_path / "data", stored


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def fetched(root: Path) -> Path:
    dataset = get("stl10")
    assert dataset.fetch is not None
    dataset.fetch(root)
    folder = dataset.found(root)
    assert folder == root / "stl10_binary"
    return folder


def read(folder: Path) -> Images:
    dataset = get("stl10")
    assert dataset.read is not None
    return dataset.read(folder)


def test_rows_and_columns_are_where_they_belong(small: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, stored = small
    images = read(fetched(root))
    assert images.train.shape == (7, 3, 96, 96)
    assert images.train.is_contiguous()
    row, column, plane, image = 5, 80, 2, 4
    assert images.train[image, plane, row, column] == stored["train"][image, plane, column, row]
    assert torch.equal(images.test, torch.from_numpy(stored["test"]).transpose(2, 3))


def test_labels_count_from_0(small: tuple[Path, dict[str, np.ndarray]]) -> None:
    images = read(fetched(small[0]))
    assert images.train_labels.tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert images.test_labels.tolist() == [3, 4, 5]
    assert images.test_labels.dtype == torch.int64


def test_images_without_labels_are_not_unpacked(small: tuple[Path, dict[str, np.ndarray]]) -> None:
    assert sorted(path.name for path in fetched(small[0]).iterdir()) == sorted(stl10._FILES)


def test_an_archive_that_is_there_is_unpacked_without_a_download(small: tuple[Path, object], tmp_path: Path) -> None:
    root = small[0]
    root.mkdir()
    (tmp_path / "made" / "stl10_binary.tar.gz").rename(root / "stl10_binary.tar.gz")
    assert len(read(fetched(root)).train) == 7


@pytest.mark.parametrize("name", stl10._FILES)
def test_a_changed_file_is_named_and_unpacked_again(small: tuple[Path, object], name: str) -> None:
    folder = fetched(small[0])
    (folder / name).write_bytes(b"other")
    with pytest.raises(UsageError, match=rf'{folder}: .*MD5: {name}; run "okdbench data fetch stl10 --data'):
        read(folder)
    assert len(read(fetched(small[0])).train) == 7


def test_a_missing_file_makes_it_absent(small: tuple[Path, object]) -> None:
    (fetched(small[0]) / "test_y.bin").unlink()
    assert packing_state("stl10", small[0]).state == "absent"


def test_files_sums_and_sizes_are_torchvisions() -> None:
    listed = dict([*datasets.STL10.train_list[:2], *datasets.STL10.test_list])
    assert listed == {  # as a public manifest has them
        "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
        "train_y.bin": "5a34089d4802c674881badbb80307741",
        "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
        "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
    }
    assert tuple(listed) == stl10._FILES
    assert (get("stl10").train_size * 3 * 96**2, get("stl10").test_size * 3 * 96**2) == (138_240_000, 221_184_000)
