# SPDX-License-Identifier: Apache-2.0
"""The types of the messages in a bag: those of ROS 2 and ours are known here, what else there is the bag brings along.

Code is generated for each type that is read, so a definition out of a bag is measured before it is used.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from edgevlm_ros.assets import share_dir

_MOST_FIELDS = 1000
"""Of a type that a bag brings along, for its messages to be read: rosbags writes code for each text or message of a
fixed array, so 35 bytes of definition could take all memory."""


_VIDEO = {
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket": """
        std_msgs/Header header
        int32 width
        int32 height
        string encoding
        uint64 pts
        uint8 flags
        bool is_bigendian
        uint8[] data
    """,
    "foxglove_msgs/msg/CompressedVideo": """
        builtin_interfaces/Time timestamp
        string frame_id
        uint8[] data
        string format
    """,
}
"""Definitions that older bags do not bring along."""


class BagError(Exception):
    """A bag that cannot be read or written; the message says which, why, and what to do."""


@functools.cache
def typestore() -> Typestore:
    """The types of ROS 2 Jazzy, those of edgevlm_msgs, and packets of video."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for name, definition in _VIDEO.items():
        types.update(get_types_from_msg(definition, name))
    for file in _message_files():
        types.update(get_types_from_msg(file.read_text(), f"edgevlm_msgs/msg/{file.stem}"))
    store.register(types)
    return store


def new_typestore() -> Typestore:
    """One with the same types, to which others can be added. Parsing them all again would take 30 ms."""
    store = Typestore()
    store.types.update(typestore().types)
    store.fielddefs.update(typestore().fielddefs)
    return store


def _message_files() -> list[Path]:
    folder = share_dir() / "src" / "edgevlm_msgs" / "msg"
    if not folder.is_dir():
        from ament_index_python.packages import get_package_share_directory

        folder = Path(get_package_share_directory("edgevlm_msgs")) / "msg"
    return sorted(folder.glob("*.msg"))


def check_size(types: Mapping[str, Any], name: str, deeper: int = 32) -> int:
    """The number of fields of a type, with those within its fields; raises BagError if they are too many."""
    if not deeper:
        raise BagError(f"the type {name} is nested too deeply")
    count = 1
    for _, (kind, of) in types[name][1] if name in types else ():
        times = of[1] if kind is Nodetype.ARRAY else 1
        if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            kind, of = of[0]
        if kind is Nodetype.NAME:
            count += times * check_size(types, of, deeper - 1)
        else:
            count += times if of[0] == "string" else 1
        if count > _MOST_FIELDS:
            raise BagError(f"the type {name} has more than {_MOST_FIELDS} fields")
    return count
