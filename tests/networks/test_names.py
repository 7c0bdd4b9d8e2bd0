"""Finding networks by name: identifiers are unambiguous, and an unknown one is answered with what may be meant."""

import pytest

from okdbench import networks
from okdbench.errors import UsageError


def test_identifiers_are_their_own_names() -> None:
    found = networks.available()
    assert list(found) == sorted(found)
    assert all(networks.get(name).name == name for name in found)


RESNET110 = ("resnet110_basic", "resnet110_bottleneck", "resnet164_bottleneck")
VGG16 = ("vgg16_dccl", "vgg16_mlp", "vgg16_mlp_dropout")


@pytest.mark.parametrize(
    ("name", "meanings"),
    [
        ("resnet110", RESNET110),
        ("ResNet-110", RESNET110),
        ("vgg16", VGG16),
        ("WRN-16-2", ("wrn16_2", "wrn16_2_bias", "wrn16_2_dccl", "wrn16_2_switokd")),
        ("ResNet-18", ("imagenet_resnet18", "tiny_resnet18", "tiny_resnet18_maxpool")),
    ],
)
def test_a_printed_name_of_several_networks_is_none_of_them(name: str, meanings: tuple[str, ...]) -> None:
    assert name not in networks.available()
    with pytest.raises(UsageError) as error:
        networks.get(name)
    message = str(error.value)
    assert f'unknown network "{name}"' in message
    assert f"it may mean {', '.join(meanings)}; choose one" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "meant"),
    [("VGG-19", "vgg19_dccl"), ("WRN-20-8", "wrn20_8_tv"), ("resnet5", "resnet56"), ("ResNet-32", "resnet32")],
)
def test_one_near_name_is_suggested(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f'unknown network "{name}": did you mean "{meant}"'):
        networks.get(name)


def test_titles_are_what_papers_print() -> None:
    titles = {name: networks.get(name).title for name in networks.available()}
    assert {name for name, title in titles.items() if title == "ResNet-110"} == {*RESNET110}
    assert {name for name, title in titles.items() if title == "VGG-16"} == {*VGG16}
    assert {title for name, title in titles.items() if name.startswith("densenet40")} == {"DenseNet-40-12"}
    assert (titles["vgg16_mlp"], titles["wrn20_8_tv"], titles["tiny_resnet34"]) == ("VGG-16", "WRN-20-8", "ResNet-34")
