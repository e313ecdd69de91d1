# SPDX-License-Identifier: Apache-2.0
"""The valid name nearest to one that is not: what an error suggests to someone who mistyped it."""

from collections.abc import Collection, Iterable
from difflib import SequenceMatcher

_LEAST = 0.6  # as difflib.get_close_matches has it


def nearest(word: str, names: Iterable[str], most: int = 1) -> list[str]:
    """The names that are like the word, best first. Of dotted names the last part may be like it too: `beta` finds
    `focus.beta`."""
    likeness = {name: max(_likeness(word, name), 0.95 * _likeness(_last(word), _last(name))) for name in names}
    return sorted((name for name in likeness if likeness[name] >= _LEAST), key=lambda name: -likeness[name])[:most]


def suggestion(word: str, names: Collection[str]) -> str:
    """`word`, with the nearest name if one is near: "'vlm' (did you mean 'vllm'?)"."""
    found = nearest(word, names)
    return f"{word!r} (did you mean {found[0]!r}?)" if found else repr(word)


def _likeness(one: str, other: str) -> float:
    """0..1, without regard to case."""
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]
