# SPDX-License-Identifier: Apache-2.0
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgevlm_ros.cloud.breaker import Breaker
from edgevlm_ros.cloud.budget import Budget, Limits
from edgevlm_ros.cloud.client import CloudClient
from edgevlm_ros.cloud.delay import EmulatedDelay
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.cloud.uplink import Exchange, Keyframe, Uplink
from edgevlm_ros.transfer.types import Question, Status
from support.raw_cloud import Caller, RawCloud, completed, http
from support.scripted_cloud import Reply, Request, ScriptedCloud, completion

UPLOAD = Upload(b"\xff\xd8\xff\xd9", 64, 48, 64, 48)
QUESTION = Question("Where is the cart?")


class Bridge:
    """What stands around an uplink: it collects what comes back."""

    def __init__(self, base_url: str, timeout: float = 60.0, **options) -> None:
        self.exchanges: list[Exchange] = []
        self.threads: set[str] = set()
        self.warnings: list[str] = []
        self.uplink = Uplink(CloudClient(base_url, timeout=timeout), warn=self.warnings.append, **options)

    def send(self, number: int = 1, make_upload: Callable[[], Upload] = lambda: UPLOAD, urgent: bool = False) -> None:
        self.uplink.submit(Keyframe(number, QUESTION, make_upload, urgent), self._finished)

    def wait(self, count: int) -> list[Exchange]:
        end = time.monotonic() + 90.0
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
    assert 0.0 < exchange.delay < 60.0
    assert bridge.threads == {"uplink"}
    assert bridge.uplink.in_flight == 0


def test_what_is_found_out_about_a_server_is_told_once(cloud: ScriptedCloud, connect: Callable[..., Bridge]) -> None:
    cloud.answer = lambda request: completion("On the left.", prompt_tokens=150 if request.image_url else 30)
    bridge = connect()
    for number in (1, 2):
        bridge.send(number)
        bridge.wait(number)
    assert ["ignores it" in warning for warning in bridge.warnings] == [True]
    assert bridge.uplink.structured_output == "off: the server ignores it"


def test_replies_come_back_in_order_of_arrival(cloud: ScriptedCloud, connect: Callable[..., Bridge]) -> None:
    held, first = threading.Event(), iter([True])

    def answer(request: Request) -> Reply:
        if next(first, False):
            held.wait(60.0)
        return completion()

    cloud.answer = answer
    bridge = connect()
    bridge.send(1)
    while not cloud.chats:
        time.sleep(0.01)
    bridge.send(2)
    assert bridge.uplink.in_flight == 2
    bridge.wait(1)
    held.set()
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
    assert time.monotonic() - start < 30.0
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
    bridge, go_on = connect(), threading.Event()
    bridge.send(1, lambda: UPLOAD if go_on.wait(60.0) else 1 / 0)
    assert bridge.uplink.in_flight == 1
    go_on.set()
    assert bridge.wait(1)[0].upload == UPLOAD


def test_an_emulated_delay_holds_the_reply_back_and_the_place_in_flight(connect: Callable[..., Bridge]) -> None:
    bridge = connect(emulated=EmulatedDelay(kind="fixed", seconds=0.5))
    bridge.send(1)
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
    end = time.monotonic() + 90.0
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


# -- breaker and budget ------------------------------------------------------------------------------------------------


def test_after_failures_in_a_row_nothing_is_encoded_or_sent_and_what_is_sent_all_the_same_comes_back_dropped(
    cloud: ScriptedCloud, connect: Callable[..., Bridge]
) -> None:
    cloud.answer = lambda request: Reply("", status=500)
    bridge, encoded = connect(breaker=Breaker(2, first=600.0)), []
    for number in (1, 2):
        assert bridge.uplink.refuses(time.monotonic()) == ""
        bridge.send(number)
        bridge.wait(number)
    assert bridge.uplink.refuses(time.monotonic()).startswith("2 failures in a row, the next probe is in ")
    bridge.send(3, lambda: encoded.append(3) or UPLOAD)
    bridge.wait(3)
    assert bridge.statuses == [Status.REJECTED, Status.REJECTED, Status.DROPPED]
    assert bridge.exchanges[2].result.error.startswith("not sent: 2 failures in a row")
    assert (encoded, len(cloud.chats), bridge.uplink.in_flight) == ([], 2, 0)


def test_a_frame_that_cannot_be_encoded_says_nothing_about_the_cloud(connect: Callable[..., Bridge]) -> None:
    bridge = connect(breaker=Breaker(1, first=600.0))
    bridge.send(1, lambda: 1 / 0)
    bridge.wait(1)
    assert bridge.uplink.refuses(time.monotonic()) == ""


def test_retry_after_silences_the_uplink_at_once(cloud: ScriptedCloud, connect: Callable[..., Bridge]) -> None:
    cloud.answer = lambda request: Reply("", status=429, headers={"Retry-After": "30"})
    bridge = connect()
    bridge.send(1)
    bridge.wait(1)
    assert bridge.uplink.refuses(time.monotonic()).startswith("the server asked for a pause, ")
    assert bridge.uplink.refuses(time.monotonic() + 25.0)
    assert bridge.uplink.refuses(time.monotonic() + 30.1) == ""


def test_a_budget_outlives_its_uplink_and_leaves_something_for_people(connect: Callable[..., Bridge]) -> None:
    budget = Budget(Limits(calls_per_minute=12))
    first = connect(budget=budget)
    first.send(1)
    first.wait(1)
    first.uplink.close()
    second = connect(budget=budget)
    assert second.uplink.refuses(time.monotonic()).startswith("calls_per_minute = 12 is spent for ")
    assert (
        second.uplink.words(time.monotonic(), 2.0)
        == "keyframes every 5.5 s instead of every 2 s: calls_per_minute = 12"
    )
    second.send(2)
    second.send(3, urgent=True)
    second.wait(2)
    assert dict(zip(second.ids, second.statuses, strict=True)) == {2: Status.DROPPED, 3: Status.OK}


def test_a_server_that_comes_back_is_used_within_twice_the_pause_between_probes() -> None:
    longest, ill = 0.4, threading.Event()
    ill.set()

    def serve(caller: Caller) -> None:
        caller.request()
        if ill.is_set():
            caller.reset()
        else:
            caller.say(http(completed("acid, left")))

    with RawCloud(serve) as cloud:
        bridge, number = Bridge(cloud.base_url, breaker=Breaker(2, first=0.05, longest=longest)), 0

        def film(seconds: float) -> None:
            """A camera of 100 frames per second, whose newest one goes whenever it may."""
            nonlocal number
            end = time.monotonic() + seconds
            while time.monotonic() < end and Status.OK not in bridge.statuses:
                if bridge.uplink.in_flight == 0 and not bridge.uplink.refuses(time.monotonic()):
                    number += 1
                    bridge.send(number)
                time.sleep(0.01)

        film(2.0)
        probes = len(cloud.callers)
        ill.clear()
        film(60.0)
        bridge.uplink.close()
        after = len(cloud.callers) - probes
    assert 3 <= probes <= 12, "2 failures, pauses of 0.05, 0.1, 0.2, then 0.4 s, each shortened by up to a quarter"
    assert after <= 3, "a probe that was under way, the next one, and a look whether images are seen"
    assert bridge.statuses[-1] is Status.OK


# -- exactly one exchange ----------------------------------------------------------------------------------------------

FAULTS = {
    "well": lambda: completion(),
    "slow": lambda: completion(hold=0.05),
    "too slow": lambda: completion(hold=1.0),
    "cut": lambda: completion(cut=True),
    "gone": lambda: Reply(b"", cut=True),
    "nonsense": lambda: Reply(b"<html>"),
    "rejected": lambda: Reply("", status=503),
    "busy": lambda: Reply("", status=429, headers={"Retry-After": "1"}),
}
STEPS = st.one_of(
    st.sampled_from(["submit", "submit", "twice", "urgent", "broken frame"]),
    st.sampled_from(list(FAULTS)),
    st.floats(0.0, 0.05),  # seconds that pass
)


@pytest.fixture(scope="module")
def faulty() -> Iterator[ScriptedCloud]:
    with ScriptedCloud() as cloud:
        yield cloud


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEPS, min_size=3, max_size=25), emulated=st.booleans(), seed=st.integers(0, 99))
def test_whatever_happens_each_keyframe_comes_back_once(
    faulty: ScriptedCloud, steps: list[str | float], emulated: bool, seed: int
) -> None:
    draw = random.Random(seed)
    limits = Limits(calls_per_minute=draw.choice([0.0, 600.0]))
    faulty.answer = lambda request: completion()
    bridge = Bridge(
        faulty.base_url,
        timeout=0.15,
        breaker=Breaker(2, first=0.02, longest=0.05, draw=draw.random),
        budget=Budget(limits),
        emulated=EmulatedDelay("fixed", 0.02, outage_period=0.1, outage=0.03) if emulated else EmulatedDelay(),
    )
    submitted: Counter[int] = Counter()
    for number, step in enumerate(steps, 1):
        if isinstance(step, float):
            time.sleep(step)
        elif step in FAULTS:
            faulty.answer = lambda request, step=step: FAULTS[step]()
        else:
            for _ in range(2 if step == "twice" else 1):
                bridge.send(number, (lambda: 1 / 0) if step == "broken frame" else lambda: UPLOAD, step == "urgent")
                submitted[number] += 1
    bridge.uplink.close()
    assert Counter(bridge.ids) == submitted
    assert bridge.uplink.in_flight == 0
    assert all(bool(exchange.result.error) != (exchange.result.status is Status.OK) for exchange in bridge.exchanges)
    assert all(exchange.result.text or exchange.result.error for exchange in bridge.exchanges)
