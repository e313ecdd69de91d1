# SPDX-License-Identifier: Apache-2.0
"""The LVLM side: what is asked about a keyframe, how it is sent, and what is made of the reply."""
