# SPDX-License-Identifier: Apache-2.0
from edgevlm_ros.nearest import nearest, suggestion

NAMES = ("focus.mode", "focus.beta", "keyframe_period", "max_in_flight")


def test_a_typing_error_finds_its_name() -> None:
    assert nearest("keyframe_perod", NAMES) == ["keyframe_period"]
    assert nearest("Focus.Mode", NAMES) == ["focus.mode"]


def test_the_last_part_of_a_name_finds_the_whole() -> None:
    assert nearest("beta", NAMES) == ["focus.beta"]


def test_the_best_of_several_comes_first() -> None:
    assert nearest("focus.bet", NAMES, most=2)[0] == "focus.beta"


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    assert nearest("zzz", NAMES) == []
    assert suggestion("zzz", NAMES) == "'zzz'"
    assert suggestion("max_inflight", NAMES) == "'max_inflight' (did you mean 'max_in_flight'?)"
