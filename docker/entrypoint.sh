#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Sources ROS and the package, then becomes the command.
set -e
source /opt/edgevlm/install/setup.bash --
exec "$@"
