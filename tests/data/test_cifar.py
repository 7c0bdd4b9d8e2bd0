import hashlib
import pickle
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch

from okdbench.data import get
from okdbench.errors import UsageError
from okdbench.torchvision_shim import datasets

FOLDER = "cifar-100-python"


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A web server on this machine for the files in ``served``."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> tuple[Path, dict[str, np.ndarray]]:
    """Seven and three images in CIFAR-100's files, which torchvision takes for the official ones."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    draws = np.random.default_rng(0)
    pixels = {
        "train": draws.integers(256, size=(7, 3072), dtype=np.uint8),
        "test": draws.integers(256, size=(3, 3072), dtype=np.uint8),
    }
    for split, data in pixels.items():
        content = {
            "data": data,
            "fine_labels": [(5 * i) % 100 for i in range(len(data))],
            "coarse_labels": [0] * len(data),
        }
        (folder / split).write_bytes(pickle.dumps(content))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [str(i) for i in range(100)]}))
    served = tmp_path / "served"
    served.mkdir()
    with tarfile.open(served / "made.tar.gz", "w:gz") as archive:
        archive.add(folder, FOLDER)

    class Small(datasets.CIFAR100):  # type: ignore[misc]
        url = f"{address}/made.tar.gz"
        filename = "cifar-100-python.tar.gz"
        tgz_md5 = md5(served / "made.tar.gz")
        train_list = [["train", md5(folder / "train")]]  # noqa: RUF012
        test_list = [["test", md5(folder / "test")]]  # noqa: RUF012
        meta = {"filename": "meta", "key": "fine_label_names", "md5": md5(folder / "meta")}  # noqa: RUF012

    monkeypatch.setattr(datasets, "CIFAR100", Small)
    return folder, pixels


def test_images_keep_their_order_and_planes(small: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, pixels = small
    images = get("cifar100").read(folder)
    assert torch.equal(images.train, torch.from_numpy(pixels["train"]).view(7, 3, 32, 32))
    assert torch.equal(images.test, torch.from_numpy(pixels["test"]).view(3, 3, 32, 32))
    assert images.train_labels.tolist() == [0, 5, 10, 15, 20, 25, 30]
    assert images.test_labels.dtype == torch.int64


@pytest.mark.parametrize("file", ["train", "test", "meta"])
@pytest.mark.parametrize("lost", [True, False])
def test_a_lost_or_changed_file_is_named(small: tuple[Path, Any], file: str, lost: bool) -> None:
    folder, _ = small
    if lost:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes((folder / file).read_bytes() + b" ")
    with pytest.raises(UsageError, match=rf'{folder}: .*MD5: {file}; run "okdbench data fetch cifar100 --data'):
        get("cifar100").read(folder)


def test_fetch_downloads_and_unpacks(small: tuple[Path, Any], tmp_path: Path) -> None:
    fetch, data = get("cifar100").fetch, tmp_path / "data"
    assert fetch is not None
    fetch(data)
    assert get("cifar100").found(data) == data / FOLDER
    assert len(get("cifar100").read(data / FOLDER).train) == 7
    # A damaged file is put right from the archive, which is still there.
    (data / FOLDER / "train").write_bytes(b"")
    (tmp_path / "served" / "made.tar.gz").unlink()
    fetch(data)
    assert len(get("cifar100").read(data / FOLDER).train) == 7


def test_a_failed_fetch_names_the_address_and_the_way_out(small: tuple[Path, Any], tmp_path: Path) -> None:
    fetch = get("cifar100").fetch
    assert fetch is not None
    (tmp_path / "served" / "made.tar.gz").unlink()
    with pytest.raises(
        UsageError, match=r'made\.tar\.gz failed.*put that file into .*run "okdbench data fetch cifar100'
    ):
        fetch(tmp_path / "data")


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_folder_is_torchvisions(name: str, tmp_path: Path) -> None:
    official = getattr(datasets, name.upper())
    assert get(name).found(tmp_path) is None
    (tmp_path / official.base_folder).mkdir()
    assert get(name).found(tmp_path) == tmp_path / official.base_folder


def test_the_real_cifar100(original: Callable[[str], Path]) -> None:
    images = get("cifar100").read(original("cifar100"))
    assert images.train_labels.bincount().tolist() == [500] * 100
    assert images.test_labels.bincount().tolist() == [100] * 100
    histogram = torch.stack(
        [images.train[:, channel].flatten().bincount(minlength=256) for channel in range(3)]
    ).double()
    values = torch.arange(256) / 255
    mean = histogram @ values.double() / histogram.sum(1)
    std = ((histogram @ values.double().square()) / histogram.sum(1) - mean.square()).sqrt()
    assert mean.tolist() == pytest.approx([0.50707516, 0.48654887, 0.44091784], abs=1e-7)
    assert std.tolist() == pytest.approx([0.26733429, 0.25643846, 0.27615047], abs=1e-7)
    assert get("cifar100").mean == pytest.approx(mean.tolist(), abs=5e-5)
    assert get("cifar100").std == pytest.approx(std.tolist(), abs=5e-5)
