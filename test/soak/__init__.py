# SPDX-License-Identifier: Apache-2.0
"""A soak: the real graph for half an hour of a robot's life, and what of it does not come back.

`PYTHONPATH=test python -m soak --help`. What it holds against the nodes is in `figures`, what it does to them in
`schedule`.
"""
