# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

from edgevlm_ros.nodes.activity import Activity


def test_who_waits_is_woken_to_work_and_at_last_by_the_end() -> None:
    activity = Activity()
    worked: list[int] = []

    def work() -> None:
        while activity.wait():
            worked.append(1)
            activity.end()

    thread = threading.Thread(target=work)
    thread.start()
    activity.wake()
    thread.join(timeout=60.0)
    assert worked == [1]
    assert not thread.is_alive()


def test_what_woke_nobody_is_not_lost() -> None:
    activity = Activity()
    activity.wake()
    assert activity.wait()


def test_nothing_is_published_after_the_end() -> None:
    activity = Activity()
    said: list[str] = []
    assert activity.publish(lambda: said.append("before"))
    assert not activity.over()
    activity.end()
    assert activity.over()
    assert not activity.publish(lambda: said.append("after"))
    assert said == ["before"]


def test_the_end_waits_for_the_message_that_is_being_published() -> None:
    activity = Activity()
    begun, go_on, order = threading.Event(), threading.Event(), []

    def publish() -> None:
        begun.set()
        go_on.wait(60.0)
        order.append("published")

    publisher = threading.Thread(target=activity.publish, args=(publish,))
    ender = threading.Thread(target=lambda: (activity.end(), order.append("ended")))
    publisher.start()
    begun.wait(60.0)
    ender.start()
    go_on.set()
    publisher.join(60.0)
    ender.join(60.0)
    assert order == ["published", "ended"]
