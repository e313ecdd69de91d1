# SPDX-License-Identifier: Apache-2.0
"""Carries regions from an old keyframe to the current frame."""
