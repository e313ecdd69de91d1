# SPDX-License-Identifier: Apache-2.0
"""What differs between model families: where image tokens lie, positions, how pixels are prepared."""
