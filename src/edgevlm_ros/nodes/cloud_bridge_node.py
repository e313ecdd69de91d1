# SPDX-License-Identifier: Apache-2.0
"""The cloud bridge: sends keyframes of the camera to a large model and publishes what comes of each.

Every keyframe that leaves ends as exactly one CloudContext with the keyframe's own header and a status, so that nobody
has to guess whether the cloud is slow, dead or silent. A thread of its own chooses the keyframes, for which it decodes
some images; encoding and the network live in the uplink's thread: no callback here waits for anything.

Which frame is a keyframe is decided by cloud.selection, which also hears the small model's answers.

A question that is asked once, by the action `ask`, does not disturb that: the newest image goes up with it at once,
beside the schedule and with a place in flight of its own.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMsg
from std_msgs.msg import Header

from edgevlm_msgs.msg import Answer as AnswerMsg
from edgevlm_msgs.msg import CloudContext as CloudContextMsg
from edgevlm_msgs.msg import Metrics as MetricsMsg
from edgevlm_msgs.msg import Question as QuestionMsg
from edgevlm_ros.cloud.budget import Budget, Limits
from edgevlm_ros.cloud.client import CloudClient
from edgevlm_ros.cloud.features import to_bytes
from edgevlm_ros.cloud.jpeg import Upload, as_it_is, encode, shown
from edgevlm_ros.cloud.privacy import Area, Hiding, Privacy
from edgevlm_ros.cloud.selection import Rule, Selection, Sent
from edgevlm_ros.cloud.uplink import Exchange, Keyframe, Uplink
from edgevlm_ros.endpoint import check_base_url
from edgevlm_ros.images import ImageError, to_rgb
from edgevlm_ros.nodes import bridge_parameters, qos
from edgevlm_ros.nodes.bridge_parameters import PARAMETERS
from edgevlm_ros.nodes.camera import checked_question
from edgevlm_ros.nodes.camera_health import Health
from edgevlm_ros.nodes.camera_node import CameraNode
from edgevlm_ros.nodes.cloud_health import CloudTally, advice
from edgevlm_ros.nodes.conversions import to_heard, to_nanoseconds, to_region_msg
from edgevlm_ros.nodes.parameters import ParameterError
from edgevlm_ros.nodes.run import run
from edgevlm_ros.slot import NewestSlot
from edgevlm_ros.tracking.glimpse import Glimpse, glimpse
from edgevlm_ros.transfer.types import Question, Status

if TYPE_CHECKING:
    from edgevlm_ros.cloud.eyes import Eyes

_LAST_WORDS_S = 1.0
_MOST_ASKED_ONCE = 2  # that wait for their reply at once: whoever asks often must not crowd out the keyframes


class CloudBridgeNode(CameraNode):
    """In also `answer` and `question/once`, out also `context`."""

    def __init__(self, **kwargs: Any) -> None:
        self._selection = Selection(Rule(), max_in_flight=1)
        self._connect: Callable[[], CloudClient] | None = None
        self._uplink: Uplink | None = None
        self._budget = Budget(Limits())
        self._host = self._key_from = ""
        self._eyes: Eyes | None = None
        self._keyframes = 0
        self._newest: ImageMsg | CompressedImage | None = None
        self._slot: NewestSlot[tuple[ImageMsg | CompressedImage, float]] = NewestSlot()
        self._chooser: ThreadPoolExecutor | None = None
        # ids of the keyframes that are under way, by the schedule and beside it: the uplink's thread takes them out
        self._scheduled: set[int] = set()
        self._asked_once: set[int] = set()
        self._unheard: dict[int, Sent] = {}  # keyframes by the schedule whose reply the selection has not heard
        self._hiding = Hiding(Privacy())
        self._hidden = 0
        self._tally = CloudTally()
        super().__init__("cloud_bridge_node", PARAMETERS, **kwargs)

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    def _configure(self) -> None:
        value = self._settings
        self._hiding = Hiding(bridge_parameters.privacy(value))
        self._host = check_base_url(value["base_url"], allow_http=value["allow_http"]).host
        self._key_from = bridge_parameters.key_from(value)
        self._connect = bridge_parameters.client(value)
        self._budget = Budget(bridge_parameters.limits(value))
        self._selection = Selection(bridge_parameters.rule(value), value["max_in_flight"])
        self._eyes = bridge_parameters.eyes(value)
        self._contexts = self._publisher(CloudContextMsg, "context")

    def _activate(self) -> None:
        assert self._connect is not None
        self._tally = CloudTally()
        self._newest, self._slot = None, NewestSlot()
        self._chooser = ThreadPoolExecutor(1, "keyframes")
        self._scheduled, self._asked_once, self._unheard = set(), set(), {}
        self._selection = Selection(bridge_parameters.rule(self._settings), self._settings["max_in_flight"])
        self._uplink = Uplink(
            self._connect(),
            breaker=bridge_parameters.breaker(self._settings),
            budget=self._budget,
            emulated=bridge_parameters.emulated(self._settings),
            warn=self.get_logger().warning,
        )
        for kind, topic, callback in (
            (QuestionMsg, "question/once", self._on_question_once),
            (AnswerMsg, "answer", self._on_answer),
        ):
            subscription = self.create_subscription(kind, topic, callback, qos.EVENTS)
            self._entities.append((self.destroy_subscription, subscription))
        self.get_logger().info(f"sending keyframes of {self._image_topic} to {self._settings['base_url']}")

    def _quiet(self) -> None:
        """Sends nothing more; what is under way is published as dropped."""
        if self._chooser is not None:
            self._chooser.shutdown()  # who asked once hears what came of it
            self._chooser = None
        if self._uplink is not None:
            self._uplink.close()
            self._uplink = self._newest = None
            self._report()
            if self.context.ok():  # a publisher that is destroyed takes what nobody has read yet with it
                self._contexts.wait_for_all_acked(Duration(seconds=_LAST_WORDS_S))

    def _release(self) -> None:
        self._connect = None
        if self._eyes is not None:
            self._eyes.close()
            self._eyes = None

    # -- parameters --------------------------------------------------------------------------------------------------

    def _on_parameters(self) -> None:
        self._selection.rule = bridge_parameters.rule(self._settings)
        self._selection.max_in_flight = self._settings["max_in_flight"]

    # -- keyframes ---------------------------------------------------------------------------------------------------

    def _on_camera(self, message: ImageMsg | CompressedImage, now: float) -> None:
        self._newest = message
        if self._slot.put((message, now)) is None:  # else one waits to be looked at, and this one takes its place
            self._choose(self._look_at_newest)

    def _choose(self, work: Callable[..., None], *given: Any) -> None:
        """Lets the thread that chooses do this, after what it was given before."""

        def tried() -> None:
            try:
                work(*given)
            except Exception as error:
                self.get_logger().error(f"a message was not taken: {error!r}", throttle_duration_sec=5.0)

        if self._chooser is not None:
            self._chooser.submit(tried)

    def _look_at_newest(self) -> None:
        """Sends the newest image if it is to be a keyframe."""
        newest = self._slot.take()
        question, uplink = self._question, self._uplink
        if newest is None or question is None or uplink is None:
            return
        message, now = newest
        urgent = self._selection.is_new(question.id)
        if uplink.refuses(now, urgent):  # the frame that comes once it may is newer
            return
        look = partial(_look, message)
        reason = self._selection.reason(now, question.id, len(self._scheduled), look)
        if reason is None:
            return
        self._unheard[self._keyframes + 1] = self._selection.sent(now, question.id, look, reason)
        self._tally.reasons[reason] += 1
        self.get_logger().debug(f"keyframe {self._keyframes + 1} of {self._image_topic}: {reason.value}")
        self._send(message, question, self._scheduled, urgent)

    def _on_answer(self, message: AnswerMsg) -> None:
        """Hears what the small model says, which tells what the cloud should be asked."""
        if message.source == AnswerMsg.SOURCE_EDGE:
            self._choose(self._selection.heard, to_heard(message))

    def _on_question_once(self, message: QuestionMsg) -> None:
        self._choose(self._ask_once, message)

    def _ask_once(self, message: QuestionMsg) -> None:
        """Sends the newest image with a question of its own; who asks hears in any case what came of it."""
        image = self._newest
        try:
            question = checked_question(message.text)
        except ParameterError as error:
            self.get_logger().warning(f"a message on 'question/once' is not taken: {error}")
            return
        if image is None:
            self._refuse(
                message.header, message.header.stamp, question, f"no image has come yet on {self._image_topic}"
            )
        elif len(self._asked_once) >= _MOST_ASKED_ONCE:
            why = f"{_MOST_ASKED_ONCE} questions of 'ask' wait for their reply already"
            self._refuse(image.header, message.header.stamp, question, why)
        else:
            self._tally.asked_once += 1
            self._send(image, question, self._asked_once, True, message.header.stamp)

    def _send(
        self,
        message: ImageMsg | CompressedImage,
        question: Question,
        under_way: set[int],
        urgent: bool,
        request: Time | None = None,
    ) -> None:
        """under_way: where it counts until it has come back. request: stamp of the question that is asked once."""
        if self._uplink is None:
            return
        self._keyframes += 1
        self._tally.requests += 1
        under_way.add(self._keyframes)
        hidden = self._hiding.areas(time.monotonic())
        side, quality = self._settings["max_side"], self._settings["jpeg_quality"]
        make_upload = partial(_upload, message, side, quality, hidden)
        if self._eyes is not None:
            make_upload = partial(_seen, message, side, hidden, self._eyes)
        finished = partial(self._on_exchange, message.header, request or Time(), self._now(), under_way)
        self._uplink.submit(Keyframe(self._keyframes, question, make_upload, urgent), finished)

    def _on_exchange(self, header: Header, request: Time, sent: Time, under_way: set[int], exchange: Exchange) -> None:
        """A keyframe has come back. From the uplink's thread."""
        keyframe, result = exchange.keyframe, exchange.result
        under_way.discard(keyframe.id)
        if (mine := self._unheard.pop(keyframe.id, None)) is not None:
            self._selection.replied(mine, result.text if result.status is Status.OK else None)
        failed, now = self._tally.failures_in_a_row, time.monotonic()
        self._tally.count(exchange, now)
        if exchange.upload is not None:
            self._hidden = exchange.upload.hidden
            self._hiding.learn(result.regions, (exchange.upload.source_width, exchange.upload.source_height), now)
        if result.status is not Status.OK:
            text = f"keyframe {keyframe.id} of {self._image_topic}: {result.status.name}: {result.error}"
            hint = advice(result, self._host, self._key_from)
            tell = self.get_logger().debug if result.status in self._tally.told else self.get_logger().warning
            tell(f"{text}{f'; {hint}' if hint else ''}")
            self._tally.told.add(result.status)
        elif failed:
            self.get_logger().info(f"the cloud answers again, after {failed} requests that failed")
        self._publish(self._contexts, _context_msg(header, request, sent, self._now(), exchange))

    def _refuse(self, header: Header, request: Time, question: Question, why: str) -> None:
        """Answers a question that was not sent."""
        self._keyframes += 1
        now = self._now()
        context = CloudContextMsg(
            header=header,
            keyframe_id=self._keyframes,
            question_id=question.id,
            question=question.text,
            request_stamp=request,
            status=int(Status.DROPPED),
            error_msg=f"not sent: {why}",
            sent=now,
            received=now,
        )
        self._publish(self._contexts, context)

    def _now(self) -> Time:
        return self.get_clock().now().to_msg()

    # -- what people see ---------------------------------------------------------------------------------------------

    def _measured(self) -> tuple[MetricsMsg, Mapping[str, str], Health]:
        in_flight = self._uplink.in_flight if self._uplink else 0
        values = {"server": self._settings["base_url"], "in flight": str(in_flight), **self._tally.values()}
        values["hidden areas of the last keyframe"] = str(self._hidden)
        now = time.monotonic()
        held = self._uplink.words(now, self._selection.usual_period) if self._uplink else ""
        values["keyframes are held back"] = held or "no"
        values["a sign sends a keyframe after"] = f"{self._selection.sign_period:g} s"
        values["structured output"] = self._uplink.structured_output if self._uplink else ""
        level, words = self._tally.health(now, self._host, self._key_from)
        return self._tally.metrics(in_flight), values, (level, "; ".join(filter(None, (words, held))))


def _look(message: ImageMsg | CompressedImage) -> Glimpse | None:
    """What is seen of an image message at a glance; None if there is no picture in it."""
    try:
        return glimpse(to_nanoseconds(message.header.stamp), to_rgb(message))
    except ImageError:
        return None


def _upload(message: ImageMsg | CompressedImage, max_side: int, quality: int, hidden: tuple[Area, ...]) -> Upload:
    """What goes up for an image message; raises ImageError if there is no picture in it."""
    if isinstance(message, CompressedImage) and not hidden:
        upload = as_it_is(bytes(message.data), max_side)
        if upload is not None:
            return upload
    return encode(to_rgb(message), max_side, quality, hidden)


def _seen(message: ImageMsg | CompressedImage, max_side: int, hidden: tuple[Area, ...], eyes: "Eyes") -> Upload:
    """What goes up in place of a picture; raises ImageError or FeaturesError."""
    source = to_rgb(message)
    view = shown(source, max_side, hidden)
    features = eyes.see(view)
    size = (features.width, features.height, source.shape[1], source.shape[0])
    return Upload(b"", *size, hidden=len(hidden), features=to_bytes(features))


def _context_msg(header: Header, request: Time, sent: Time, received: Time, exchange: Exchange) -> CloudContextMsg:
    keyframe, result, upload = exchange.keyframe, exchange.result, exchange.upload
    return CloudContextMsg(
        header=header,
        keyframe_id=keyframe.id,
        question_id=keyframe.question.id,
        question=keyframe.question.text,
        request_stamp=request,
        status=int(result.status),
        error_msg=result.error,
        text=result.text,
        regions=[to_region_msg(region) for region in result.regions],
        image_width=upload.source_width if upload else 0,
        image_height=upload.source_height if upload else 0,
        model=result.model,
        sent=sent,
        received=received,
        delay=exchange.delay,
        bytes_up=result.bytes_up,
        prompt_tokens=result.prompt_tokens,
        completion_tokens=result.completion_tokens,
    )


def main(args: list[str] | None = None) -> None:
    run(CloudBridgeNode, args)
