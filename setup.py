# SPDX-License-Identifier: Apache-2.0
"""Installs edgevlm_ros as an ament_python package; its data goes to share/edgevlm_ros."""

import os
import sys
from pathlib import Path

from setuptools import find_packages, setup

NAME = "edgevlm_ros"
DATA = ("launch", "config", "rviz", "foxglove", "models", "bags", "requirements")


def data_files() -> list[tuple[str, list[str]]]:
    """Pairs of (folder below the install prefix, files), one for every folder that holds data."""
    folders = sorted({file.parent for top in DATA for file in Path(top).rglob("*") if file.is_file()})
    files = [(folder, sorted(str(f) for f in folder.iterdir() if f.is_file())) for folder in folders]
    return [
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *((f"share/{NAME}/{folder.as_posix()}", names) for folder, names in files),
    ]


def check_messages() -> None:
    """Ends a build by colcon that does not know edgevlm_msgs: what it installs would not run."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "")
    known = any((Path(prefix) / "share/edgevlm_msgs/package.xml").is_file() for prefix in prefixes.split(os.pathsep))
    if prefixes and not known and {"install", "develop"} & set(sys.argv):
        here = Path(__file__).resolve().parent
        sys.exit(
            f"edgevlm_msgs is not there, for colcon does not look below {here}/package.xml. Build the repository as a "
            f"workspace of its own: cd {here} && python -m colcon build. Or name both packages: "
            f"python -m colcon build --base-paths src {here}/src/edgevlm_msgs"
        )


check_messages()
setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages("src", include=[NAME, f"{NAME}.*"]),
    package_dir={"": "src"},
    package_data={NAME: ["py.typed", "evaluation/*.j2"]},
    data_files=data_files(),
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},
    python_requires=">=3.10",
    zip_safe=True,
    maintainer="edgeVLM for ROS 2 maintainers",
    maintainer_email="maintainers@edgevlm.dev",
    description="Real-time answers about a robot's camera, by an edge and a cloud vision-language model together.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "edge_node = edgevlm_ros.nodes.__main__:edge_node",
            "cloud_bridge_node = edgevlm_ros.nodes.__main__:cloud_bridge_node",
            "bag_player_node = edgevlm_ros.nodes.__main__:bag_player_node",
            "recorder_node = edgevlm_ros.nodes.__main__:recorder_node",
            "edgevlm = edgevlm_ros.cli:main",
        ],
    },
)
