"""Two processes that train together: the same state in both, and the same as one process where no BN is involved.

Mean losses over equal parts of a batch have the whole batch's mean loss as their mean, and likewise their gradients:
where every image passes by itself, two processes do what one does. Batch statistics are of each process's own part, and
contrastive losses compare the images of its own part, so there only the two processes can be compared.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from okdbench.training.distributed import ALONE, Processes, own_device

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    out = tmp_path_factory.mktemp("two")
    command = [*TORCHRUN, str(Path(__file__).with_name("two_processes.py")), str(out)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [torch.load(out / f"{rank}.pt") for rank in range(2)]


def assert_equal(one: dict, two: dict) -> None:
    assert list(one) == list(two)
    assert not [name for name in one if not torch.equal(one[name], two[name])]


def test_exchanges(both) -> None:
    for rank, found in enumerate(both):
        got = found["exchanges"]
        assert [each.unique().tolist() for each in got["averaged"]] == [[0.5], [5.0], [0.5]]
        assert got["contiguous"], "a tensor keeps its layout"
        assert [each.tolist() for each in got["copied"]] == [[0, 1, 2], [[5.0, 5.0], [5.0, 5.0]]]
        assert got["summed"].tolist() == [3.0]
        assert {name: float(term) for name, term in got["mean"].items()} == {"a": 0.5, "b": 4.0}
        assert got["any"] == (True, False)
        assert got["value"] == {"rank": 0}
        assert found["size"] == 2 and rank in (0, 1)
    assert both[0]["exchanges"]["drawn"] != both[1]["exchanges"]["drawn"], "each process draws numbers of its own"


def test_two_processes_do_what_one_does_without_batch_statistics(both) -> None:
    for found in both:
        together, alone = found["together"], found["alone"]
        for number, (one, two) in enumerate(zip(together["states"], alone["states"], strict=True)):
            for name in one:
                assert torch.allclose(one[name], two[name], rtol=1e-10, atol=1e-12), f"{name} after step {number}"
        assert together["losses"] == pytest.approx(alone["losses"], rel=1e-10)
        for name, value in alone["average"].items():
            assert torch.allclose(together["average"][name], value, rtol=1e-10, atol=1e-12), name
    moved = [name for name, value in both[0]["alone"]["states"][0].items() if value.any()]
    assert {"weight", "velocity", "one.1.weight", "two.1.weight", "teacher.weight"} <= {*moved}


@pytest.mark.parametrize("method", ["together", "baseline", "l-mcl"])
def test_both_end_every_step_in_the_same_state(both, method: str) -> None:
    one, two = (found[method] for found in both)
    for left, right in zip(one["states"], two["states"], strict=True):
        assert_equal(left, right)
    assert_equal(one["average"], two["average"])
    assert one["losses"] == two["losses"]


def test_batch_statistics_are_the_first_process_s_own(both) -> None:
    expected, got = both[0]["first half"], both[0]["baseline"]["states"][0]
    statistics = [name for name in got if "running" in name]
    assert statistics
    for name in statistics:
        assert torch.allclose(got[name], expected[name], rtol=1e-12), name
    weights = [name for name in got if name.endswith("weight")]
    assert any(not torch.allclose(got[name], expected[name], rtol=1e-6) for name in weights)


def test_alone_nothing_is_exchanged() -> None:
    tensor, terms = torch.ones(2), {"ce": torch.ones(())}
    ALONE.average([tensor])
    ALONE.copy_first([tensor])
    ALONE.combine(tensor)
    assert tensor.tolist() == [1.0, 1.0] and ALONE.mean(terms) is terms
    assert ALONE.any(True) and not ALONE.any(False)
    assert ALONE.first and ALONE.key == () and Processes(1, 2).key == (1,)


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert own_device("cuda:1") == torch.device("cuda:3")
    assert own_device("cuda") == torch.device("cuda:2")
    assert own_device("cpu") == torch.device("cpu")
