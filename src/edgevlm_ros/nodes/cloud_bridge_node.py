# SPDX-License-Identifier: Apache-2.0
"""The cloud bridge: sends keyframes of the camera to a large model and publishes what comes of each.

Every keyframe that leaves ends as exactly one CloudContext with the keyframe's own header and a status, so that nobody
has to guess whether the cloud is slow, dead or silent. Encoding and the network live in the uplink's thread: no
callback here waits for anything.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMsg
from std_msgs.msg import Header

from edgevlm_msgs.msg import CloudContext as CloudContextMsg
from edgevlm_msgs.msg import Metrics as MetricsMsg
from edgevlm_msgs.msg import Question as QuestionMsg
from edgevlm_ros.cloud.client import CloudClient, EndpointError, check_base_url, load_api_key
from edgevlm_ros.cloud.delay import DELAY_KINDS, EmulatedDelay
from edgevlm_ros.cloud.jpeg import Upload, as_it_is, encode
from edgevlm_ros.cloud.keyframes import KeyframeSchedule
from edgevlm_ros.cloud.prompt import BOX_FORMATS
from edgevlm_ros.cloud.uplink import Exchange, Keyframe, Uplink
from edgevlm_ros.images import to_rgb
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.conversions import to_region_msg
from edgevlm_ros.nodes.parameters import Parameter, Parameters
from edgevlm_ros.nodes.run import run
from edgevlm_ros.transfer.types import Question, Status

_MAX_QUESTION_CHARS = 2000
_NO_IMAGE_AFTER_S = 5.0

PARAMETERS = (
    Parameter("autostart", True, "Configure and activate at start, without a lifecycle manager."),
    Parameter("base_url", "http://127.0.0.1:8765/v1", "Of an OpenAI-compatible server; usually ends in /v1."),
    Parameter("model", "", "Name of the model at the server; empty takes the first that it lists."),
    Parameter("api_key_env", "", "Environment variable that holds the server's key; empty for none."),
    Parameter("api_key_file", "", "File that holds the server's key; empty for none."),
    Parameter("timeout", 10.0, "Seconds for one request, from connecting to the whole reply.", 0.1, 600.0),
    Parameter("keyframe_period", 2.0, "Seconds between two keyframes.", 0.05, 3600.0, live=True),
    Parameter("max_in_flight", 2, "Keyframes that may wait for their reply at once.", 1, 64, live=True),
    Parameter("image_transport", "raw", "Which of the camera's topics to take.", choices=("raw", "compressed")),
    Parameter("max_side", 640, "Longer side of what is uploaded, in pixels; larger frames are reduced.", 32, 8192),
    Parameter("jpeg_quality", 85, "Of frames that have to be encoded.", 10, 100),
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


class _Tally:
    """What the bridge has sent and got since it was activated; see Metrics.msg."""

    def __init__(self) -> None:
        self.requests = self.bytes_up = self.regions_dropped = self.failures_in_a_row = 0
        self.replies: Counter[Status] = Counter()
        self.delays: deque[float] = deque(maxlen=100)
        self.last_error = ""
        self.last_image: float | None = None
        self.last_answer: float | None = None

    def count(self, exchange: Exchange, now: float) -> None:
        result = exchange.result
        self.replies[result.status] += 1
        self.bytes_up += result.bytes_up
        self.regions_dropped += result.regions_dropped
        if result.status is Status.OK:
            self.delays.append(exchange.delay)
            self.last_answer, self.failures_in_a_row = now, 0
        else:
            self.last_error, self.failures_in_a_row = result.error, self.failures_in_a_row + 1


class CloudBridgeNode(LifecycleNode):
    """In `image` (or `image/compressed`), `question`; out `context`, `metrics`, `/diagnostics`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("cloud_bridge_node", **kwargs)
        self._schedule = KeyframeSchedule(period=1.0, max_in_flight=1)
        self._connect: Callable[[], CloudClient] | None = None
        self._uplink: Uplink | None = None
        self._question: Question | None = None
        self._keyframes = 0
        self._tally = _Tally()
        self._managed: list[tuple[Any, Any]] = []
        self._settings = Parameters(self, PARAMETERS, self._on_parameters, lambda: self._connect is not None)

    @property
    def autostart(self) -> bool:
        return bool(self._settings["autostart"])

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        value = self._settings
        try:
            check_base_url(value["base_url"])
            key = load_api_key(value["api_key_env"], value["api_key_file"])
        except EndpointError as error:
            self.get_logger().fatal(str(error))
            return TransitionCallbackReturn.FAILURE
        self._connect = partial(
            CloudClient,
            value["base_url"],
            model=value["model"],
            api_key=key,
            timeout=value["timeout"],
            box_format=value["box_format"],
            max_regions=value["max_regions"],
            max_answer_chars=value["max_answer_chars"],
        )
        self._contexts = self.create_publisher(CloudContextMsg, "context", qos.EVENTS)
        self._metrics = self.create_publisher(MetricsMsg, "metrics", qos.EVENTS)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENTS)
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._connect is None:
            return TransitionCallbackReturn.FAILURE
        self._tally = _Tally()
        self._activated = time.monotonic()
        self._schedule = KeyframeSchedule(self._settings["keyframe_period"], self._settings["max_in_flight"])
        self._uplink = Uplink(self._connect(), emulated=self._emulated(), warn=self.get_logger().warning)
        image_type: Any = ImageMsg
        self._image_topic = self.resolve_topic_name("image")
        if self._settings["image_transport"] == "compressed":
            image_type, self._image_topic = CompressedImage, self._image_topic + "/compressed"
        images = self.create_subscription(image_type, self._image_topic, self._on_image, qos.NEWEST_IMAGE)
        questions = self.create_subscription(QuestionMsg, "question", self._on_question, qos.LATCHED)
        self._managed = [
            (self.destroy_subscription, images),
            (self.destroy_subscription, questions),
            (self.destroy_timer, self.create_timer(1.0, self._report)),
        ]
        self.get_logger().info(f"sending keyframes of {self._image_topic} to {self._settings['base_url']}")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._quiet()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        self._quiet()
        self._release()

    def _quiet(self) -> None:
        """Sends nothing more; what is under way is published as dropped."""
        for destroy, entity in self._managed:
            destroy(entity)
        self._managed = []
        if self._uplink is not None:
            self._uplink.close()
            self._uplink = None
            self._report()

    def _release(self) -> None:
        if self._connect is None:
            return
        self._connect = None
        for publisher in (self._contexts, self._metrics, self._diagnostics):
            self.destroy_publisher(publisher)

    # -- parameters --------------------------------------------------------------------------------------------------

    def _on_parameters(self) -> None:
        self._schedule.period = self._settings["keyframe_period"]
        self._schedule.max_in_flight = self._settings["max_in_flight"]

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

    # -- what comes in -----------------------------------------------------------------------------------------------

    def _on_question(self, message: QuestionMsg) -> None:
        text = message.text.strip()
        if 0 < len(text) <= _MAX_QUESTION_CHARS:
            self._question = Question(text)
        else:
            self.get_logger().warning(f"a question of {len(text)} characters on 'question' is not taken")

    def _on_image(self, message: ImageMsg | CompressedImage) -> None:
        now, question, uplink = time.monotonic(), self._question, self._uplink
        self._tally.last_image = now
        if question is None or uplink is None or not self._schedule.due(now, question.id, uplink.in_flight):
            return
        self._schedule.sent(now, question.id)
        self._keyframes += 1
        self._tally.requests += 1
        make_upload = partial(_upload, message, self._settings["max_side"], self._settings["jpeg_quality"])
        finished = partial(self._on_exchange, message.header, self.get_clock().now().to_msg())
        uplink.submit(Keyframe(self._keyframes, question, make_upload), finished)

    # -- what goes out -----------------------------------------------------------------------------------------------

    def _on_exchange(self, header: Header, sent: Time, exchange: Exchange) -> None:
        """A keyframe has come back. From the uplink's thread."""
        self._tally.count(exchange, time.monotonic())
        keyframe, result = exchange.keyframe, exchange.result
        if result.status is not Status.OK:
            text = f"keyframe {keyframe.id} of {self._image_topic}: {result.status.name}: {result.error}"
            self.get_logger().warning(text, throttle_duration_sec=5.0)
        context = _context_msg(header, sent, self.get_clock().now().to_msg(), exchange)
        self._publish(self._contexts, context)

    def _publish(self, publisher: Any, message: Any) -> None:
        """Publish while ROS is up: the last replies may come when it is not."""
        if self.context.ok():
            publisher.publish(message)

    # -- what people see ---------------------------------------------------------------------------------------------

    def _report(self) -> None:
        tally, in_flight = self._tally, self._uplink.in_flight if self._uplink else 0
        delays = sorted(tally.delays)
        failed = sum(tally.replies.values()) - tally.replies[Status.OK]
        metrics = MetricsMsg(
            node=self.get_name(),
            requests=tally.requests,
            replies_ok=tally.replies[Status.OK],
            replies_failed=failed,
            bytes_up=tally.bytes_up,
            in_flight=in_flight,
            delay_p50=_percentile(delays, 0.5),
            delay_p95=_percentile(delays, 0.95),
        )
        metrics.header.stamp = self.get_clock().now().to_msg()
        self._publish(self._metrics, metrics)
        level, text = self._health(time.monotonic())
        values = {
            "server": str(self._settings["base_url"]),
            "question": self._question.text if self._question else "",
            "requests": str(tally.requests),
            **{f"replies {status.name}": str(tally.replies[status]) for status in Status},
            "regions dropped": str(tally.regions_dropped),
            "in flight": str(in_flight),
            "bytes up": str(tally.bytes_up),
            "delay p50 [s]": f"{metrics.delay_p50:.2f}",
            "delay p95 [s]": f"{metrics.delay_p95:.2f}",
            "last error": tally.last_error,
        }
        status = DiagnosticStatus(level=level, name=f"{self.get_name()}: cloud", message=text, hardware_id="edgevlm")
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = metrics.header.stamp
        self._publish(self._diagnostics, array)

    def _health(self, now: float) -> tuple[bytes, str]:
        """The state of the way to the cloud, in a line."""
        tally = self._tally
        since = now - (tally.last_image or self._activated)
        if since > _NO_IMAGE_AFTER_S:
            publishers = self.count_publishers(self._image_topic)
            return DiagnosticStatus.WARN, (
                f"no image on {self._image_topic} for {since:.0f} s ({publishers} publishers): "
                "remap 'image' to your camera's topic, or set image_transport"
            )
        if self._question is None:
            return DiagnosticStatus.WARN, "no question yet: publish one on 'question', or ask the edge node"
        if tally.failures_in_a_row:
            return DiagnosticStatus.WARN, f"{tally.failures_in_a_row} failed in a row, last: {tally.last_error}"
        if tally.last_answer is None:
            return DiagnosticStatus.OK, "no reply yet"
        return DiagnosticStatus.OK, f"answered {now - tally.last_answer:.1f} s ago"


def _upload(message: ImageMsg | CompressedImage, max_side: int, quality: int) -> Upload:
    """What goes up for an image message; raises ImageError if there is no picture in it."""
    if isinstance(message, CompressedImage):
        upload = as_it_is(bytes(message.data), max_side)
        if upload is not None:
            return upload
    return encode(to_rgb(message), max_side, quality)


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


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def main(args: list[str] | None = None) -> None:
    run(CloudBridgeNode, args)


if __name__ == "__main__":
    main()
