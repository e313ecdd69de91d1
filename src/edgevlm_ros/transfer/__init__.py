# SPDX-License-Identifier: Apache-2.0
"""Context transfer: how a late cloud answer about an old frame enters the edge model's next answers.

NumPy and the standard library only: no ROS, no torch, no clock, no thread.
"""
