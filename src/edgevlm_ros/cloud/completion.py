# SPDX-License-Identifier: Apache-2.0
"""What stands in a chat completion of the OpenAI API, as far as servers keep to it."""

from typing import Any

from edgevlm_ros.cloud.failures import Unparsable
from edgevlm_ros.words import clean_text


def content_of(reply: dict[str, Any]) -> str:
    """The words of the first choice. Raises Unparsable."""
    try:
        content = reply["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise Unparsable(f"the reply has no choices[0].message.content: {clean_text(str(reply), 80)!r}") from error
    if isinstance(content, list):  # some servers return parts
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        raise Unparsable("the message of the reply has no text")
    return content


def finished(reply: dict[str, Any]) -> bool:
    """Whether the model came to its end, as far as the server says; of a reply that has a content."""
    return reply["choices"][0].get("finish_reason") in ("stop", None)


def count_of(reply: dict[str, Any], name: str) -> int:
    """A number of tokens that the server counted; 0 if it tells none that can be true."""
    usage = reply.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if type(count) is int and 0 < count < 2**32 else 0
