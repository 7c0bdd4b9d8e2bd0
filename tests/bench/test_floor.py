"""The floor: operations and bytes as docs/speed.md states them, and what limits a step."""

import pytest
import torch

from okdbench import networks
from okdbench.bench.floor import KNOWN_PEAKS, Peaks, Work, count_work, floor, measured_peaks, peaks
from okdbench.methods import Build, configure, get
from okdbench.networks.counting import weightless

# GFLOP and MB (bfloat16) of a training step for each image, by the model's formulas on the counted layers.
STATED = {
    ("resnet32", "baseline"): (0.415, 8.9),
    ("resnet32", "dkel"): (1.66, 36.2),
    ("resnet110_bottleneck", "dkel"): (4.02, 254),
    ("vgg16_mlp", "baseline"): (1.88, 7.2),
    ("wrn20_8_tv", "dkel"): (24.5, 179),
}


@pytest.mark.parametrize(("network", "method"), STATED)
def test_work_of_a_step(network: str, method: str) -> None:
    with weightless():
        m = get(method)(Build([networks.get(network)], 100, seed=0), configure(method, {})).train()
    work = count_work(m, 32)
    operations, megabytes = STATED[network, method]
    assert work.operations / 1e9 == pytest.approx(operations, rel=0.01)
    assert 2 * work.elements / 1e6 == pytest.approx(megabytes, rel=0.01)


def test_the_larger_of_arithmetic_and_bytes_is_the_floor() -> None:
    peaks_ = Peaks(bandwidth=100.0, operations=1000.0, source="known")
    by_bytes = floor(Work(operations=10.0, elements=10.0), peaks_, torch.bfloat16)
    assert (by_bytes.arithmetic, by_bytes.bytes, by_bytes.seconds) == (0.01, 0.2, 0.2)
    assert floor(Work(10.0, 10.0), peaks_, torch.float32).bytes == 0.4
    assert floor(Work(1000.0, 10.0), peaks_, torch.bfloat16).seconds == 1.0


def test_peaks_are_known_or_measured() -> None:
    cpu = torch.device("cpu")
    assert peaks(cpu, torch.bfloat16, "NVIDIA H200") is KNOWN_PEAKS["NVIDIA H200", torch.bfloat16]
    measured = measured_peaks(cpu, torch.float32)
    assert measured.source == "measured"
    assert 1e8 < measured.bandwidth < 1e13 and 1e8 < measured.operations < 1e14
