"""The packages of the optional extras, and the command that installs them, which must work without a package index."""

from importlib.metadata import PackageNotFoundError

import pytest

from okdbench import extras
from okdbench.errors import needs_extra

DECLARED = ["torch>=2.11", "alembic>=1.13; extra == 'mlflow'", 'mlflow-skinny[x]>=2.16; extra == "mlflow"']


def test_the_remedy_names_every_package_of_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda name: DECLARED)
    assert list(extras.declared()) == [extras.OWN, "mlflow"]
    assert list(extras.declared()[extras.OWN]) == ["torch"]
    told = "mlflow: needs the package mlflow-skinny: pip install 'alembic>=1.13' 'mlflow-skinny[x]>=2.16'"
    assert str(needs_extra("mlflow", "mlflow-skinny", "mlflow")) == told


def test_of_a_checkout_that_is_not_installed_the_package_alone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.requires", missing)
    assert extras.install_command("ray", "ray") == "pip install ray"
