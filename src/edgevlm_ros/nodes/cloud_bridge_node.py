# SPDX-License-Identifier: Apache-2.0
"""The cloud bridge: sends keyframes of the camera to a large model and publishes what comes of each.

Every keyframe that leaves ends as exactly one CloudContext with the keyframe's own header and a status, so that nobody
has to guess whether the cloud is slow, dead or silent. Encoding and the network live in the uplink's thread: no
callback here waits for anything.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.duration import Duration
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMsg
from std_msgs.msg import Header

from edgevlm_msgs.msg import CloudContext as CloudContextMsg
from edgevlm_msgs.msg import Metrics as MetricsMsg
from edgevlm_ros.cloud.client import CloudClient
from edgevlm_ros.cloud.delay import DELAY_KINDS, EmulatedDelay
from edgevlm_ros.cloud.jpeg import Upload, as_it_is, encode
from edgevlm_ros.cloud.keyframes import KeyframeSchedule
from edgevlm_ros.cloud.prompt import BOX_FORMATS
from edgevlm_ros.cloud.uplink import Exchange, Keyframe, Uplink
from edgevlm_ros.endpoint import check_base_url, load_api_key
from edgevlm_ros.images import to_rgb
from edgevlm_ros.nodes.camera_node import CAMERA_PARAMETERS, CameraNode, Health, percentile
from edgevlm_ros.nodes.conversions import to_region_msg
from edgevlm_ros.nodes.parameters import Parameter
from edgevlm_ros.nodes.run import run
from edgevlm_ros.transfer.types import Status

_LAST_WORDS_S = 1.0

PARAMETERS = (
    *CAMERA_PARAMETERS,
    Parameter("base_url", "http://127.0.0.1:8765/v1", "Of an OpenAI-compatible server; usually ends in /v1."),
    Parameter("model", "", "Name of the model at the server; empty takes the first that it lists."),
    Parameter("api_key_env", "", "Environment variable that holds the server's key; empty for none."),
    Parameter("api_key_file", "", "File that holds the server's key; empty for none."),
    Parameter("timeout", 10.0, "Seconds for one request, from connecting to the whole reply.", 0.1, 600.0),
    Parameter("keyframe_period", 2.0, "Seconds between two keyframes.", 0.05, 3600.0, live=True),
    Parameter("max_in_flight", 2, "Keyframes that may wait for their reply at once.", 1, 64, live=True),
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


class CloudBridgeNode(CameraNode):
    """Out also `context`."""

    def __init__(self, **kwargs: Any) -> None:
        self._schedule = KeyframeSchedule(period=1.0, max_in_flight=1)
        self._connect: Callable[[], CloudClient] | None = None
        self._uplink: Uplink | None = None
        self._keyframes = 0
        self._tally = _Tally()
        super().__init__("cloud_bridge_node", PARAMETERS, **kwargs)

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    def _configure(self) -> None:
        value = self._settings
        check_base_url(value["base_url"])
        self._connect = partial(
            CloudClient,
            value["base_url"],
            model=value["model"],
            api_key=load_api_key(value["api_key_env"], value["api_key_file"]),
            timeout=value["timeout"],
            box_format=value["box_format"],
            max_regions=value["max_regions"],
            max_answer_chars=value["max_answer_chars"],
        )
        self._contexts = self._publisher(CloudContextMsg, "context")

    def _activate(self) -> None:
        assert self._connect is not None
        self._tally = _Tally()
        self._schedule = KeyframeSchedule(self._settings["keyframe_period"], self._settings["max_in_flight"])
        self._uplink = Uplink(self._connect(), emulated=self._emulated(), warn=self.get_logger().warning)
        self.get_logger().info(f"sending keyframes of {self._image_topic} to {self._settings['base_url']}")

    def _quiet(self) -> None:
        """Sends nothing more; what is under way is published as dropped."""
        if self._uplink is not None:
            self._uplink.close()
            self._uplink = None
            self._report()
            if self.context.ok():  # a publisher that is destroyed takes what nobody has read yet with it
                self._contexts.wait_for_all_acked(Duration(seconds=_LAST_WORDS_S))

    def _release(self) -> None:
        self._connect = None

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

    # -- keyframes ---------------------------------------------------------------------------------------------------

    def _on_camera(self, message: ImageMsg | CompressedImage, now: float) -> None:
        question, uplink = self._question, self._uplink
        if question is None or uplink is None or not self._schedule.due(now, question.id, uplink.in_flight):
            return
        self._schedule.sent(now, question.id)
        self._keyframes += 1
        self._tally.requests += 1
        make_upload = partial(_upload, message, self._settings["max_side"], self._settings["jpeg_quality"])
        finished = partial(self._on_exchange, message.header, self.get_clock().now().to_msg())
        uplink.submit(Keyframe(self._keyframes, question, make_upload), finished)

    def _on_exchange(self, header: Header, sent: Time, exchange: Exchange) -> None:
        """A keyframe has come back. From the uplink's thread."""
        self._tally.count(exchange, time.monotonic())
        keyframe, result = exchange.keyframe, exchange.result
        if result.status is not Status.OK:
            text = f"keyframe {keyframe.id} of {self._image_topic}: {result.status.name}: {result.error}"
            self.get_logger().warning(text, throttle_duration_sec=5.0)
        context = _context_msg(header, sent, self.get_clock().now().to_msg(), exchange)
        self._publish(self._contexts, context)

    # -- what people see ---------------------------------------------------------------------------------------------

    def _measured(self) -> tuple[MetricsMsg, Mapping[str, str], Health]:
        tally = self._tally
        metrics = MetricsMsg(
            requests=tally.requests,
            replies_ok=tally.replies[Status.OK],
            replies_failed=sum(tally.replies.values()) - tally.replies[Status.OK],
            bytes_up=tally.bytes_up,
            in_flight=self._uplink.in_flight if self._uplink else 0,
            delay_p50=percentile(tally.delays, 0.5),
            delay_p95=percentile(tally.delays, 0.95),
        )
        values = {
            "server": str(self._settings["base_url"]),
            "requests": str(tally.requests),
            **{f"replies {status.name}": str(tally.replies[status]) for status in Status},
            "regions dropped": str(tally.regions_dropped),
            "in flight": str(metrics.in_flight),
            "bytes up": str(tally.bytes_up),
            "delay p50 [s]": f"{metrics.delay_p50:.2f}",
            "delay p95 [s]": f"{metrics.delay_p95:.2f}",
            "last error": tally.last_error,
        }
        return metrics, values, self._health(time.monotonic())

    def _health(self, now: float) -> Health:
        """The state of the way to the cloud, in a line."""
        tally = self._tally
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


def main(args: list[str] | None = None) -> None:
    run(CloudBridgeNode, args)


if __name__ == "__main__":
    main()
