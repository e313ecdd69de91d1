# SPDX-License-Identifier: Apache-2.0
"""Chaos: the real graph under every fault that its users will meet, one after the other, and what each one cost.

`PYTHONPATH=test python -m chaos --help`. The faults are in `faults`, when they happen in schedule.yaml, what is asked
of the graph in `figures`.
"""
