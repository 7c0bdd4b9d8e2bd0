"""The state of every method has the names and shapes that it had when checkpoints were first written."""

import hashlib

import pytest

from okdbench import networks
from okdbench.methods import Build, available, configure, get
from okdbench.networks.counting import weightless

# SHA-256 of the sorted lines "name shape" of the state on ResNet-8 at 100 classes, with default settings.
STATES = {
    "ahbf": "d0a115574863285dceec34850c0a3229c4dbc46ee976cdb54a643b6929a7ca8a",
    "baseline": "5b88eee3b0dd4df0beb88b2ca86612a25f97692f5475000e24032fa174b71df9",
    "cl": "3f3c1d46f049a9b0c61963ae43c32acc3f8952675e9cd3235b4ca39cc641d9af",
    "dccl": "f72a85227c5d70ee08f091032d306c790a278eb0dba696d1ce099e670482d784",
    "dcm": "7ae4301a5dbe7b1566405210f2e34df691b40df90c4293065124d592cb868db0",
    "dkel": "6fba7e0b09cad86c41f05308c613f9e0b522b89dc1d75866a680bc0bc2cae18e",
    "dml": "c7932f3606fa82e82e31c5cc3968ff42cec291a75655209a978f35c3f93b1f1b",
    "ffl": "c1297c6b1c31ab9ea6b7559835db38e1e5f1377736757c8b554f8ac7d72fcfa2",
    "ffsd": "482a79c830f3c7a7bfcd1319dc412833751db00f4b5e86ae64231ac582518019",
    "independent": "b1f515f70c15eb9da6ed9c0f90df99cc9cbaa1b09f6b51f29bd089a1e370b954",
    "kd": "2b8bbae00363828c8834276f814d4e2b0036de334d5aa3e7b933d63808ff2828",
    "kdcl": "b0bdb9367bd3ec388fe0430b1694abe3948e6535efd32646af11219d0affecdb",
    "l-mcl": "8432ee45541dae84885f80a5e7ad05358cb48d032bb055702c5a1e86be96ac73",
    "layer-fusion": "c34b0fec06226afc710729170859e00c0bcb7a32e417b453b4c4d607c47f48b0",
    "mcl": "3ed5e7522a68dab2d4a1ec9863a89fd1334f0e552342b9bc03f922bce7de03a8",
    "okddip": "19cb041c1b695963dfb1d4da386e9352e652eb415751af90dda6c4f87ea2c506",
    "okdph": "add1b6c88380bf79fecb13216a27a03cb669301a826bdae37fb923a627004962",
    "one": "43cbb673a7d1039540026daad00b0b645420c3a48230c33c5f3797d34eadea62",
    "pcl": "6fba7e0b09cad86c41f05308c613f9e0b522b89dc1d75866a680bc0bc2cae18e",
    "switokd": "20aff8e5bbab088c72e21b54ee31a369823e43cc337c876f6b0a7547f3c3c00f",
}


def test_every_method_is_covered() -> None:
    assert set(STATES) == set(available())


@pytest.mark.parametrize("name", STATES)
def test_checkpoints_written_before_can_be_read(name: str) -> None:
    architectures = [networks.get("resnet8")]
    with weightless():
        teacher = get("baseline")(Build(architectures, 100, seed=0), configure("baseline", {}))
        method = get(name)(Build(architectures, 100, seed=0, teacher=teacher), configure(name, {}))
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in method.state_dict().items())
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == STATES[name]
