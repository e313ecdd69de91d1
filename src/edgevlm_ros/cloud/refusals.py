# SPDX-License-Identifier: Apache-2.0
"""Fields of a chat request that some servers refuse by name, though they can be asked without them.

What a server refuses is found out with the first request and remembered by the client that asks; nobody has to know it
beforehand. See structured_output for the reply's schema, which servers refuse in more ways.
"""

import re
from collections.abc import Set
from typing import Any

from edgevlm_ros.cloud.failures import Rejected

_RENAMED = {"max_completion_tokens": "max_tokens", "max_tokens": "max_completion_tokens"}
_OPTIONAL = (*_RENAMED, "temperature", "reasoning_effort", "logprobs", "stream_options", "cache_prompt")
_TOO_LONG = re.compile(r"too (large|long|many tokens)|context (length|window)", re.IGNORECASE)
"""Said of the value of a length, not of its name: without the field the model might answer without end."""


def named_by(error: Rejected, request: dict[str, Any]) -> frozenset[str]:
    """The fields of a request for which it was refused, as far as they can be left out."""
    if error.code not in (400, 422):
        return frozenset()
    names = set(_OPTIONAL) - (_RENAMED.keys() if _TOO_LONG.search(error.text) else set())
    return frozenset(name for name in names if name in request and re.search(rf"\b{name}\b", error.text))


def without(fields: Set[str], request: dict[str, Any]) -> dict[str, Any]:
    """The request without these fields; one that has another name at other servers gets it, unless that is refused."""
    kept = {name: value for name, value in request.items() if name not in fields}
    for name in fields & request.keys():
        other = _RENAMED.get(name, name)
        if other not in fields:
            kept[other] = request[name]
    return kept
