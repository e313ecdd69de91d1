# SPDX-License-Identifier: Apache-2.0
"""The SVLM runtime: engines that turn a history, a frame, a focus and a question into tokens."""
