# SPDX-License-Identifier: Apache-2.0
"""Words from outside, made harmless: they go into a model's prompt and onto a screen as data, never as a turn.

The markup of many families is known by its shape, since who cleans a text does not know which tokenizer reads it.
"""

import re
import unicodedata

# Chat markup: <|im_start|>, its full-width cousin, <s>, </think>, <image>, [INST], <<SYS>>, [gMASK].
_MARKUP = re.compile(r"<[|｜][^<>|｜]{0,64}[|｜]>|</?[A-Za-z_][\w-]{0,32}/?>|\[/?g?[A-Z_]{3,24}\]|<</?SYS>>")
_HALF_MARKUP = re.compile(r"<[|｜]|[|｜]>|<<|>>")
# Some families' templates mark who speaks with plain words: USER: ... ASSISTANT: ...
_SPEAKER = re.compile(r"\b(system|user|assistant|human)(?:\s*[:：])+", re.IGNORECASE)
_LONGEST_ERROR = 300  # torch adds a trace and a lesson


def plain(text: str) -> str:
    """The text with a space for each piece of chat markup, without speakers' colons and without what cannot be seen.

    Lines stay.
    """
    # control characters that separate words become spaces; invisible ones go first, since they can hide markup
    kept = (" " if c != "\n" and unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    printable = "".join(c for c in kept if c == "\n" or not unicodedata.category(c).startswith("C"))
    for pattern in (_MARKUP, _HALF_MARKUP):
        printable = pattern.sub(" ", printable)
    return _SPEAKER.sub(r"\1 ", printable)


def clean_text(text: str, max_chars: int) -> str:
    """One line of printable text without chat markup, cut at a word if it is longer than max_chars."""
    line = " ".join(plain(text).split())
    if len(line) <= max_chars:
        return line
    cut = line[: max_chars + 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut[:max_chars]).rstrip()


def in_one_line(error: BaseException) -> str:
    """What a library's error says, no longer than one reads; its kind if it says nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"
