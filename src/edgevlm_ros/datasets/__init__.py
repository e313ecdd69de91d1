# SPDX-License-Identifier: Apache-2.0
"""`edgevlm convert`: published sets of questions about driving, and anybody's own, as annotated bags.

One module per dataset reads the files as their authors publish them and gives clips; annotated_bag.py writes them.
Nothing is downloaded, and nothing of a dataset is in this repository: who converts one has agreed to its licence.
"""
