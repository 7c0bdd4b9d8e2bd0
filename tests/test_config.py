"""What a run is called."""

from pathlib import Path

import fabricate


def test_a_run_is_one_folder_whatever_its_networks_are_called(tmp_path: Path) -> None:
    config = fabricate.plan(tmp_path).runs[0].config
    assert config.folder == f"cifar100.resnet8.baseline.s0.{config.id}"
    for network in ("timm/resnet18", "timm/resnet18+resnet8"):
        other = config.model_copy(update={"network": network})
        assert Path(other.folder).name == other.folder and other.folder.endswith(f".s0.{other.id}")


def test_a_plugin_changes_the_identity_and_none_leaves_it_alone(tmp_path: Path) -> None:
    config = fabricate.plan(tmp_path).runs[0].config
    assert config.model_copy(update={"plugins": None}).id == config.id
    assert config.model_copy(update={"plugins": {"method baseline": "0123456789ab"}}).id != config.id
