# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from edgevlm_ros.assets import bag_path
from edgevlm_ros.cloud.client import CloudClient
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.evaluation.fleet import Fleet, Run, View, drive, keep_busy, views
from edgevlm_ros.evaluation.streams import open_stream
from edgevlm_ros.transfer.types import Status
from support.scripted_cloud import Reply, ScriptedCloud, completion

SEEN = [View(Upload(b"\xff\xd8%d\xff\xd9" % number, 64, 48, 64, 48), f"question {number}") for number in range(50)]


@pytest.fixture
def cloud() -> Iterator[ScriptedCloud]:
    with ScriptedCloud() as cloud:
        yield cloud


def run(cloud: ScriptedCloud, fleet: Fleet) -> Run:
    return asyncio.run(drive(fleet, lambda: CloudClient(cloud.base_url, model="m", timeout=60.0), SEEN))


def test_each_robot_sends_a_keyframe_each_period_and_gets_its_reply(cloud: ScriptedCloud) -> None:
    done = run(cloud, Fleet(robots=3, period=0.2, seconds=1.0, frame_period=0.02))
    assert len(done.requests) == len(cloud.chats)
    assert {request.status for request in done.requests} == {Status.OK}
    by_robot = Counter(request.robot for request in done.requests)
    assert set(by_robot) == {0, 1, 2}
    assert max(by_robot.values()) <= 5
    assert [request.sent for request in done.requests] == sorted(request.sent for request in done.requests)


def test_robots_begin_at_different_times_and_look_at_different_frames(cloud: ScriptedCloud) -> None:
    done = run(cloud, Fleet(robots=3, period=0.5, seconds=0.6, frame_period=0.05))
    first = {request.robot: request.sent for request in reversed(done.requests)}
    assert len(set(first.values())) == 3
    questions = [request.body["messages"][1]["content"][1]["text"] for request in cloud.chats]
    assert len(set(questions)) == len(questions)


def test_a_server_that_holds_replies_back_gets_no_more_than_is_allowed_in_flight(cloud: ScriptedCloud) -> None:
    cloud.answer = lambda request: completion(hold=0.6)
    done = run(cloud, Fleet(robots=1, period=0.1, seconds=0.8, max_in_flight=2, frame_period=0.02))
    assert len(done.requests) <= 5
    assert done.late >= 1
    assert min(request.delay for request in done.requests) >= 0.6


def test_what_fails_is_told_and_stops_no_robot(cloud: ScriptedCloud) -> None:
    cloud.answer = lambda request: Reply("busy", status=503)
    done = run(cloud, Fleet(robots=2, period=0.2, seconds=1.6, frame_period=0.02))
    assert {request.status for request in done.requests} == {Status.REJECTED}
    assert all("503" in request.error for request in done.requests)
    assert len(done.requests) >= 4


def test_kept_busy_a_server_always_has_as_many_requests_as_asked(cloud: ScriptedCloud) -> None:
    cloud.answer = lambda request: completion(hold=0.05)
    requests = asyncio.run(keep_busy(3, 1.5, lambda: CloudClient(cloud.base_url, model="m", timeout=60.0), SEEN))
    assert {request.robot for request in requests} == {0, 1, 2}
    assert len(requests) >= 6


def test_the_views_of_a_bag_are_its_frames_with_the_question_that_stands() -> None:
    stream = open_stream(bag_path("demo"))
    seen = views(stream)
    assert 0 < len(seen) <= len(stream.stamps)
    assert seen[-1].question == stream.question_at(stream.stamps[-1]).text  # type: ignore[union-attr]
    assert seen[0].upload.jpeg.startswith(b"\xff\xd8")
