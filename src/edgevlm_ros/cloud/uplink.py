# SPDX-License-Identifier: Apache-2.0
"""Keyframes on their way to the cloud and back, in a thread of their own.

Whoever submits a keyframe never waits, and each one comes back as exactly one `Exchange`, in order of arrival:
answered, failed, or dropped because the uplink was closed or the breaker or the budget lets nothing through.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgevlm_ros.cloud.breaker import Breaker
from edgevlm_ros.cloud.budget import Budget, Cost, Limits
from edgevlm_ros.cloud.client import CloudClient, CloudResult
from edgevlm_ros.cloud.delay import EmulatedDelay
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.transfer.types import Question, Status


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A frame to ask about. make_upload: runs in a worker thread; what it raises becomes the message of the result.

    urgent: a person waits for the answer, see Budget.refuses.
    """

    id: int
    question: Question
    make_upload: Callable[[], Upload]
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came of a keyframe. upload: None if there was none. delay: seconds on the steady clock since submit()."""

    keyframe: Keyframe
    result: CloudResult
    upload: Upload | None
    delay: float


@dataclass(frozen=True, slots=True)
class _Flight:
    """A keyframe under way. began: seconds on the steady clock. cost, probe: what budget and breaker gave along."""

    keyframe: Keyframe
    finished: Callable[[Exchange], None]
    began: float
    cost: Cost
    probe: float | None


class Uplink:
    """An event loop in a thread, with one client, which is closed with it.

    breaker, budget: asked before a keyframe is encoded; a budget may be another uplink's before it. warn: told, once,
    what people should know.
    """

    def __init__(
        self,
        client: CloudClient,
        *,
        breaker: Breaker | None = None,
        budget: Budget | None = None,
        emulated: EmulatedDelay | None = None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._client = client
        self._breaker = breaker or Breaker()
        self._budget = budget or Budget(Limits())
        self._emulated = emulated or EmulatedDelay()
        self._warn = warn
        self._looked = False
        self._began = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()
        self._in_flight = 0
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)
        self._thread.start()

    @property
    def structured_output(self) -> str:
        """What the server makes of the reply's schema, for people."""
        return self._client.structured_output

    @property
    def in_flight(self) -> int:
        """Keyframes that were submitted and have not come back."""
        return self._in_flight

    def refuses(self, now: float, urgent: bool = False) -> str:
        """Why a keyframe would be dropped now, for people; empty if it would be sent. now: as in time.monotonic()."""
        with self._lock:
            return self._refuses(now, urgent)

    def words(self, now: float, period: float) -> str:
        """What breaker and budget do to keyframes that are wanted every period seconds; empty if nothing."""
        with self._lock:
            return "; ".join(filter(None, (self._breaker.refuses(now), self._budget.words(period))))

    def submit(self, keyframe: Keyframe, finished: Callable[[Exchange], None]) -> None:
        """Send a keyframe, from any thread. finished: called once, from the uplink's thread."""
        now = time.monotonic()
        with self._lock:
            if self._closed:
                raise RuntimeError("the uplink is closed")
            reason = self._refuses(now, keyframe.urgent)
            if reason:
                dropped = Exchange(keyframe, CloudResult(Status.DROPPED, f"not sent: {reason}"), None, 0.0)
                self._loop.call_soon_threadsafe(finished, dropped)
                return
            self._in_flight += 1
            flight = _Flight(keyframe, finished, now, self._budget.sent(now), self._breaker.sent(now))
            self._loop.call_soon_threadsafe(self._begin, flight)

    def close(self) -> None:
        """Drop what is under way, and end the thread once all of it has come back. May be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._drop_all())
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()

    def _refuses(self, now: float, urgent: bool) -> str:
        return self._breaker.refuses(now) or self._budget.refuses(now, urgent)

    def _begin(self, flight: _Flight) -> None:
        task = self._loop.create_task(self._carry(flight))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drop_all(self) -> None:
        # a loop runs in order: what was submitted just before has begun by now, and only so can it report its end
        while self._tasks:
            for task in self._tasks:
                task.cancel()  # again if need be: wait_for may swallow one that meets a result
            await asyncio.wait(self._tasks, timeout=0.5)

    async def _carry(self, flight: _Flight) -> None:
        """One keyframe, there and back."""
        keyframe = flight.keyframe
        upload, result = None, CloudResult(Status.DROPPED, "the bridge was stopped before the reply came")
        try:
            if self._out():
                result = CloudResult(Status.DROPPED, "not sent: emulated outage")
                return
            upload = await asyncio.to_thread(keyframe.make_upload)
            result = await self._ask(keyframe, upload)
        except Exception as error:
            result = CloudResult(Status.DROPPED, str(error) or repr(error))
        finally:
            self._end(flight, result, upload)
        if result.note:
            self._warn(result.note)
        await self._look_once(keyframe, upload, result)

    def _end(self, flight: _Flight, result: CloudResult, upload: Upload | None) -> None:
        now = time.monotonic()
        well = None if result.status is Status.DROPPED else not result.ill
        with self._lock:
            self._in_flight -= 1
            self._budget.ended(flight.cost, result)
            self._breaker.ended(now, well, probe=flight.probe, retry_after=result.retry_after)
        flight.finished(Exchange(flight.keyframe, result, upload, now - flight.began))

    async def _ask(self, keyframe: Keyframe, upload: Upload) -> CloudResult:
        result = await self._client.ask(upload, keyframe.question.text)
        await asyncio.sleep(self._emulated.seconds_for(keyframe.id))
        if self._out():
            return replace(result, status=Status.DROPPED, error="reply lost: emulated outage", text="", regions=())
        return result

    def _out(self) -> bool:
        return self._emulated.is_out(time.monotonic() - self._began)

    async def _look_once(self, keyframe: Keyframe, upload: Upload | None, result: CloudResult) -> None:
        """After the first answer, find out whether the server looks at images at all, and as large as they are."""
        if self._looked or upload is None or result.status is not Status.OK:
            return
        self._looked = True
        doubt = await self._client.doubts(result, upload, keyframe.question.text)
        if doubt:
            self._warn(doubt)
