# SPDX-License-Identifier: Apache-2.0
"""The words of a prompt in a model's own chat template, and its tokens.

What comes from outside are words: whatever they spell, they never open or close a turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from edgevlm_ros.edge.architectures.architecture import Architecture
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.transfer.conversation import Exchange
from edgevlm_ros.words import plain

_REMEMBERED = 8


class PromptText:
    """Of one model. name: for people. system_prompt: told before the history, if not empty.

    beginning, answers: remember what they were asked last.
    """

    def __init__(self, architecture: Architecture, name: str, system_prompt: str) -> None:
        self._image_token = architecture.image_token
        self._image_token_id = architecture.image_token_id
        self._template = architecture.processor.apply_chat_template
        self._tokenizer = architecture.processor.tokenizer
        self._name = name
        self._system_prompt = system_prompt
        markup = set(self._tokenizer.get_added_vocab()) | set(self._tokenizer.all_special_tokens)
        self.markup = sorted(filter(str.strip, markup), key=len, reverse=True)
        self.beginning = lru_cache(_REMEMBERED)(self._beginning)
        self.answers = lru_cache(_REMEMBERED)(self._answers)

    def rest(self, views: Sequence[str], question: str) -> list[int]:
        """The token ids from the first view on. views: what stands for each in the text."""
        _, *between = self._rendered((), len(views), question)
        text = "".join(view + words for view, words in zip(views, between, strict=True))
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _beginning(self, history: tuple[Exchange, ...]) -> tuple[int, ...]:
        """The token ids before the first view, whatever the view and the question.

        An image token is a token of its own, so what stands before it is tokenised as if it stood alone.
        """
        text = self._rendered(history, 1, "")[0]
        ids = self._tokenizer(text + self._image_token)["input_ids"]
        return tuple(ids[: ids.index(self._image_token_id)])

    def _answers(self, views: int, question: str, choices: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        """The token ids of each choice as the model would say it behind the prompt's end, without the answer's end.

        Raises EngineError for a choice that only this model takes for markup, or for another one.
        """
        before = self._rendered((), views, question)[-1]
        asked = {"role": "user", "content": [_words("?")]}
        opened = str(self._template([asked], tokenize=False, add_generation_prompt=True))
        whole = str(self._template([asked, {"role": "assistant", "content": [_words("answer")]}], tokenize=False))
        # some templates put a space before an answer that is not part of what they open a turn with
        space = whole[len(opened) :].partition("answer")[0] if whole.startswith(opened) else ""
        behind = [space + self._plain(choice).strip() for choice in choices]
        prompt_ids, *with_prompt = self._tokenizer(
            [before, *(before + words for words in behind)], add_special_tokens=False
        )["input_ids"]
        ids = [
            each[len(prompt_ids) :] if each[: len(prompt_ids)] == prompt_ids else []  # merged with the prompt's end
            for each in with_prompt
        ]
        alone = self._tokenizer(behind, add_special_tokens=False)["input_ids"]
        answers = tuple(tuple(each or other) for each, other in zip(ids, alone, strict=True))
        for index, (choice, answer) in enumerate(zip(choices, answers, strict=True)):
            if not answer:
                raise EngineError(f"{self._name}: the choice {choice!r} is nothing but this model's markup: put words")
            if answer in answers[:index]:
                other_choice = choices[answers.index(answer)]
                raise EngineError(f"{self._name}: {other_choice!r} and {choice!r} are one choice, its markup aside")
        return answers

    def _rendered(self, history: tuple[Exchange, ...], views: int, question: str) -> list[str]:
        """The prompt, cut where the views stand."""
        messages: list[dict[str, Any]] = []
        if self._system_prompt:
            messages.append({"role": "system", "content": [_words(self._system_prompt)]})
        for exchange in history:
            messages.append({"role": "user", "content": [_words(self._plain(exchange.asked))]})
            messages.append({"role": "assistant", "content": [_words(self._plain(exchange.said))]})
        images: list[dict[str, Any]] = [{"type": "image"}] * views
        messages.append({"role": "user", "content": [*images, _words(self._plain(question))]})
        text = str(self._template(messages, tokenize=False, add_generation_prompt=True))
        parts = text.split(self._image_token)
        if len(parts) != views + 1:
            raise EngineError(f"{self._name}: its chat template shows {len(parts) - 1} of {views} images")
        return parts

    def _plain(self, text: str) -> str:
        """The text without any family's markup and this model's control tokens."""
        before = ""
        while text != before:
            before = text
            for token in self.markup:
                text = text.replace(token, " ")
            text = plain(text)
        return text


def _words(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
