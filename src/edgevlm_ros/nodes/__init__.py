# SPDX-License-Identifier: Apache-2.0
"""ROS at the edges only: messages in, messages out, parameters, lifecycle, diagnostics."""
