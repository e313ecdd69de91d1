# SPDX-License-Identifier: Apache-2.0
"""The command line: what it imports, and what it says where it cannot."""

import re
import subprocess
import sys

import pytest

from edgevlm_ros import cli


def test_help_names_every_command_and_imports_none_of_them() -> None:
    code = (
        "import sys\nfrom edgevlm_ros import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'rclpy', *(m for m, _ in cli.COMMANDS.values())) if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(cli.COMMANDS) == set(re.findall(r"^ {4}(\w+)\b", done.stdout, re.MULTILINE))
    assert done.stdout.splitlines()[-1] == "[]"


def test_command_whose_module_is_missing_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "demo", ("edgevlm_ros.no_such_module", "gone"))
    assert cli.main(["demo"]) == 2
    assert "'edgevlm_ros.no_such_module'" in capsys.readouterr().err
