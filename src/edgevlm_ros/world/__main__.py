# SPDX-License-Identifier: Apache-2.0
"""`python -m edgevlm_ros.world …`: the same as `edgevlm world …`."""

from __future__ import annotations

import argparse
import sys

from edgevlm_ros.world.cli import DESCRIPTION, EPILOG, add_commands

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m edgevlm_ros.world", description=DESCRIPTION, epilog=EPILOG)
    add_commands(parser)
    arguments = parser.parse_args()
    sys.exit(arguments.run(arguments))
