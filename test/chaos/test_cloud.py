# SPDX-License-Identifier: Apache-2.0
"""Each fault of the cloud is one that the bridge's client meets, and the next reply is whole again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from chaos.cloud import SpoiltCloud
from chaos.faults import CLOUD, FAULTS
from edgevlm_ros.cloud.client import CloudClient, CloudResult
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.transfer.types import Status
from soak.cloud import FaultyCloud

UPLOAD = Upload(b"\xff\xd8a picture\xff\xd9", width=320, height=240, source_width=640, source_height=480)
_LONG, _SHORT = 60.0, 2.0  # of which a third is for connecting, which here fails for want of time only

EXPECTED = {
    "status": Status.REJECTED,
    "truncated_json": Status.UNPARSABLE,
    "not_json": Status.UNPARSABLE,
    "wrong_shape": Status.UNPARSABLE,
    "huge_body": Status.UNPARSABLE,
    "dripping_body": Status.TIMEOUT,
    "cut_stream": Status.UNREACHABLE,
    "out_of_order": Status.OK,
    "twice": Status.OK,
    "late": Status.TIMEOUT,
}


@pytest.fixture
def cloud() -> Iterator[SpoiltCloud]:
    with FaultyCloud() as well, SpoiltCloud(lambda: well.base_url) as spoilt:
        yield spoilt


def asked(cloud: SpoiltCloud, count: int = 1, timeout: float = _LONG) -> list[CloudResult]:
    """Results of questions that are asked at once, with one client."""

    async def conversation() -> list[CloudResult]:
        client = CloudClient(f"http://127.0.0.1:{cloud.port}/v1", model="m", timeout=timeout)
        try:
            return await asyncio.gather(*(client.ask(UPLOAD, "Where is the cart?") for _ in range(count)))
        finally:
            await client.aclose()

    return asyncio.run(conversation())


def test_every_fault_of_the_cloud_is_tried_here() -> None:
    assert set(EXPECTED) == {name for name, fault in FAULTS.items() if fault.place == CLOUD}


@pytest.mark.parametrize("fault", EXPECTED)
def test_a_fault_ends_as_it_should_and_is_over_then(cloud: SpoiltCloud, fault: str) -> None:
    cloud.fail(fault, {**FAULTS[fault].settings, **({"seconds": 0.1} if fault == "out_of_order" else {})})
    given_up = EXPECTED[fault] is Status.TIMEOUT
    (result,) = asked(cloud, timeout=_SHORT if given_up else _LONG)
    assert result.status is EXPECTED[fault], result.error
    cloud.recover()
    (result,) = asked(cloud)
    assert result.status is Status.OK, result.error


@pytest.mark.parametrize("code", [401, 403, 404, 413, 429, 500, 502, 503])
def test_a_status_is_said_with_its_pause(cloud: SpoiltCloud, code: int) -> None:
    cloud.fail("status", {"code": code, "retry_after": 7})
    (result,) = asked(cloud)
    assert f"HTTP {code}" in result.error
    assert result.retry_after == (7.0 if code in (429, 503) else 0.0)


def test_two_replies_that_change_places_are_both_heard(cloud: SpoiltCloud) -> None:
    cloud.fail("out_of_order", {"seconds": _LONG})
    assert [result.status for result in asked(cloud, count=2)] == [Status.OK, Status.OK]
