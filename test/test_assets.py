# SPDX-License-Identifier: Apache-2.0
"""Where models and bags are found, and what is said where they are not."""

from pathlib import Path

import pytest

from edgevlm_ros import assets


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A share folder with one model and one bag."""
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    (tmp_path / "bags" / "walk").mkdir(parents=True)
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


def test_folder_without_a_config_is_refused_by_name(share: Path) -> None:
    with pytest.raises(assets.AssetError, match=r"config\.json"):
        assets.model_path(str(share))


def test_bundled_bag_is_found_by_its_name(share: Path) -> None:
    assert assets.bag_path("walk") == share / "bags" / "walk"
    assert assets.bag_path("/data/other") == Path("/data/other")
