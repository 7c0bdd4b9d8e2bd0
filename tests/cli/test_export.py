"""Exported networks: what is in them, what is refused, and that they load where okdbench is not installed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fabricate
import pytest
import torch
from commandline import Command

from okdbench import exporting, methods
from okdbench.config import MultistepSchedule, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.exporting.base import export
from okdbench.networks import Single, get
from okdbench.runs.folder import RunFolder
from okdbench.training.deployed import load_deployed

TRAINING = TrainingSettings(
    epochs=1, optimizer=OptimizerSettings(lr=0.1), schedule=MultistepSchedule(name="multistep", milestones=())
)


def finished(results: Path, method: str, top1: float = 10.0, network: str = "resnet8") -> RunFolder:
    """A run with initial weights on 20 test images of digits, whose record claims an accuracy."""
    data = {"subset": 100, "test_subset": 20}
    config = RunConfig.model_validate(
        {"dataset": "digits", "network": network, "method": method, "settings": {}, "seed": 0}
        | {"training": TRAINING, "data": data}
    )
    made = methods.make(config, 10)
    path = fabricate.run(results, config, {head: [top1] for head in made.heads()}, deployed=made.deployed)
    torch.save(made.state_dict(), path / "weights.pt")
    return RunFolder(path)


def logits_of_method(folder: RunFolder, images: torch.Tensor) -> torch.Tensor:
    made = methods.make(folder.config, 10).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        return made.predict(images)[made.deployed]


PLAIN = [name for name, kind in methods.available().items() if not kind.needs_teacher]


@pytest.mark.parametrize(
    "method", [pytest.param(x, marks=[pytest.mark.slow] * (x not in ("dkel", "dml"))) for x in PLAIN]
)
def test_an_export_is_one_plain_network_that_predicts_the_same(method: str, tmp_path: Path) -> None:
    folder = finished(tmp_path, method)
    network = load_deployed(folder).module
    plain = Single(get("resnet8").build(10))
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in plain.parameters())
    images = torch.randn(3, 3, 32, 32)
    assert torch.equal(network(images), logits_of_method(folder, images))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return finished(tmp_path_factory.mktemp("results"), "one")


@pytest.mark.slow
@pytest.mark.parametrize("form", exporting.available())
def test_the_stated_lines_load_it_without_okdbench(form: str, run: RunFolder, tmp_path: Path) -> None:
    pytest.importorskip(form) if form != "torchscript" else None
    file = tmp_path / f"model{exporting.get(form).ending}"
    written = export(run, exporting.get(form), file, root=None).written
    images = torch.randn(5, 3, 32, 32)
    torch.save(images, tmp_path / "images.pth")
    script = (
        "import sys\nsys.modules['okdbench'] = None\n"
        f"{written.loading}\n"
        "import torch\nwith torch.no_grad(): torch.save(network(torch.load('images.pth')), 'logits.pth')\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, env={"PYTHONPATH": str(tmp_path)})
    torch.testing.assert_close(torch.load(tmp_path / "logits.pth"), logits_of_method(run, images), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("timm"), reason="timm is an extra")
def test_a_network_of_timm_loads_into_timms_own_model(tmp_path: Path) -> None:
    folder = finished(tmp_path, "dml", network="timm/resnet18")
    written = export(folder, exporting.get("safetensors"), tmp_path / "model.safetensors", root=None).written
    assert [file.name for file in written.files] == ["model.safetensors"] and "timm.create_model" in written.loading
    names: dict[str, Any] = {}
    exec(written.loading.replace("model.safetensors", str(tmp_path / "model.safetensors")), names)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(names["network"](images), logits_of_method(folder, images), rtol=1e-4, atol=1e-4)


def measured(folder: RunFolder, tmp_path: Path) -> float:
    """The accuracy that the initial network really has."""
    found = export(folder, exporting.get("torchscript"), tmp_path / "probe" / "x.pt", root=tmp_path)
    assert found.measured is not None
    return found.measured


def test_it_is_kept_only_if_it_is_as_accurate_as_the_record_says(tmp_path: Path, okdbench: Command) -> None:
    top1 = measured(finished(tmp_path / "first", "baseline"), tmp_path)
    pytest.importorskip("safetensors")
    good = finished(tmp_path / "good", "baseline", top1)
    done = okdbench("export", str(good), "-o", "out", "--data", "none")
    assert (done.status, done.err) == (0, "")
    assert f"top-1 {top1:.2f} % on 20 test images, recorded {top1:.2f} %" in done.out
    facts = json.loads(Path("out/config.json").read_text())
    assert facts["files"] == ["model.safetensors", "model.py"] and facts["top1"] == {"recorded": top1, "exported": top1}
    bad = finished(tmp_path / "bad", "baseline", top1 + 30)
    done = okdbench("export", str(bad), "-o", "no/net.pt", "--data", "none")
    assert done.status == 1 and "not exported" in done.out and not list(Path("no").iterdir())


def test_a_run_is_named_by_the_beginning_of_its_id(run: RunFolder, tmp_path: Path, okdbench: Command) -> None:
    results = str(run.path.parent.parent)
    done = okdbench("export", run.config.id[:5], "--results", results, "-o", "net.pt", "--no-check")
    assert done.status == 0 and "not tested" in done.out and Path("net.pt").exists()
    done = okdbench("export", "zzz", "--results", results)
    assert done.status == 2 and "no run whose id or folder begins with" in done.err
    assert done.err.splitlines()[-1].startswith("okdbench: try: okdbench run ")
    run_of(tmp_path / "results", run, seed=1), run_of(tmp_path / "results", run, seed=2)
    done = okdbench("export", "digits", "--no-check")
    assert done.status == 2 and "is the beginning of 2 runs" in done.err


def run_of(results: Path, run: RunFolder, seed: int) -> None:
    fabricate.run(results, run.config.model_copy(update={"seed": seed}), {"peer0": [1.0]})  # type: ignore[arg-type]


def test_published_records_without_weights_say_what_to_do(tmp_path: Path, okdbench: Command) -> None:
    folder = finished(tmp_path / "results", "baseline")
    folder.weights.unlink()
    done = okdbench("export", folder.config.id, "--no-check")
    assert done.status == 2 and "published records have no weights" in done.err
    images = okdbench("export", folder.config.id, "--format", "onxx")
    assert images.status == 2 and 'did you mean "onnx"?' in images.err
