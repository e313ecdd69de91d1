# SPDX-License-Identifier: Apache-2.0
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from edgevlm_ros.cloud.client import CloudClient
from edgevlm_ros.cloud.delay import EmulatedDelay
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.cloud.uplink import Exchange, Keyframe, Uplink
from edgevlm_ros.transfer.types import Question, Status
from support.scripted_cloud import Reply, Request, ScriptedCloud, completion

UPLOAD = Upload(b"\xff\xd8\xff\xd9", 64, 48, 64, 48)
QUESTION = Question("Where is the cart?")


class Bridge:
    """What stands around an uplink: it collects what comes back."""

    def __init__(self, base_url: str, timeout: float = 20.0, **options) -> None:
        self.exchanges: list[Exchange] = []
        self.threads: set[str] = set()
        self.warnings: list[str] = []
        self.uplink = Uplink(CloudClient(base_url, timeout=timeout), warn=self.warnings.append, **options)

    def send(self, number: int = 1, make_upload: Callable[[], Upload] = lambda: UPLOAD) -> None:
        self.uplink.submit(Keyframe(number, QUESTION, make_upload), self._finished)

    def wait(self, count: int) -> list[Exchange]:
        end = time.monotonic() + 20.0
        while len(self.exchanges) < count:
            assert time.monotonic() < end, f"{len(self.exchanges)} of {count} came back"
            time.sleep(0.01)
        return self.exchanges

    @property
    def ids(self) -> list[int]:
        return [exchange.keyframe.id for exchange in self.exchanges]

    @property
    def statuses(self) -> list[Status]:
        return [exchange.result.status for exchange in self.exchanges]

    def _finished(self, exchange: Exchange) -> None:
        self.threads.add(threading.current_thread().name)
        self.exchanges.append(exchange)


@pytest.fixture
def cloud() -> Iterator[ScriptedCloud]:
    with ScriptedCloud() as cloud:
        yield cloud


@pytest.fixture
def connect(cloud: ScriptedCloud) -> Iterator[Callable[..., Bridge]]:
    bridges: list[Bridge] = []

    def connect(**options) -> Bridge:
        bridges.append(Bridge(cloud.base_url, **options))
        return bridges[-1]

    yield connect
    for bridge in bridges:
        bridge.uplink.close()


def test_a_keyframe_comes_back_with_its_answer(connect: Callable[..., Bridge]) -> None:
    bridge = connect()
    bridge.send(7)
    exchange = bridge.wait(1)[0]
    assert exchange.keyframe.id == 7
    assert exchange.result.text == "acid, left"
    assert exchange.upload == UPLOAD
    assert 0.0 < exchange.delay < 20.0
    assert bridge.threads == {"uplink"}
    assert bridge.uplink.in_flight == 0


def test_replies_come_back_in_order_of_arrival(cloud: ScriptedCloud, connect: Callable[..., Bridge]) -> None:
    holds = iter([0.6, 0.0])
    cloud.answer = lambda request: completion(hold=next(holds, 0.0))
    bridge = connect()
    bridge.send(1)
    while not cloud.chats:
        time.sleep(0.01)
    bridge.send(2)
    assert bridge.uplink.in_flight == 2
    bridge.wait(2)
    assert bridge.ids == [2, 1]


def test_closing_drops_what_is_under_way_and_says_so(cloud: ScriptedCloud, connect: Callable[..., Bridge]) -> None:
    cloud.answer = lambda request: completion(hold=60.0)
    bridge = connect()
    bridge.send(1)
    while not cloud.chats:
        time.sleep(0.01)
    bridge.send(2)
    start = time.monotonic()
    bridge.uplink.close()
    assert time.monotonic() - start < 5.0
    assert sorted(bridge.ids) == [1, 2]
    assert bridge.statuses == [Status.DROPPED] * 2
    assert "stopped before the reply" in bridge.exchanges[0].result.error
    assert bridge.uplink.in_flight == 0
    bridge.uplink.close()
    with pytest.raises(RuntimeError, match="closed"):
        bridge.send(3)


def test_a_frame_that_cannot_be_sent_comes_back_with_the_reason(
    cloud: ScriptedCloud, connect: Callable[..., Bridge]
) -> None:
    def broken() -> Upload:
        raise ValueError("the image is 0x0")

    bridge = connect()
    bridge.send(1, broken)
    bridge.send(2)
    bridge.wait(2)
    assert dict(zip(bridge.ids, bridge.statuses, strict=True)) == {1: Status.DROPPED, 2: Status.OK}
    assert next(e for e in bridge.exchanges if e.keyframe.id == 1).result.error == "the image is 0x0"
    assert len({id(request) for request in cloud.chats if request.image_url}) == 1


def test_submitting_does_not_wait_for_the_encoding(connect: Callable[..., Bridge]) -> None:
    bridge = connect()
    start = time.monotonic()
    bridge.send(1, lambda: time.sleep(0.5) or UPLOAD)
    assert time.monotonic() - start < 0.25
    assert bridge.wait(1)[0].delay >= 0.5


def test_an_emulated_delay_holds_the_reply_back_and_the_place_in_flight(connect: Callable[..., Bridge]) -> None:
    bridge = connect(emulated=EmulatedDelay(kind="fixed", seconds=0.5))
    bridge.send(1)
    time.sleep(0.3)
    assert bridge.uplink.in_flight == 1
    assert bridge.wait(1)[0].delay >= 0.5
    assert bridge.statuses == [Status.OK]


def test_an_emulated_outage_sends_nothing(cloud: ScriptedCloud, connect: Callable[..., Bridge]) -> None:
    bridge = connect(emulated=EmulatedDelay(kind="fixed", outage_period=100.0, outage=100.0))
    bridge.send(1)
    bridge.wait(1)
    assert bridge.statuses == [Status.DROPPED]
    assert "emulated outage" in bridge.exchanges[0].result.error
    assert cloud.requests == []


def test_a_server_that_looks_at_no_image_is_reported_once(cloud: ScriptedCloud, connect: Callable[..., Bridge]) -> None:
    cloud.answer = lambda request: completion(prompt_tokens=30)
    bridge = connect()
    for number in (1, 2, 3):
        bridge.send(number)
        bridge.wait(number)
    end = time.monotonic() + 20.0
    while not bridge.warnings and time.monotonic() < end:
        time.sleep(0.01)
    bridge.uplink.close()
    assert len(bridge.warnings) == 1
    assert "from the words alone" in bridge.warnings[0]
    assert len([request for request in cloud.chats if not request.image_url]) == 1


def test_a_server_that_looks_is_not(cloud: ScriptedCloud, connect: Callable[..., Bridge]) -> None:
    def answer(request: Request) -> Reply:
        return completion(prompt_tokens=150 if request.image_url else 30)

    cloud.answer = answer
    bridge = connect()
    bridge.send(1)
    bridge.wait(1)
    while len(cloud.chats) < 2:
        time.sleep(0.01)
    bridge.uplink.close()
    assert bridge.warnings == []
