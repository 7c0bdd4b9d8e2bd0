import fcntl
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import sleep

import pytest
import torch

from okdbench.data import Dataset, Images, load_packed, pack, packing, packing_state, present
from okdbench.errors import UsageError

MAPS = Path("/proc/self/maps")


def small_images() -> Images:
    pictures = torch.arange(9 * 3 * 4 * 4).remainder(251).to(torch.uint8).view(9, 3, 4, 4)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])
    return Images(pictures[:6], labels[:6], pictures[6:], labels[6:])


class Reader:
    """A data set of 6 + 3 tiny images in the file ``small.bin``, which counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0
        self.seconds = 0.0
        self.images = small_images()
        self.dataset = Dataset(
            "small",
            "Small",
            3,
            4,
            6,
            3,
            False,
            (0.5,) * 3,
            (0.5,) * 3,
            "made for a test",
            self.read,
            self.find,
            "small.bin",
        )

    def find(self, root: Path) -> Path | None:
        path = root / "small.bin"
        return path if path.exists() else None

    def read(self, found: Path) -> Images:
        assert found.name == "small.bin"
        self.reads += 1
        sleep(self.seconds)
        return self.images


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Reader:
    made = Reader()
    monkeypatch.setattr(packing, "get", lambda name: replace(made.dataset, name=name))
    (tmp_path / "small.bin").touch()
    return made


def equal(a: Images, b: Images) -> bool:
    return all(
        torch.equal(getattr(a, key), getattr(b, key)) for key in ("train", "train_labels", "test", "test_labels")
    )


def test_images_are_read_once(reader: Reader, tmp_path: Path) -> None:
    first, second = load_packed("small", tmp_path), load_packed("small", tmp_path)
    assert reader.reads == 1
    assert equal(first, reader.images)
    assert equal(second, reader.images)


@pytest.mark.skipif(not MAPS.exists(), reason="needs Linux's list of memory maps")
def test_images_are_memory_mapped(reader: Reader, tmp_path: Path) -> None:
    path = pack("small", tmp_path)
    assert str(path) not in MAPS.read_text()
    images = load_packed("small", tmp_path)
    assert str(path) in MAPS.read_text()
    assert equal(images, reader.images)


def test_the_original_files_are_not_needed_any_more(reader: Reader, tmp_path: Path) -> None:
    pack("small", tmp_path)
    (tmp_path / "small.bin").unlink()
    assert present("small", tmp_path)
    assert equal(load_packed("small", tmp_path), reader.images)


def test_status_tells_the_four_states(reader: Reader, tmp_path: Path) -> None:
    packed = tmp_path / "packed" / "small.pt"
    assert packing_state("small", tmp_path / "elsewhere") == ("absent", tmp_path / "elsewhere")
    assert not present("small", tmp_path / "elsewhere")
    assert packing_state("small", tmp_path) == ("found", tmp_path / "small.bin")
    assert present("small", tmp_path)
    assert pack("small", tmp_path) == packed
    assert packing_state("small", tmp_path) == ("packed", packed)
    packed.write_bytes(packed.read_bytes()[:-1])
    assert packing_state("small", tmp_path) == ("corrupt", packed)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def spoil_the_checksum(path: Path) -> None:
    path.with_name("small.pt.sha256").write_bytes(b"\xff\x00")


def empty_the_checksum(path: Path) -> None:
    path.with_name("small.pt.sha256").write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip_one_bit, spoil_the_checksum, empty_the_checksum])
def test_a_damaged_file_is_never_used(reader: Reader, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    damage(pack("small", tmp_path))
    with pytest.raises(UsageError) as caught:
        load_packed("small", tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "packed" / "small.pt") in message
    assert f'"okdbench data pack small --force --data {tmp_path}"' in message
    assert "\n" not in message
    pack("small", tmp_path, force=True)
    assert equal(load_packed("small", tmp_path), reader.images)


def test_damage_is_said_where_the_folder_cannot_be_written(reader: Reader, tmp_path: Path) -> None:
    path = pack("small", tmp_path)
    cut(path)
    path.with_name("small.pt.lock").unlink()
    path.with_name("small.pt.lock").mkdir()  # cannot be opened for writing
    with pytest.raises(UsageError, match="damaged or cut short"):
        load_packed("small", tmp_path)


def test_a_crash_before_the_checksum_means_packing_again(reader: Reader, tmp_path: Path) -> None:
    path = pack("small", tmp_path)
    cut(path)
    path.with_name("small.pt.sha256").unlink()
    (path.parent / ".small.pt.4711.tmp").write_bytes(b"half")
    assert equal(load_packed("small", tmp_path), reader.images)
    assert reader.reads == 2
    assert sorted(file.name for file in path.parent.iterdir()) == ["small.pt", "small.pt.lock", "small.pt.sha256"]


def test_a_crash_while_packing_again_means_packing_again(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash() -> None:
        raise KeyboardInterrupt

    pack("small", tmp_path)
    reader.images = replace(reader.images, train=reader.images.train + 1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(hashlib, "sha256", crash)
        pack("small", tmp_path, force=True)
    assert packing_state("small", tmp_path).state == "found"
    assert equal(load_packed("small", tmp_path), reader.images)


def test_a_full_disk_is_said_and_leaves_no_pack(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(content: object, file: object) -> None:
        raise RuntimeError("unexpected pos 1024 vs 918")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(UsageError, match=r"small\.pt: packing failed .*disk full.*--packed DIR"):
        pack("small", tmp_path)
    assert [file.name for file in (tmp_path / "packed").iterdir()] == ["small.pt.lock"]


def test_a_reader_that_fails_leaves_no_pack(reader: Reader, tmp_path: Path) -> None:
    reader.images = replace(reader.images, train=reader.images.train[:5], train_labels=reader.images.train_labels[:5])
    with pytest.raises(UsageError, match="small: read"):
        load_packed("small", tmp_path)
    assert packing_state("small", tmp_path).state == "found"


def test_labels_out_of_range_are_refused(reader: Reader, tmp_path: Path) -> None:
    reader.images = replace(reader.images, test_labels=torch.tensor([0, 1, 3]))
    with pytest.raises(UsageError, match=r"small: labels are not all in 0\.\.2"):
        load_packed("small", tmp_path)


def test_two_at_once_pack_once(reader: Reader, tmp_path: Path) -> None:
    # The lock belongs to the opened file, so it keeps threads apart exactly as it does processes.
    reader.seconds = 0.3
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: load_packed("small", tmp_path), range(4)))
    assert reader.reads == 1
    assert all(equal(each, reader.images) for each in loaded)


def test_a_load_waits_for_a_forced_pack_beside_it(reader: Reader, tmp_path: Path) -> None:
    path = pack("small", tmp_path)
    whole = path.read_bytes()
    with ThreadPoolExecutor(1) as pool:
        with path.with_name("small.pt.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path.write_bytes(b"the new file, whose checksum is not yet written")
            loading = pool.submit(load_packed, "small", tmp_path)
            sleep(0.2)
            path.write_bytes(whole)
        assert equal(loading.result(), reader.images)


def test_a_pack_under_another_name_is_refused(reader: Reader, tmp_path: Path) -> None:
    path = pack("small", tmp_path)
    for file in (path, path.with_name("small.pt.sha256")):
        file.rename(file.with_name(file.name.replace("small", "other")))
    with pytest.raises(UsageError, match=r"other\.pt: .*not other; run .*okdbench data pack other --force"):
        load_packed("other", tmp_path)


def test_missing_images_name_the_folder_the_command_and_the_layout_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_packed("cifar100", tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert f'"okdbench data fetch cifar100 --data {tmp_path}"' in message
    assert "cifar-100-python/{train,test,meta}" in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_images_that_cannot_be_fetched_offer_no_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tiny-imagenet-200-subset") as caught:
        load_packed("tiny-imagenet-subset", tmp_path)
    assert "data fetch" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "packed").write_text("a file where the folder should be")
    with pytest.raises(UsageError, match=r"packed.*--packed DIR"):
        load_packed("small", tmp_path)


def test_an_unknown_name_is_answered_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'unknown data set "cifra100": did you mean "cifar100"\?'):
        load_packed("cifra100", tmp_path)
