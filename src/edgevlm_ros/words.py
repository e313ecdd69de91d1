# SPDX-License-Identifier: Apache-2.0
"""Words from outside, made harmless: they go into a model's prompt and onto a screen as data, never as a turn.

The markup of many families is known by its shape, since who cleans a text does not know which tokenizer reads it.
"""

import re
import unicodedata

# Chat markup: <|im_start|>, its full-width cousin, <s>, </think>, <image>, [INST], <<SYS>>, [gMASK], ◁think▷, and the
# tags of Molmo's points. In square brackets by name alone: what else stands there may be read off a sign.
_MARKUP = re.compile(
    r"<[|｜][^<>|｜]{0,64}[|｜]>|</?[A-Za-z_][\w:-]{0,32}/?>|<</?SYS>>|◁/?\w{1,32}▷"
    r"|\[/?(?:INST|THINK|IMG|ARGS|AUDIO|PREFIX|MIDDLE|SUFFIX|TRANSCRIBE|[gs]?MASK|UNK|CLS|SEP|PAD|BOS|EOS"
    r"|[A-Z]{2,16}(?:_[A-Z]{1,16}){1,2})\]"
    r"|<(?:points?|tracks?)(?:\s{1,4}[\w-]{1,32}=(?:\"[^\"<>]{0,4000}\"|'[^'<>]{0,4000}')){1,200}\s{0,4}/?>"
)
_HALF_MARKUP = re.compile(r"<[|｜]|[|｜]>|<<|>>|<(?=(?:points?|tracks?)\b)|[◁▷]")
# <think> (Qwen, DeepSeek, GLM), <seed:think>, [THINK] (Magistral), ◁think▷ (Kimi), <|START_THINKING|> (Command A),
# <|begin_of_thought|>, <|channel|>analysis (gpt-oss, whose marks some servers leave out), <|channel>thought (Gemma).
_THOUGHT = re.compile(
    r"(?P<begin><(?:seed:)?(?:think(?:ing)?|thoughts?|reasoning)>|\[THINK\]|◁think▷|<\|START_THINKING\|>"
    r"|<\|begin_of_thought\|>|<\|channel\|?>\s{0,4}(?:analysis|commentary|thought|[a-z]{0,10}\Z)"
    r"|\A\s{0,8}analysis(?=(?-i:[A-Z]))|\A\s{0,8}<\|?[a-z_:]{0,20}\Z)"  # and one of which only a part came
    r"|(?P<end></(?:seed:)?(?:think(?:ing)?|thoughts?|reasoning)>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>"
    r"|<\|end_of_thought\|>|(?:<\|start\|>assistant)?<\|channel\|>\s{0,4}final[^<>|]{0,40}(?:<\|constrain\|>[^<>|]{0,40})?"
    r"<\|message\|>|<channel\|>|(?-i:assistantfinal))",
    re.IGNORECASE,
)
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


def without_thoughts(text: str) -> tuple[str, bool]:
    """A model's words without what it thought aloud, and whether a thought was still open where they end.

    An end without a beginning closes a thought that began with the text: some chat templates begin it in the prompt.
    """
    kept: list[str] = []
    position, is_open = 0, False
    for mark in _THOUGHT.finditer(text):
        if mark.lastgroup == "end":
            if not is_open:
                kept.clear()
            position, is_open = mark.end(), False
        elif not is_open:
            kept.append(text[position : mark.start()])
            is_open = True
    if not is_open:
        kept.append(text[position:])
    return "".join(kept), is_open


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
