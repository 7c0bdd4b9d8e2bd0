"""The contract of methods holds on the networks: a plain method and one with branches on each."""

import pytest

from okdbench import networks
from okdbench.methods import configure, get
from okdbench.testing import check_method

QUICK = ["densenet40_12_bc_shared", "mobilenet", "shufflenetv2_05", "wrn16_2", "wrn16_2_bias"]
SLOW = ["densenet40_12_plain", "googlenet_cifar", "hcgnet_a1", "hcgnet_a2", "shufflenetv2_1", "vgg16_dccl"]
SLOW += ["resnext29_2x64d", "vgg19_dccl", "wrn16_2_dccl", "wrn28_4", "wrn40_2", "wrn40_2_bias", "wrn40_2_dccl"]


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_plain_method_keeps_its_contract(name: str) -> None:
    check_method(get("baseline"), configure("baseline", {}), networks.get(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_a_branched_method_keeps_its_contract(name: str) -> None:
    check_method(get("pcl"), configure("pcl", {}), networks.get(name))
