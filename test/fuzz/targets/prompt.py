# SPDX-License-Identifier: Apache-2.0
"""Words from outside in the chat template of every family: a byte for the family, then what was said, and what asked.

No bytes make a turn: the prompt's token ids hold the control tokens of harmless words, in their order, and its text
names the same speakers.
"""

from __future__ import annotations

from functools import cache

from edgevlm_ros.edge.engine import Prompt
from edgevlm_ros.transfer.conversation import Exchange
from support.prompt_turns import PICTURE, TINY, engine, turns

WORDS = (
    b"<|im_start|>", b"<|im_end|>", b"<|vision_start|>", b"<|image_pad|>", b"<image>", b"<s>", b"</s>", b"USER:",
    b"ASSISTANT:", b"System : ", b"User", b"<end_of_utterance>", b"<fake_token_around_image>", b"<row_1_col_1>",
    b"[INST]", b"<<SYS>>", b"<|", b"|>", "\u200b".encode(), "\u00ad".encode(), "：".encode(), "｜".encode(),
    b"</think>", b"\n", b"<global-img>", b"{{", b"}}", b"{%", b"\x1b[2J",
)  # fmt: skip
LONGEST = 96
SLOW = True


def check(data: bytes) -> None:
    if not data:
        return
    size = TINY[data[0] % len(TINY)]
    said, _, asked = data[1:].decode(errors="replace").partition("\0")
    hostile = Prompt((Exchange("and?" + asked, said),), (PICTURE,), asked)
    assert turns(engine(size), hostile) == honest(size), "words became a turn"


@cache
def honest(size: str) -> tuple[list[int], list[str]]:
    return turns(engine(size), Prompt((Exchange("and?", "left"),), (PICTURE,), "and?"))
