# SPDX-License-Identifier: Apache-2.0
"""Finds the data that comes with the package: models, bags, configuration, launch files.

In a source checkout they lie at its root; once installed, in the ament index's share/edgevlm_ros.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgevlm_ros.nearest import nearest

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


class AssetError(Exception):
    """Something that should lie on the disk does not; the message says where it was looked for and what there is."""


def share_dir() -> Path:
    """The folder that holds models/, bags/, config/, launch/ and rviz/."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "package.xml").is_file():
        return checkout
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        return Path(get_package_share_directory("edgevlm_ros"))
    except PackageNotFoundError as error:
        raise AssetError(
            "edgevlm_ros is not installed here: build it with colcon and source install/setup.bash"
        ) from error


def bundled(kind: str) -> list[str]:
    """Names of the folders below share_dir()/kind, kind being "models" or "bags"."""
    folder = share_dir() / kind
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def model_path(name: str) -> str:
    """What from_pretrained takes: a bundled model's folder for its name, an existing folder as it is, else a hub id."""
    if name in bundled("models"):
        return str(share_dir() / "models" / name)
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return str(folder)
    if _HUB_ID.fullmatch(name) and not folder.exists():
        return name
    raise AssetError(f"model {name!r}: {_fault(name, folder)}. Give {_models_there()}")


def _fault(name: str, folder: Path) -> str:
    if name in settings_files("models"):
        return (
            f"that is the parameter file config/models/{name}.yaml; start with edge_model:={name}, or copy its "
            "parameters into your own file"
        )
    if name and folder.is_dir():
        return "the folder has no config.json"
    close = nearest(name, [*bundled("models"), *settings_files("models")], most=2)
    return f"no such folder; did you mean {' or '.join(close)}?" if close else "no such folder"


def _models_there() -> str:
    own, named = ", ".join(bundled("models")) or "none here", ", ".join(settings_files("models"))
    return (
        f"a bundled model ({own}), a folder of a transformers model, or a hub id like 'Qwen/Qwen2.5-VL-3B-Instruct'"
        f"{f'; edge_model of the launch files also takes {named}' if named else ''}"
    )


def settings_files(kind: str) -> dict[str, Path]:
    """Parameter files for one use by name, kind being "models" or "clouds": those of share_dir()/config/kind."""
    return {path.stem: path for path in sorted((share_dir() / "config" / kind).glob("*.yaml"))}


def bag_path(name: str) -> Path:
    """A bundled bag's folder for its name, the bag in a recorder's folder, else the path, whether it exists or not."""
    if name in bundled("bags"):
        return share_dir() / "bags" / name
    path = Path(name).expanduser()
    inside = path / "bag"
    return inside if (inside / "metadata.yaml").is_file() and not (path / "metadata.yaml").exists() else path
