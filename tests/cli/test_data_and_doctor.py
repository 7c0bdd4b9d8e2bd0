import json
from pathlib import Path

import image_folder
import pytest
from commandline import Command
from json_page import require_documented

from okdbench import data


def damage(name: str, root: Path = Path("data")) -> None:
    path = data.pack(name, root)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_data_list_tells_the_state_of_each(okdbench: Command) -> None:
    out = okdbench("data", "list").out
    rows = {line.split()[0]: line.split()[1] for line in out.splitlines()[2:]}
    assert "\nsynthetic-NAME: " in out
    assert rows["digits"] == "found" and rows["cifar100"] == "absent"
    okdbench("data", "pack", "digits")
    out = okdbench("data", "list").out
    assert "packed" in out and "data/packed/digits.pt" in out


def test_data_verify_finds_damage(okdbench: Command) -> None:
    okdbench("data", "pack", "digits")
    assert okdbench("data", "verify").out == "digits: ok, data/packed/digits.pt\n"
    damage("digits")
    status, out, _ = okdbench("data", "verify", "digits")
    assert status == 1 and "okdbench data pack digits --force" in out
    assert okdbench("data", "pack", "digits", "--force").status == 0
    assert okdbench("data", "verify").status == 0


def test_data_verify_of_what_is_not_packed_says_so(okdbench: Command) -> None:
    status, out, _ = okdbench("data", "verify", "cifar10")
    assert (status, out) == (1, "cifar10: not packed (absent); fetch it: okdbench data fetch cifar10\n")
    assert okdbench("data", "verify").status == 0, "of all that are there, none is damaged"


def test_data_fetch_downloads_once_and_packs(okdbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    fetched = []
    digits = replace(data.get("digits"), fetch=fetched.append)
    monkeypatch.setattr("okdbench.data.get", lambda name: digits)
    assert okdbench("data", "fetch", "digits", "--data", "images").status == 0
    assert fetched == [Path("images")] and Path("images/packed/digits.pt").exists()


def test_data_fetch_of_what_cannot_be_downloaded_says_what_to_do(okdbench: Command) -> None:
    status, _, err = okdbench("data", "fetch", "tiny-imagenet-subset")
    assert status == 2 and "put them there as tiny-imagenet-200-subset" in err


def test_images_too_large_to_pack_are_checked_and_read_from_their_files(okdbench: Command, tmp_path: Path) -> None:
    image_folder.make(tmp_path / "data")
    [row] = [line for line in okdbench("data", "list").out.splitlines() if line.startswith("imagenet-subset")]
    assert row.split() == [
        "imagenet-subset",
        "found",
        "<=",
        "1,000",
        "<=",
        "1,281,167",
        "<=",
        "50,000",
        "224",
        row.split()[-1],
    ]
    for verb, said in (
        ("fetch", "complete in data/imagenet-subset"),
        ("verify", "all files in data/imagenet-subset"),
    ):
        status, out, _ = okdbench("data", verb, "imagenet-subset")
        assert status == 0 and out.startswith(f"imagenet-subset: {said}")
    image = next((tmp_path / "data").glob("imagenet-subset/val/*/0.JPEG"))
    whole = image.read_bytes()
    image.write_bytes(whole[:100])
    status, out, _ = okdbench("data", "verify", "imagenet-subset")
    assert status == 1 and "0.JPEG: " in out and "1 damaged file" in out
    image.write_bytes(whole)
    status, _, err = okdbench("data", "pack", "imagenet-subset")
    assert status == 2 and "too large to pack" in err
    (tmp_path / "data" / "imagenet-subset" / "val").rename(tmp_path / "val")
    status, _, err = okdbench("data", "verify", "imagenet-subset")
    assert status == 2 and "val: no such folder" in err


@pytest.mark.parametrize("verb", ["fetch", "verify", "pack"])
def test_an_unknown_data_set_is_answered_with_a_suggestion(verb: str, okdbench: Command) -> None:
    status, _, err = okdbench("data", verb, "cifar-100")
    assert status == 2 and 'did you mean "cifar100"?' in err


def test_doctor_finds_a_working_installation(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "okdbench.toml").write_text('[engine.slurm]\npartition = "gpu"\ntime = 30\n')
    status, out, _ = okdbench("doctor")
    assert "; settings: partition = 'gpu', time = 30\n" in out
    assert status == 0 and out.endswith("everything that a run needs is in place\n")
    subjects = ("python", "libraries", "device", "determinism", "torchvision", "cores", "engine local", "configuration")
    for subject in (*subjects, "results", "data", "recipes"):
        assert f"\nok       {subject}: " in out
    assert "\nnote     images of cifar100: absent; fetch them: okdbench data fetch cifar100\n" in out


def test_doctor_names_problems_and_remedies(okdbench: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damage("digits", tmp_path / "data")
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.yaml").write_text("title: 3\n")
    for module in ("okdbench.recipe", "okdbench.recipe.loader"):
        monkeypatch.setattr(f"{module}.available", lambda: {"bad": tmp_path / "bad.yaml"})
    status, out, _ = okdbench("doctor", "--results", "file/results")
    assert status == 1 and out.endswith("3 problems\n")
    problems = [line for line in out.splitlines() if line.startswith("problem")]
    for line, remedy in zip(problems, ("--results", "data pack digits --force", "validate all"), strict=True):
        assert remedy in line


def test_doctor_and_help_work_with_a_wrong_configuration(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "okdbench.toml").write_text("job = 2\n")
    status, out, err = okdbench("doctor")
    assert status == 1 and "not used: okdbench.toml: job: no verb has such an option" in err
    [line] = [line for line in out.splitlines() if line.startswith("problem")]
    assert "configuration: okdbench.toml: job: " in line and 'did you mean "jobs"' in line
    for words in (("--help",), ("run", "-h"), ()):
        assert okdbench(*words).status == 0
    status, _, err = okdbench("list")
    assert status == 2 and err.endswith("okdbench: try: okdbench doctor\n")


def test_doctor_names_what_gives_defaults(okdbench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "okdbench.toml").write_text("jobs = 2\n")
    monkeypatch.setenv("OKDBENCH_RUN_DEVICE", "cpu")
    out = okdbench("doctor", "--format", "json").out
    require_documented(out, "okdbench.doctor/1")
    facts = json.loads(out)
    assert facts["problems"] == 0
    [found] = [each for each in facts["checks"] if each["subject"] == "configuration"]
    assert found["text"] == "okdbench.toml (1 value), OKDBENCH_RUN_DEVICE (1 value)"
