# SPDX-License-Identifier: Apache-2.0
"""edgeVLM: a small vision-language model on the robot, corrected by the late answers of a large one."""
