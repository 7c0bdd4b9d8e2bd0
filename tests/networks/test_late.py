"""Late stages of another depth and width."""

import pytest
import torch

from okdbench import networks
from okdbench.networks import Parts, Single
from okdbench.networks.base import count_parameters
from okdbench.networks.counting import CostCounter, late_depths, weightless

WITHOUT = (
    "googlenet",
    "hcgnet",
    "shufflenet",
    "imagenet_shufflenet",
    "mobilenetv2",
    "tiny_mobilenetv2",
    "densenet40_12_bc_shared",
)
WITH = [name for name in networks.available() if not name.startswith(WITHOUT)]
LARGE = "densenet190_40_bc"


def parameters(parts: Parts) -> int:
    return count_parameters(parts.stem, *parts.stages, parts.head)


@pytest.mark.parametrize("name", [name for name in networks.available() if name not in WITH])
def test_the_other_networks_have_none(name: str) -> None:
    assert late_depths(networks.get(name)) is None


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name == LARGE)) for name in WITH])
def test_the_last_stage_can_be_deeper_and_wider(name: str) -> None:
    architecture = networks.get(name)
    side = architecture.image_size
    with weightless(), torch.no_grad(), CostCounter():
        own = architecture.build(10)
        assert own.late is not None and len(own.late.depths) == len(own.stages)
        *early, last = own.late.depths
        same, deeper = own.late.build(own.late.depths, 1), own.late.build((*early, last + 2), 1)
        wider = own.late.build(own.late.depths, 2)
        assert parameters(same) == parameters(own) < parameters(deeper)
        before = count_parameters(own.stem, *own.stages[:-1])
        assert all(count_parameters(p.stem, *p.stages[:-1]) == before for p in (same, deeper, wider))
        for parts in (deeper, wider):
            trace = Single(parts).eval().trace(torch.zeros(1, 3, side, side))
            assert [tap.shape[1] for tap in trace.taps] == list(parts.channels)
            assert trace.features.shape[1] == parts.feature_dim
            assert trace.logits.shape == (1, 10)
        assert wider.channels[:-1] == own.channels[:-1]
        grown = [parts.channels[-1] - own.channels[-1] for parts in (deeper, wider)]
    if name.startswith("densenet"):  # every layer adds channels
        assert 0 < grown[0] < grown[1] < own.channels[-1]
    else:
        assert grown == [0, own.channels[-1]]
