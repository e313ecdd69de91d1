# SPDX-License-Identifier: Apache-2.0
"""One module for each door. Each has

- check(data): whatever the bytes, it returns, or raises AssertionError for what may not be; no other exception is one
  that the code behind the door may raise;
- WORDS: pieces of the format, which it need not find byte by byte;
- LONGEST: bytes of an input;
- SLOW, if it stands there: that a million executions take hours, so that the tests try fewer.
"""
