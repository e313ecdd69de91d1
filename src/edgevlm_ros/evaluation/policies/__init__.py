# SPDX-License-Identifier: Apache-2.0
"""Ways to answer about a camera stream with a small model here and a large one far away, each as one function."""
