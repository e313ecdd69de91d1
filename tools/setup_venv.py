#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes .venv a whole ROS 2 workspace out of wheels, for machines without a ROS installation.

The Jazzy wheels put ROS 2 into the virtual environment's own prefix. Building edgevlm_msgs into the same prefix makes
it one more of those packages: no setup file is ever sourced, and `.venv/bin/python` knows all of it.
Every step leaves the hash of what it was made from, so that a second run has nothing to do.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP = VENV / "edgevlm-setup.json"
MESSAGES = ROOT / "src" / "edgevlm_msgs"
PYTHONS = ("3.11", "3.12")  # the wheels are built for these
APT = {"gcc": "build-essential", "g++": "build-essential", "make": "build-essential", "cmake": "cmake"}

# What the wheels' CMake files say of the machine that built them; the Python expression for what is true here.
BUILDERS_PATHS = {
    r"/opt/python/cp\d+-cp\d+/lib/python3\.\d+/site-packages/numpy/_core/include": "numpy.get_include()",
    r"/opt/python/cp\d+-cp\d+/include/python3\.\d+": "sysconfig.get_paths()['include']",
}


def fail(message: str) -> NoReturn:
    sys.exit(f"setup: {message}")


def environment() -> dict[str, str]:
    """This process's environment, less what would make another ROS or Python shine through, plus the wheels' prefix."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env["PATH"] = f"{VENV / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
    return {
        **env,
        "AMENT_PREFIX_PATH": str(VENV),
        "CMAKE_PREFIX_PATH": str(VENV),
        "COLCON_HOME": str(VENV / "colcon"),
        "MAKEFLAGS": f"-j{os.cpu_count()}",  # colcon's own choice stops working while the machine is busy with others
    }


def call(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], cwd=ROOT, env=environment(), check=False)
    if done.returncode:
        fail(f"`{' '.join(map(str, command[:6]))} ...` failed with exit code {done.returncode}; its output is above.")


def ask(python: str | Path, code: str) -> str | None:
    """What the interpreter prints, or None if it does not run."""
    try:
        done = subprocess.run(
            [str(python), "-c", code], capture_output=True, text=True, timeout=60, env=environment(), check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def check_machine() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        fail(
            f"the ROS 2 wheels are for x86_64 Linux, this is {platform.machine()} {sys.platform}: use ROS 2 and colcon."
        )
    for tool, package in APT.items():
        if not shutil.which(tool):
            fail(f"{tool} is missing: `sudo apt install {package}`.")


def loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def check_opengl(extras: list[str]) -> None:
    """The world is rendered with OpenGL. Tests that render skip without it, so for them a note is enough."""
    if (loads("libEGL.so.1") and (loads("libOpenGL.so.0") or loads("libGL.so.1"))) or loads("libOSMesa.so.8"):
        return
    hint = (
        "the test world cannot be rendered here: `sudo apt install libegl1 libopengl0 libgl1-mesa-dri` (no GPU needed)"
    )
    if "dev" not in extras:
        fail(hint)
    print(f"setup: {hint}; until then the tests that render are skipped", flush=True)


def check_shell() -> None:
    if os.environ.get("AMENT_PREFIX_PATH", str(VENV)) != str(VENV):
        distro = os.environ.get("ROS_DISTRO", "some distribution")
        fail(f"ROS 2 ({distro}) is sourced in this shell: use `colcon build`, or run make in a shell without it.")


def find_python() -> str:
    """A Python 3.11 or 3.12 that can make environments and build extensions: $PYTHON if set, else the first on PATH."""
    wanted = os.environ.get("PYTHON")
    faults = []
    for python in (wanted,) if wanted else (*(f"python{version}" for version in PYTHONS), "python3", sys.executable):
        version = ask(python, "import sys; print('%d.%d' % sys.version_info[:2])")
        if version not in PYTHONS:
            faults.append(f"{python} is {version or 'missing'}")
        elif ask(python, "import venv, ensurepip") is None:
            faults.append(f"{python} has no venv: `sudo apt install python{version}-venv`")
        elif not Path(ask(python, "import sysconfig; print(sysconfig.get_path('include'))") or "", "Python.h").exists():
            faults.append(f"{python} has no Python.h: `sudo apt install python{version}-dev`")
        else:
            return python
    fail(f"no usable Python {' or '.join(PYTHONS)} ({'; '.join(faults)}). Install one, or name it: `make PYTHON=... `.")


def digest(*paths: Path) -> str:
    """One hash over files and folders, and over where the environment lies, for it cannot be moved."""
    total = hashlib.sha256(str(VENV).encode())
    for path in paths:
        for file in sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]:
            total.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return total.hexdigest()


def correct_cmake_files() -> None:
    """Replace the builder's paths in the wheels' CMake files by this environment's."""
    found = ask(VENV / "bin/python", f"import numpy, sysconfig; print({', '.join(BUILDERS_PATHS.values())}, sep='\\n')")
    if not found:
        fail("numpy does not import in .venv: `make clean-venv` and try again.")
    for file in (VENV / "share").rglob("*.cmake"):
        text = old = file.read_text()
        for pattern, here in zip(BUILDERS_PATHS, found.splitlines()):  # noqa: B905 (runs on old Pythons too)
            text = re.sub(pattern, here, text)
        if text != old:
            file.write_text(text)


def build_messages() -> None:
    """Build edgevlm_msgs into the prefix of the environment."""
    build = VENV / "build"
    shutil.rmtree(build, ignore_errors=True)
    (VENV / "local_setup.sh").touch()  # colcon warns of a prefix without one, and then writes it
    call(
        *(VENV / "bin/colcon", "--log-base", build / "log", "build", "--base-paths", MESSAGES, "--build-base", build),
        *("--merge-install", "--install-base", VENV),
        *("--cmake-args", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF", "--no-warn-unused-cli"),
        f"-DPython3_EXECUTABLE={VENV / 'bin/python'}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="further files of requirements/: dev, world")
    extras: list[str] = parser.parse_args().extras

    check_shell()
    python = VENV / "bin/python"
    made: dict[str, str] = json.loads(STAMP.read_text()) if STAMP.exists() else {}

    files = {name: ROOT / "requirements" / f"{name}.txt" for name in ("ros", "run", *extras)}
    for name, file in files.items():
        if not file.exists():
            fail(f"no requirements/{name}.txt; there are {', '.join(f.stem for f in file.parent.glob('*.txt'))}.")
    want = {f"requirements/{name}": digest(file) for name, file in files.items()}
    want["messages"] = digest(MESSAGES)
    want["package"] = digest(ROOT / "setup.py", ROOT / "package.xml")
    want["setup"] = digest(Path(__file__))
    stale = {step for step, value in want.items() if made.get(step) != value}
    if "world" in extras:
        check_opengl(extras)
    if not stale and python.exists():
        return

    began = time.monotonic()
    check_machine()
    if ask(python, "print(1)") is None:
        made = {}
        base = find_python()
        print(f"setup: making .venv with {base}", flush=True)
        call(base, "-m", "venv", "--clear", VENV)
    if "setup" in stale or not made:
        stale |= set(want)

    def done(*steps: str) -> None:
        made.update({step: want[step] for step in steps})
        STAMP.write_text(json.dumps(made, indent=1) + "\n")

    if packages := [step for step in want if step.startswith("requirements/") and step in stale]:
        print("setup: installing ROS 2 Jazzy, torch and the rest from wheels (2 to 5 minutes, about 2 GB)", flush=True)
        known = [f"requirements/{f.stem}" for f in sorted((ROOT / "requirements").glob("*.txt"))]
        asked = [word for step in known if step in want or step in made for word in ("-r", f"{step}.txt")]
        quiet = () if sys.stdout.isatty() else ("-q",)  # progress bars for people, no 400 lines for a log
        call(python, "-m", "pip", "install", "--disable-pip-version-check", *quiet, *asked)
        correct_cmake_files()
        done(*packages)
    if "messages" in stale:
        print("setup: building edgevlm_msgs", flush=True)
        build_messages()
        done("messages")
    if "package" in stale:
        print("setup: linking edgevlm_ros into .venv", flush=True)
        call(
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--no-build-isolation",
            "--no-deps",
            "-e",
            ROOT,
        )
        done("package")
    done("setup")
    print(f"setup: done in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
