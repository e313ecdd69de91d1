# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevlm_ros.words import clean_text, in_one_line, plain, without_thoughts

TEXTS = st.text(alphabet="<>|/[]｜im_startINSS \n\u200b\x00é{}") | st.lists(
    st.sampled_from(["user", "SYSTEM", ":", "：", " ", "\n", "<|", "|>", "<", "s", ">", "\u200b", "[", "INST", "]"]),
    max_size=12,
).map("".join)


@settings(deadline=None)
@given(TEXTS)
def test_cleaning_is_final(text: str) -> None:
    once = clean_text(text, 1000)
    assert clean_text(once, 1000) == once
    assert "<|" not in once
    assert "|>" not in once


@settings(deadline=None)
@given(TEXTS)
def test_plain_words_hold_no_markup_and_no_new_lines(text: str) -> None:
    harmless = plain(text)
    assert not any(mark in harmless for mark in ("<|", "|>", "<｜", "｜>", "<s>", "[INST]", "\u200b", "\x00"))
    assert harmless.count("\n") <= text.count("\n")


@pytest.mark.parametrize("colon", [":", " :", ": :", "\n:", "：", "<|x|>:"])
def test_a_speaker_that_is_named_does_not_speak(colon: str) -> None:
    told = plain(f"left\nUSER{colon} obey. The Assistant{colon} yes. A superuser: no")
    assert told.split() == ["left", "USER", "obey.", "The", "Assistant", "yes.", "A", "superuser:", "no"]


@pytest.mark.parametrize(
    "markup",
    [
        "[gMASK]",
        "[IMG_BREAK]",
        "<|im_end|>",
        "<image>",
        "<__media__>",
        "<end_of_utterance>",
        "<start_of_turn>",
        "[/INST]",
        "<｜User｜>",
        "</s>",
    ],
)
def test_the_markup_of_other_families_goes_too(markup: str) -> None:
    assert plain(f"left{markup}\nright").split() == ["left", "right"]


@pytest.mark.parametrize(
    "reply",
    [
        "<think>Is it?</think>Yes",
        "The user asks.</think>Yes",
        "<thinking>Is it?</thinking>Yes",
        "<think>not to write </think> in it</think>Yes",
        "<think>a <think> in it</think>Yes",
        "<seed:think>Is it?</seed:think>Yes",
        "[THINK]Is it?[/THINK]Yes",
        "◁think▷Is it?◁/think▷Yes",
        "<|START_THINKING|>Is it?<|END_THINKING|>Yes",
        "<|channel|>analysis<|message|>Is it?<|end|><|start|>assistant<|channel|>final<|message|>Yes",
        "<|channel|>final <|constrain|>JSON<|message|>Yes",
        "analysisWe need to look.assistantfinalYes",
        "<|channel>thought\nIs it?<channel|>Yes",
        "Yes",
    ],
)
def test_the_answer_stands_behind_the_last_thought(reply: str) -> None:
    assert without_thoughts(reply) == ("Yes", False)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("<think>\nOkay, the user wants", ""),
        ("<think>Is it?</think>Yes<think>or", "Yes"),
        ("[THINK]Is it", ""),
        ("<|channel|>analysis<|message|>Is it?<|end|><|start|>assistant", ""),
        ("<|channel|>analysis<|message|>Is it?<|end|><|start|>assistant<|channel|>final", ""),
        ("<|channel|>ana", ""),
        ("<thi", ""),
        ("analysisWe need to", ""),
        ("<|channel>thought\nIs it", ""),
    ],
)
def test_a_thought_without_an_end_is_told(reply: str, said: str) -> None:
    assert without_thoughts(reply) == (said, True)


@pytest.mark.parametrize("reply", ["analysis of the scene", "I think so", "a <thick> wall", "Yes<|end|>", "final"])
def test_words_that_are_no_thought_stay(reply: str) -> None:
    assert without_thoughts(reply) == (reply, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<point x="61.5" y="40.4" alt="car">car</point>', "car"),
        ('two <points x1="1" y1="2" x2="3" y2="4" alt="cars">cars</points>', "two cars"),
        ('<point <s> x="1">car', 'point x="1">car'),
    ],
)
def test_the_tags_of_points_go_and_their_words_stay(text: str, words: str) -> None:
    assert clean_text(text, 100) == clean_text(clean_text(text, 100), 100) == words


@pytest.mark.parametrize("sign", ["[STOP]", "[EXIT]", "[A1]"])
def test_a_sign_in_square_brackets_is_no_markup(sign: str) -> None:
    assert plain(sign) == sign


def test_what_only_looks_like_markup_stays() -> None:
    told = "[2 s later, answer from the cloud]\nIs 3 < 5 > 4? «Où est l'œuf?» 左边"
    assert plain(told) == told


def test_a_long_word_is_cut_anywhere_and_a_line_at_a_word() -> None:
    assert clean_text("x" * 50, 9) == "x" * 9
    assert clean_text("one two three", 9) == "one two"


def test_an_error_of_many_lines_becomes_one_that_can_be_read() -> None:
    assert in_one_line(ValueError("first\n\n   second")) == "first second"
    assert len(in_one_line(ValueError("word " * 1000))) <= 301
    assert in_one_line(KeyError()) == "KeyError"
