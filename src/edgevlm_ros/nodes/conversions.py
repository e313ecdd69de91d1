# SPDX-License-Identifier: Apache-2.0
"""Between the messages of the graph and the plain data of the pipeline."""

from builtin_interfaces.msg import Time
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from edgevlm_msgs.msg import Answer as AnswerMsg
from edgevlm_msgs.msg import CloudContext as CloudContextMsg
from edgevlm_msgs.msg import Focus as FocusMsg
from edgevlm_msgs.msg import Region as RegionMsg
from edgevlm_ros.cloud.selection import Heard
from edgevlm_ros.transfer.types import Answer, CloudContext, Region, Source, Status

# A bridge of ours sends some hundred characters and up to 32 regions; replacement.max_tokens reads 131,072 at most.
_MOST_CHARS, _MOST_REGIONS = 131_072, 1000


def to_nanoseconds(stamp: Time) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def to_time(nanoseconds: int) -> Time:
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def to_region(message: RegionMsg) -> Region:
    box = message.box
    x0, y0 = float(box.x_offset), float(box.y_offset)
    return Region(message.label, float(message.score), x0, y0, x0 + box.width, y0 + box.height)


def to_region_msg(region: Region) -> RegionMsg:
    return RegionMsg(
        label=region.label, score=float(region.score), box=_box(region.x0, region.y0, region.x1, region.y1)
    )


def check_size(message: CloudContextMsg) -> None:
    """Raises ValueError for a context that is too large to keep."""
    texts = (message.text, message.error_msg, message.model, message.question, message.header.frame_id)
    chars = sum(map(len, texts)) + sum(len(region.label) for region in message.regions)
    if chars > _MOST_CHARS or len(message.regions) > _MOST_REGIONS:
        raise ValueError(
            f"it has {chars} characters and {len(message.regions)} regions; "
            f"at most {_MOST_CHARS} and {_MOST_REGIONS} are taken"
        )


def to_context(message: CloudContextMsg) -> CloudContext:
    """Raises ValueError for a status that this version does not know."""
    return CloudContext(
        stamp=to_nanoseconds(message.header.stamp),
        keyframe_id=int(message.keyframe_id),
        question_id=int(message.question_id),
        status=Status(message.status),
        text=message.text,
        regions=tuple(to_region(region) for region in message.regions),
        width=int(message.image_width),
        height=int(message.image_height),
        model=message.model,
    )


def to_answer_msg(answer: Answer, header: Header, model: str, frame_age: float) -> AnswerMsg:
    """frame_age: seconds on the steady clock since the image callback."""
    message = AnswerMsg(
        header=header,
        question_id=answer.question.id,
        question=answer.question.text,
        text=answer.text,
        confidence=answer.confidence,
        source=int(Source.EDGE),
        model=model,
        frame_age=frame_age,
        inference_time=answer.inference_time,
        first_token_time=answer.first_token_time,
        prepare_time=answer.timings.prepare,
        vision_time=answer.timings.vision,
        prefill_time=answer.timings.prefill,
        decode_time=answer.timings.decode,
        focus_time=answer.focus_time,
        focus_mode=answer.focus_mode,
    )
    message.context_suspended = answer.suspended
    if answer.context is not None:
        message.context_used = True
        message.context_stamp = to_time(answer.context.stamp)
        message.context_age = (answer.stamp - answer.context.stamp) * 1e-9
    return message


def to_heard(message: AnswerMsg) -> Heard:
    """What the bridge makes of an answer."""
    age = float(message.context_age) if message.context_used else None
    return Heard(
        int(message.question_id), message.text, float(message.confidence), age, bool(message.context_suspended)
    )


def to_focus_msg(answer: Answer, header: Header, strength: float) -> FocusMsg:
    """strength: beta of the attention bias that was applied."""
    message = FocusMsg(header=header, mode=answer.focus_mode, strength=strength)
    focus = answer.focus
    if focus is not None:
        message.regions = [to_region_msg(region) for region in focus.regions]
        message.rows, message.cols = focus.grid.shape
        message.context_stamp = to_time(focus.stamp)
        message.context_age = (answer.stamp - focus.stamp) * 1e-9
        if focus.crop is not None:
            message.crop = _box(*focus.crop)
    return message


def _box(x0: float, y0: float, x1: float, y1: float) -> RegionOfInterest:
    left, top = max(0, round(x0)), max(0, round(y0))
    return RegionOfInterest(x_offset=left, y_offset=top, width=max(0, round(x1) - left), height=max(0, round(y1) - top))
