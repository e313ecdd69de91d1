# SPDX-License-Identifier: Apache-2.0
"""The cloud bridge: sends keyframes of the camera to a large model and publishes what comes of each.

Every keyframe that leaves ends as exactly one CloudContext with the keyframe's own header and a status, so that nobody
has to guess whether the cloud is slow, dead or silent. Encoding and the network live in the uplink's thread: no
callback here waits for anything.

A question that is asked once, by the action `ask`, does not disturb that: the newest image goes up with it at once,
beside the schedule and with a place in flight of its own.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMsg
from std_msgs.msg import Header

from edgevlm_msgs.msg import CloudContext as CloudContextMsg
from edgevlm_msgs.msg import Metrics as MetricsMsg
from edgevlm_msgs.msg import Question as QuestionMsg
from edgevlm_ros.cloud.breaker import Breaker
from edgevlm_ros.cloud.budget import Budget, Limits
from edgevlm_ros.cloud.client import CloudClient
from edgevlm_ros.cloud.delay import DELAY_KINDS, EmulatedDelay
from edgevlm_ros.cloud.jpeg import Upload, as_it_is, encode
from edgevlm_ros.cloud.keyframes import KeyframeSchedule
from edgevlm_ros.cloud.privacy import Area, Hiding, Privacy, read_privacy
from edgevlm_ros.cloud.prompt import BOX_FORMATS
from edgevlm_ros.cloud.uplink import Exchange, Keyframe, Uplink
from edgevlm_ros.endpoint import check_base_url, load_api_key
from edgevlm_ros.images import to_rgb
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.camera_input import Health
from edgevlm_ros.nodes.camera_node import CAMERA_PARAMETERS, CameraNode, checked_question
from edgevlm_ros.nodes.cloud_health import CloudTally
from edgevlm_ros.nodes.conversions import to_region_msg
from edgevlm_ros.nodes.parameters import Parameter, ParameterError
from edgevlm_ros.nodes.run import run
from edgevlm_ros.transfer.types import Question, Status

_LAST_WORDS_S = 1.0
_MOST_ASKED_ONCE = 2  # that wait for their reply at once: whoever asks often must not crowd out the keyframes

PARAMETERS = (
    *CAMERA_PARAMETERS,
    Parameter("base_url", "http://127.0.0.1:8765/v1", "Of an OpenAI-compatible server; usually ends in /v1."),
    Parameter("allow_http", False, "Whether frames and the key may go to another machine unencrypted."),
    Parameter("model", "", "Name of the model at the server; empty takes the first that it lists."),
    Parameter("api_key_env", "", "Environment variable that holds the server's key; empty for none."),
    Parameter("api_key_file", "", "File that holds the server's key; empty for none."),
    Parameter("timeout", 10.0, "Seconds for one request, from connecting to the whole reply.", 0.1, 600.0),
    Parameter("keyframe_period", 2.0, "Seconds between two keyframes.", 0.05, 3600.0, live=True),
    Parameter("breaker.failures", 3, "Failures in a row after which only probes are sent.", 1, 100),
    Parameter("breaker.first_pause", 1.0, "Seconds until the first probe; each that fails doubles it.", 0.1, 3600.0),
    Parameter("breaker.longest_pause", 10.0, "Seconds between two probes at most.", 0.1, 3600.0),
    Parameter("budget.calls_per_minute", 0.0, "Requests that may be sent; 0 for no limit.", 0.0, 1e6),
    Parameter("budget.bytes_per_minute", 0.0, "Bytes of requests that may be sent; 0 for no limit.", 0.0, 1e12),
    Parameter("budget.money_per_hour", 0.0, "In the currency of the prices; 0 for no limit.", 0.0, 1e6),
    Parameter("price.prompt", 0.0, "What a million prompt tokens cost at the server.", 0.0, 1e6),
    Parameter("price.completion", 0.0, "What a million completion tokens cost at the server.", 0.0, 1e6),
    Parameter("max_in_flight", 2, "Keyframes that may wait for their reply at once.", 1, 64, live=True),
    Parameter("max_side", 640, "Longer side of what is uploaded, in pixels; larger frames are reduced.", 32, 8192),
    Parameter("jpeg_quality", 85, "Of frames that have to be encoded.", 10, 100),
    Parameter(
        "privacy.blur_areas",
        [],
        "Parts of every frame that nobody in the cloud may see: left, top, right and lower edge as fractions of the "
        "image, such as '0 0.8 1 1' for its lowest fifth.",
    ),
    Parameter(
        "privacy.blur_labels",
        [],
        "Things to hide, such as person, where the cloud has boxed them before: the frame that first shows one goes up "
        "whole.",
    ),
    Parameter("privacy.hold", 30.0, "Seconds for which such a thing stays hidden where it was.", 0.0, 3600.0),
    Parameter("box_format", "relative_1000", "How the model counts a box's edges.", choices=BOX_FORMATS),
    Parameter("max_regions", 8, "Regions of interest that are kept of a reply.", 0, 64),
    Parameter("max_answer_chars", 200, "Longest answer that is kept of a reply.", 1, 4000),
    Parameter("emulated_delay", "none", "A far cloud for demos: none turns all emulation off.", choices=DELAY_KINDS),
    Parameter("emulated_delay_s", 3.0, "Seconds added to each reply; the median, if log-normal.", 0.0, 600.0),
    Parameter("emulated_delay_sigma", 0.5, "Standard deviation of the logarithm of the delay.", 0.0, 3.0),
    Parameter("emulated_outage_period_s", 0.0, "Seconds from outage to outage; 0 for none.", 0.0, 86400.0),
    Parameter("emulated_outage_s", 0.0, "Seconds that an outage lasts, at the end of its period.", 0.0, 86400.0),
    Parameter("seed", 0, "Of the emulated delays.", 0, 2**31 - 1),
)


class CloudBridgeNode(CameraNode):
    """In also `question/once`, out also `context`."""

    def __init__(self, **kwargs: Any) -> None:
        self._schedule = KeyframeSchedule(period=1.0, max_in_flight=1)
        self._connect: Callable[[], CloudClient] | None = None
        self._uplink: Uplink | None = None
        self._budget = Budget(Limits())
        self._host = self._key_from = ""
        self._keyframes = 0
        self._newest: ImageMsg | CompressedImage | None = None
        # ids of the keyframes that are under way, by the schedule and beside it: the uplink's thread takes them out
        self._scheduled: set[int] = set()
        self._asked_once: set[int] = set()
        self._hiding = Hiding(Privacy())
        self._hidden = 0
        self._tally = CloudTally()
        super().__init__("cloud_bridge_node", PARAMETERS, **kwargs)

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    def _configure(self) -> None:
        value = self._settings
        rules = read_privacy(value["privacy.blur_areas"], value["privacy.blur_labels"], value["privacy.hold"])
        self._hiding = Hiding(rules)
        self._host = check_base_url(value["base_url"], allow_http=value["allow_http"]).host
        env, file = value["api_key_env"], value["api_key_file"]
        self._key_from = f"api_key_env = {env!r}" if env else f"api_key_file = {file!r}" if file else ""
        self._connect = partial(
            CloudClient,
            value["base_url"],
            model=value["model"],
            api_key=load_api_key(env, file),
            timeout=value["timeout"],
            box_format=value["box_format"],
            max_regions=value["max_regions"],
            max_answer_chars=value["max_answer_chars"],
            allow_http=value["allow_http"],
        )
        self._budget = Budget(
            Limits(
                calls_per_minute=value["budget.calls_per_minute"],
                bytes_per_minute=value["budget.bytes_per_minute"],
                money_per_hour=value["budget.money_per_hour"],
                prompt_price=value["price.prompt"],
                completion_price=value["price.completion"],
            )
        )
        self._contexts = self._publisher(CloudContextMsg, "context")

    def _activate(self) -> None:
        assert self._connect is not None
        self._tally = CloudTally()
        self._newest = None
        self._scheduled, self._asked_once = set(), set()
        self._schedule = KeyframeSchedule(self._settings["keyframe_period"], self._settings["max_in_flight"])
        self._uplink = Uplink(
            self._connect(),
            breaker=self._breaker(),
            budget=self._budget,
            emulated=self._emulated(),
            warn=self.get_logger().warning,
        )
        once = self.create_subscription(QuestionMsg, "question/once", self._on_question_once, qos.EVENTS)
        self._entities.append((self.destroy_subscription, once))
        self.get_logger().info(f"sending keyframes of {self._image_topic} to {self._settings['base_url']}")

    def _quiet(self) -> None:
        """Sends nothing more; what is under way is published as dropped."""
        if self._uplink is not None:
            self._uplink.close()
            self._uplink = self._newest = None
            self._report()
            if self.context.ok():  # a publisher that is destroyed takes what nobody has read yet with it
                self._contexts.wait_for_all_acked(Duration(seconds=_LAST_WORDS_S))

    def _release(self) -> None:
        self._connect = None

    # -- parameters --------------------------------------------------------------------------------------------------

    def _on_parameters(self) -> None:
        self._schedule.period = self._settings["keyframe_period"]
        self._schedule.max_in_flight = self._settings["max_in_flight"]

    def _breaker(self) -> Breaker:
        value = self._settings
        return Breaker(value["breaker.failures"], value["breaker.first_pause"], value["breaker.longest_pause"])

    def _emulated(self) -> EmulatedDelay:
        value = self._settings
        return EmulatedDelay(
            kind=value["emulated_delay"],
            seconds=value["emulated_delay_s"],
            sigma=value["emulated_delay_sigma"],
            outage_period=value["emulated_outage_period_s"],
            outage=value["emulated_outage_s"],
            seed=value["seed"],
        )

    # -- keyframes ---------------------------------------------------------------------------------------------------

    def _on_camera(self, message: ImageMsg | CompressedImage, now: float) -> None:
        self._newest = message
        question, uplink = self._question, self._uplink
        if question is None or uplink is None or not self._schedule.due(now, question.id, len(self._scheduled)):
            return
        urgent = self._schedule.is_new(question.id)
        if uplink.refuses(now, urgent):  # the frame that comes once it may is newer
            return
        self._schedule.sent(now, question.id)
        self._send(message, question, self._scheduled, urgent)

    def _on_question_once(self, message: QuestionMsg) -> None:
        """Sends the newest image with a question of its own; who asks hears in any case what came of it."""
        image = self._newest
        try:
            question = checked_question(message.text)
        except ParameterError as error:
            self.get_logger().warning(f"a message on 'question/once' is not taken: {error}")
            return
        if image is None:
            self._refuse(message.header, question, f"no image has come yet on {self._image_topic}")
        elif len(self._asked_once) >= _MOST_ASKED_ONCE:
            self._refuse(image.header, question, f"{_MOST_ASKED_ONCE} questions of 'ask' wait for their reply already")
        else:
            self._tally.asked_once += 1
            self._send(image, question, self._asked_once, urgent=True)

    def _send(self, message: ImageMsg | CompressedImage, question: Question, under_way: set[int], urgent: bool) -> None:
        """under_way: where it counts until it has come back."""
        if self._uplink is None:
            return
        self._keyframes += 1
        self._tally.requests += 1
        under_way.add(self._keyframes)
        hidden = self._hiding.areas(time.monotonic())
        make_upload = partial(_upload, message, self._settings["max_side"], self._settings["jpeg_quality"], hidden)
        finished = partial(self._on_exchange, message.header, self._now(), under_way)
        self._uplink.submit(Keyframe(self._keyframes, question, make_upload, urgent), finished)

    def _on_exchange(self, header: Header, sent: Time, under_way: set[int], exchange: Exchange) -> None:
        """A keyframe has come back. From the uplink's thread."""
        keyframe, result = exchange.keyframe, exchange.result
        under_way.discard(keyframe.id)
        failed, now = self._tally.failures_in_a_row, time.monotonic()
        self._tally.count(exchange, now)
        if exchange.upload is not None:
            self._hidden = exchange.upload.hidden
            self._hiding.learn(result.regions, (exchange.upload.source_width, exchange.upload.source_height), now)
        if result.status is not Status.OK:
            text = f"keyframe {keyframe.id} of {self._image_topic}: {result.status.name}: {result.error}"
            self.get_logger().warning(text, throttle_duration_sec=5.0)
        elif failed:
            self.get_logger().info(f"the cloud answers again, after {failed} requests that failed")
        self._publish(self._contexts, _context_msg(header, sent, self._now(), exchange))

    def _refuse(self, header: Header, question: Question, why: str) -> None:
        """Answers a question that was not sent."""
        self._keyframes += 1
        now = self._now()
        context = CloudContextMsg(
            header=header,
            keyframe_id=self._keyframes,
            question_id=question.id,
            question=question.text,
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
        held = self._uplink.words(now, self._schedule.period) if self._uplink else ""
        values["keyframes are held back"] = held or "no"
        level, words = self._tally.health(now, self._host, self._key_from)
        return self._tally.metrics(in_flight), values, (level, "; ".join(filter(None, (words, held))))


def _upload(message: ImageMsg | CompressedImage, max_side: int, quality: int, hidden: tuple[Area, ...]) -> Upload:
    """What goes up for an image message; raises ImageError if there is no picture in it."""
    if isinstance(message, CompressedImage) and not hidden:
        upload = as_it_is(bytes(message.data), max_side)
        if upload is not None:
            return upload
    return encode(to_rgb(message), max_side, quality, hidden)


def _context_msg(header: Header, sent: Time, received: Time, exchange: Exchange) -> CloudContextMsg:
    keyframe, result, upload = exchange.keyframe, exchange.result, exchange.upload
    return CloudContextMsg(
        header=header,
        keyframe_id=keyframe.id,
        question_id=keyframe.question.id,
        question=keyframe.question.text,
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


if __name__ == "__main__":
    main()
