# SPDX-License-Identifier: Apache-2.0
"""What comes from outside, tried with bytes that nobody would think of.

Each module in `targets` takes bytes and says whether what our code made of them may be. `campaign` has atheris look for
bytes that reach new code, a million times; `test_targets.py` tries those that are kept in `corpus`, and some thousand
made from them, in every run of the tests.
"""
