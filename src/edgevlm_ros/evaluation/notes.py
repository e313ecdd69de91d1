# SPDX-License-Identifier: Apache-2.0
"""What has to be known before the figures are believed: printed by the command, and first in its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgevlm_ros.assets import bundled, share_dir
from edgevlm_ros.evaluation.large_model import parsed
from edgevlm_ros.evaluation.replies import Replies
from edgevlm_ros.evaluation.robot import Robot
from edgevlm_ros.evaluation.streams import Stream

_NAMED = 5  # bags


def notes(streams: Sequence[Stream], robot: Robot, replies: Mapping[str, Replies]) -> list[str]:
    """replies: of the large model to the frames of each stream, by the stream's name."""
    found = [unread_replies(stream, replies.get(stream.name, {}), robot) for stream in streams]
    return [note for note in (unknown_world(streams, robot), *found) if note]


def unknown_world(streams: Sequence[Stream], robot: Robot) -> str:
    """Of bags that the bundled models know nothing of; empty if there are none, or if the models are others."""
    micro = [model for model in (robot.engine.model, robot.cloud_model) if model in bundled("models")]
    names = [stream.name for stream in streams if not of_the_world(stream)]
    if not micro or not names:
        return ""
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (
        f"{' and '.join(micro)} {'know' if len(micro) > 1 else 'knows'} the rendered world of the bundled bag and "
        f"nothing else: what is said here of {', '.join(names[:_NAMED])}{rest} tells nothing about context transfer "
        "there. Name models that know it: --edge-model, --cloud-model"
    )


def of_the_world(stream: Stream) -> bool:
    """Whether a bag was rendered by edgevlm_ros.world: only its streams have facts, and its demo bag is bundled."""
    return bool(stream.facts) or stream.path.resolve().is_relative_to((share_dir() / "bags").resolve())


def unread_replies(stream: Stream, replies: Replies, robot: Robot) -> str:
    """How many replies of the large model the bridge finds no answer in; empty if it reads all."""
    upload = stream.upload(stream.stamps[0])
    unread = sum(parsed(spoken.text, upload, robot.bridge) is None for spoken in replies.values())
    if not unread:
        return ""
    return (
        f"{stream.name}: {unread} of {len(replies)} replies of the large model hold no answer that can be read, and "
        "count as lost; they are in the folder replies"
    )
