# SPDX-License-Identifier: Apache-2.0
"""Which types are known, and which ones of a bag's own are too large to be read."""

from __future__ import annotations

import pytest
from rosbags.typesys import get_types_from_msg

from edgevlm_ros.bag_types import BagError, check_size, new_typestore, typestore

OWN = "their_msgs/msg/Own"


def size(definition: str) -> int:
    store = new_typestore()
    store.register({OWN: get_types_from_msg(definition, OWN)[OWN]})
    return check_size(store.fielddefs, OWN)


@pytest.mark.parametrize("name", ["sensor_msgs/msg/CompressedImage", "edgevlm_msgs/msg/CloudContext"])
def test_the_types_of_ros_and_ours_are_known(name: str) -> None:
    assert name in typestore().fielddefs


def test_a_type_that_is_added_to_a_new_store_is_in_no_other() -> None:
    new_typestore().register(get_types_from_msg("string word\n", OWN))
    assert OWN not in typestore().fielddefs
    assert OWN not in new_typestore().fielddefs


def test_texts_and_messages_within_a_fixed_array_count_as_often_as_they_stand_there() -> None:
    assert size("string[7] words\n") - size("string word\n") == 6
    assert size("builtin_interfaces/Time[7] times\n") == 1 + 7 * (size("builtin_interfaces/Time time\n") - 1)
    assert size("float64[700] numbers\n") == size("float64 number\n")


def test_a_type_with_too_many_fields_is_refused() -> None:
    with pytest.raises(BagError, match="more than 1000 fields"):
        size("string[1001] words\n")


def test_a_type_within_itself_is_refused() -> None:
    with pytest.raises(BagError, match="nested too deeply"):
        size(f"{OWN} again\n")
