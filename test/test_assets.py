# SPDX-License-Identifier: Apache-2.0
"""Where models and bags are found, and what is said where they are not."""

from pathlib import Path

import pytest

from edgevlm_ros import assets


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A share folder with one model, one bag and the parameter file of one model more."""
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    (tmp_path / "bags" / "walk").mkdir(parents=True)
    (tmp_path / "config" / "models").mkdir(parents=True)
    (tmp_path / "config" / "models" / "qwen2.5-vl-3b.yaml").touch()
    monkeypatch.setattr(assets, "share_dir", lambda: tmp_path)
    return tmp_path


def test_share_dir_of_a_checkout_is_its_root() -> None:
    assert (assets.share_dir() / "package.xml").is_file()


def test_bundled_model_is_found_by_its_name(share: Path) -> None:
    assert assets.model_path("tiny") == str(share / "models" / "tiny")


def test_folder_with_a_model_is_taken_as_it_is(share: Path) -> None:
    folder = share / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert assets.model_path(str(folder)) == str(folder)


def test_hub_id_is_passed_on(share: Path) -> None:
    assert assets.model_path("Qwen/Qwen2.5-VL-3B-Instruct") == "Qwen/Qwen2.5-VL-3B-Instruct"


@pytest.mark.parametrize("name", ["", "tinny", "./no/such/folder", "/no/such", "a/b/c", "models/"])
def test_unknown_model_lists_what_is_bundled(share: Path, name: str) -> None:
    with pytest.raises(assets.AssetError, match="tiny"):
        assets.model_path(name)


@pytest.mark.parametrize(
    ("name", "near"), [("tinny", "tiny"), ("qwen2.5-vl", "qwen2.5-vl-3b"), ("Qwen2.5_VL_3B", "qwen2.5")]
)
def test_unknown_model_is_told_the_nearest_name(share: Path, name: str, near: str) -> None:
    with pytest.raises(assets.AssetError, match=f"did you mean {near}"):
        assets.model_path(name)


def test_parameter_file_is_no_model_but_it_is_told_how_to_give_it(share: Path) -> None:
    with pytest.raises(assets.AssetError, match=r"edge_model:=qwen2\.5-vl-3b"):
        assets.model_path("qwen2.5-vl-3b")


def test_folder_without_a_config_is_refused_by_name(share: Path) -> None:
    with pytest.raises(assets.AssetError, match=r"config\.json"):
        assets.model_path(str(share))


def test_bundled_bag_is_found_by_its_name(share: Path) -> None:
    assert assets.bag_path("walk") == share / "bags" / "walk"
    assert assets.bag_path("/data/other") == Path("/data/other")
