# SPDX-License-Identifier: Apache-2.0
"""`edgevlm doctor`: what is wrong with an installation, and what to do about it.

One module per subject. It must work where half of the stack is missing, since that is what it is for: nothing but the
standard library is imported until a check needs it, what may crash is tried in a process of its own, and a check that
breaks is a finding too.
"""
