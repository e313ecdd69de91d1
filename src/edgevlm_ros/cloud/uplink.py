# SPDX-License-Identifier: Apache-2.0
"""Keyframes on their way to the cloud and back, in a thread of their own.

Whoever submits a keyframe never waits, and each one comes back as exactly one `Exchange`, in order of arrival:
answered, failed, or dropped because the uplink was closed.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgevlm_ros.cloud.client import CloudClient, CloudResult
from edgevlm_ros.cloud.delay import EmulatedDelay
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.transfer.types import Question, Status


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A frame to ask about. make_upload: runs in a worker thread; what it raises becomes the message of the result."""

    id: int
    question: Question
    make_upload: Callable[[], Upload]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came of a keyframe. upload: None if there was none. delay: seconds on the steady clock since submit()."""

    keyframe: Keyframe
    result: CloudResult
    upload: Upload | None
    delay: float


class Uplink:
    """An event loop in a thread, with one client, which is closed with it.

    warn: told, once, what people should know.
    """

    def __init__(
        self,
        client: CloudClient,
        *,
        emulated: EmulatedDelay | None = None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._client = client
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
    def in_flight(self) -> int:
        """Keyframes that were submitted and have not come back."""
        return self._in_flight

    def submit(self, keyframe: Keyframe, finished: Callable[[Exchange], None]) -> None:
        """Send a keyframe, from any thread. finished: called once, from the uplink's thread."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the uplink is closed")
            self._in_flight += 1
            self._loop.call_soon_threadsafe(self._begin, keyframe, finished, time.monotonic())

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

    def _begin(self, keyframe: Keyframe, finished: Callable[[Exchange], None], submitted: float) -> None:
        task = self._loop.create_task(self._carry(keyframe, finished, submitted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drop_all(self) -> None:
        await asyncio.sleep(0)  # lets tasks begin that were submitted just before: only then can they report their end
        while self._tasks:
            for task in self._tasks:
                task.cancel()  # again if need be: wait_for may swallow one that meets a result
            await asyncio.wait(self._tasks, timeout=0.5)

    async def _carry(self, keyframe: Keyframe, finished: Callable[[Exchange], None], submitted: float) -> None:
        """One keyframe, there and back."""
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
            with self._lock:
                self._in_flight -= 1
            finished(Exchange(keyframe, result, upload, time.monotonic() - submitted))
        await self._look_once(keyframe, upload, result)

    async def _ask(self, keyframe: Keyframe, upload: Upload) -> CloudResult:
        result = await self._client.ask(upload, keyframe.question.text)
        await asyncio.sleep(self._emulated.seconds_for(keyframe.id))
        if self._out():
            return CloudResult(Status.DROPPED, "reply lost: emulated outage", bytes_up=result.bytes_up)
        return result

    def _out(self) -> bool:
        return self._emulated.is_out(time.monotonic() - self._began)

    async def _look_once(self, keyframe: Keyframe, upload: Upload | None, result: CloudResult) -> None:
        """After the first answer, find out whether the server looks at images at all."""
        if self._looked or upload is None or result.status is not Status.OK:
            return
        self._looked = True
        if await self._client.sees_images(result, upload, keyframe.question.text) is False:
            self._warn(
                "the server answers from the words alone: its token count is the same without the image. "
                "Serve a vision-language model, with its processor"
            )
