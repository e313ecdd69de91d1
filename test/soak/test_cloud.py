# SPDX-License-Identifier: Apache-2.0
"""The cloud that fails at times: every fault of the schedule is one to a client, and none outlives its time."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from soak.cloud import FaultyCloud
from soak.schedule import VALUES

SLOW = ("late", "throttled")  # which fail by a time-out of the client alone


@pytest.fixture
def cloud() -> Iterator[FaultyCloud]:
    with FaultyCloud() as cloud:
        yield cloud


def _ask(cloud: FaultyCloud, patience: float = 60.0) -> str:
    """The words of a reply; raises httpx.HTTPError, ValueError, LookupError or TypeError as it fails."""
    content = [{"type": "text", "text": "?"}]
    request = {"model": "m", "messages": [{"content": ""}, {"content": content}]}
    reply = httpx.post(f"{cloud.base_url}/chat/completions", json=request, timeout=patience, trust_env=False)
    said = reply.raise_for_status().json()["choices"][0]["message"]["content"]
    return said if isinstance(said, str) else said["no words"]


@pytest.mark.parametrize("fault", [fault for fault in VALUES["fault"] if fault not in SLOW])
def test_a_fault_fails_a_request_and_ends(fault: str, cloud: FaultyCloud) -> None:
    assert "acid" in _ask(cloud)
    cloud.fail(fault)
    with pytest.raises((httpx.HTTPError, ValueError, LookupError, TypeError)):
        _ask(cloud, 0.1)
    cloud.recover()
    assert "acid" in _ask(cloud)


@pytest.mark.parametrize("fault", SLOW)
def test_a_slow_cloud_is_well_again(fault: str, cloud: FaultyCloud) -> None:
    cloud.fail(fault)
    cloud.recover()
    assert "acid" in _ask(cloud)


def test_requests_go_on_to_the_model_behind_it(cloud: FaultyCloud) -> None:
    with FaultyCloud(cloud.base_url) as relay:
        assert "acid" in _ask(relay)
    cloud.fail("status")
    with FaultyCloud(cloud.base_url) as relay, pytest.raises(httpx.HTTPStatusError):
        _ask(relay)


def test_it_may_end_in_the_middle_of_a_fault() -> None:
    with FaultyCloud() as cloud:
        cloud.fail("refused")
