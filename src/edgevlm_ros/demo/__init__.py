# SPDX-License-Identifier: Apache-2.0
"""`edgevlm demo`: a bag through the real graph on one machine.

`cli` says what can be asked for and runs it, `source` is what is played, `results` what is left of it.
"""
