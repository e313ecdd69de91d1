# SPDX-License-Identifier: Apache-2.0
"""The rendered benchmark world, where the bundled micro models learn to see and the demo bag is filmed.

An extra: nothing that runs on a robot imports it. MuJoCo is needed for rendering only.
"""
