# SPDX-License-Identifier: Apache-2.0
"""The cloud that fails at times: every fault of the schedule is one to a client, and none outlives its time."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from soak.cloud import FaultyCloud
from soak.schedule import VALUES

REQUEST = {"model": "m", "messages": []}


@pytest.fixture
def cloud() -> Iterator[FaultyCloud]:
    with FaultyCloud() as cloud:
        yield cloud


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False) as client:
        yield client


def _ask(cloud: FaultyCloud, client: httpx.Client, patience: float = 10.0) -> str:
    """The words of a reply; raises httpx.HTTPError, ValueError, LookupError or TypeError as it fails."""
    url, words = f"{cloud.base_url}/chat/completions", 0
    with client.stream("POST", url, json=REQUEST, timeout=httpx.Timeout(10.0, read=patience)) as reply:
        reply.raise_for_status()
        body = b""
        for piece in reply.iter_bytes():
            body, words = body + piece, words + 1
            if words > 2:
                raise httpx.ReadTimeout("it drips")
    content = json.loads(body)["choices"][0]["message"]["content"]
    return content if isinstance(content, str) else content["no words"]


@pytest.mark.parametrize("fault", VALUES["fault"])
def test_a_fault_fails_a_request_and_ends(fault: str, cloud: FaultyCloud, client: httpx.Client) -> None:
    assert "acid" in _ask(cloud, client)
    cloud.fail(fault)
    with pytest.raises((httpx.HTTPError, ValueError, LookupError, TypeError)):
        _ask(cloud, client, 0.3)
    cloud.recover()
    with httpx.Client(trust_env=False) as another:
        assert "acid" in _ask(cloud, another)


def test_a_connection_serves_many_requests(cloud: FaultyCloud, client: httpx.Client) -> None:
    for _ in range(3):
        _ask(cloud, client)
    assert cloud.requests == 3
    assert cloud._raw is not None
    assert len(cloud._raw.callers) == 1


def test_requests_go_on_to_the_model_behind_it(cloud: FaultyCloud, client: httpx.Client) -> None:
    with FaultyCloud(cloud.base_url) as relay:
        assert "acid" in _ask(relay, client)
        assert client.get(f"{relay.base_url}/models").json()["data"]
    assert cloud.requests == 2


def test_a_model_that_is_gone_is_a_bad_gateway(client: httpx.Client) -> None:
    with FaultyCloud("http://127.0.0.1:9/v1") as relay:
        assert client.get(f"{relay.base_url}/models").status_code == 502
