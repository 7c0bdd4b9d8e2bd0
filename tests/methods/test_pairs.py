"""Which methods can be made of networks of different architectures: declared, and true."""

import pytest

from okdbench import networks
from okdbench.methods import Build, available, configure, get
from okdbench.networks import Architecture
from okdbench.networks.counting import weightless

PRESETS = [f"{name}@{preset}" for name, kind in available().items() for preset in kind.Config.presets]
PAIRS = ["resnet8+resnet20", "resnet8+wrn16_2", "vgg16_mlp_dropout+resnet8", "resnet8+resnet20+resnet32"]


def several(names: str) -> tuple[Architecture, ...]:
    return tuple(networks.get(name) for name in names.split("+"))


@pytest.mark.parametrize("label", PRESETS)
def test_the_declared_answer_is_what_building_says(label: str) -> None:
    kind, config = get(label.partition("@")[0]), configure(label, {})
    for pair in PAIRS:
        architectures = several(pair)
        with weightless():
            teacher = get("baseline")(Build(architectures[:1], 10, seed=0), configure("baseline", {}))
            build = Build(architectures, 10, seed=0, teacher=teacher)
            if obstacle := kind.obstacle(config, architectures):
                with pytest.raises(ValueError) as error:
                    kind(build, config)
                assert str(error.value) == obstacle
            else:
                kind(build, config)


@pytest.mark.parametrize(
    ("label", "settings", "pair", "obstacle"),
    [
        ("baseline", {}, "resnet8+wrn16_2", "Baseline is made of one network and cannot be trained as the pair "),
        ("okddip", {}, "resnet8+wrn16_2", "OKDDip with branches is made of one network and cannot be trained as the "),
        ("okddip", {"sharing": "networks"}, "resnet8+wrn16_2", "OKDDip's attention compares features, which have widt"),
        ("okddip", {"sharing": "networks"}, "resnet8+resnet20", None),
        ("ffl", {"sharing": "networks"}, "resnet8+wrn16_2", "FFL puts maps of one shape together; those of resnet8+wr"),
        ("ffl", {"sharing": "networks"}, "resnet8+resnet20", None),
        ("mcl@x4", {}, "resnet8+resnet20", "MCL with branches is made of one network and cannot be trained as the pai"),
        ("dccl", {"share_ends": True}, "resnet8+resnet20", "DCCL with shared ends is made of one network and cannot "),
        ("l-mcl", {}, "resnet8+resnet20+resnet32", "L-MCL trains 2 networks, not 3"),
        ("l-mcl", {}, "resnet8+vgg16_mlp", None),
    ],
)
def test_obstacles(label: str, settings: dict, pair: str, obstacle: str | None) -> None:
    said = get(label.partition("@")[0]).obstacle(configure(label, settings), several(pair))
    assert (said or "").startswith(obstacle or "") and (said is None) == (obstacle is None)
