"""Finding networks by name: identifiers are unambiguous, and an unknown one is answered with what may be meant."""

import pytest

from okdbench import networks
from okdbench.errors import UsageError


def test_identifiers_are_their_own_names() -> None:
    found = networks.available()
    assert list(found) == sorted(found)
    assert all(networks.get(name).name == name for name in found)


@pytest.mark.parametrize("name", ["resnet110", "ResNet-110"])
def test_a_printed_name_of_several_networks_is_none_of_them(name: str) -> None:
    assert name not in networks.available()
    with pytest.raises(UsageError) as error:
        networks.get(name)
    message = str(error.value)
    assert f'unknown network "{name}"' in message
    assert all(meant in message for meant in ("resnet110_basic", "resnet110_bottleneck", "resnet164_bottleneck"))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "meant"),
    [("vgg16", "vgg16_mlp"), ("WRN-20-8", "wrn20_8_tv"), ("resnet5", "resnet56"), ("ResNet-32", "resnet32")],
)
def test_one_near_name_is_suggested(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f'unknown network "{name}": did you mean "{meant}"'):
        networks.get(name)


def test_titles_are_what_papers_print() -> None:
    titles = {name: networks.get(name).title for name in networks.available()}
    assert {name for name, title in titles.items() if title == "ResNet-110"} == {
        "resnet110_basic",
        "resnet110_bottleneck",
        "resnet164_bottleneck",
    }
    assert titles["densenet40_12_bc"] == titles["densenet40_12_bc_nofinalbn"]
    assert (titles["vgg16_mlp"], titles["wrn20_8_tv"], titles["tiny_resnet34"]) == ("VGG-16", "WRN-20-8", "ResNet-34")
