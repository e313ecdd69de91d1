# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from edgevlm_ros.cloud.chat_api import ChatApi
from edgevlm_ros.cloud.failures import Rejected, Server, Trace
from support.scripted_cloud import Reply, ScriptedCloud, completion

KEY = "sk-canary-0123456789"
SERVER = Server(KEY, "base_url", refused="", too_large="", too_many="", thinking="")


def with_api(cloud: ScriptedCloud, do: Callable[[ChatApi], Coroutine[Any, Any, Any]]) -> Any:
    async def conversation() -> Any:
        api = ChatApi(httpx.URL(cloud.base_url), SERVER, timeout=20.0)
        try:
            return await do(api)
        finally:
            await api.aclose()

    return asyncio.run(conversation())


def post(api: ChatApi) -> Coroutine[Any, Any, dict[str, Any]]:
    return api.post(json.dumps({"messages": []}).encode(), Trace())


def test_each_request_has_a_connection_of_its_own_and_no_cookie_is_kept() -> None:
    with ScriptedCloud() as cloud:
        cloud.answer = lambda request: completion(headers={"Set-Cookie": "a=b; Path=/"}, prompt_tokens=1)

        async def twice(api: ChatApi) -> None:
            await post(api)
            await post(api)

        with_api(cloud, twice)
        assert [request.headers["Connection"] for request in cloud.chats] == ["close", "close"]
        assert not any("Cookie" in request.headers for request in cloud.chats)


def test_a_refusal_keeps_its_code_and_not_the_key() -> None:
    with ScriptedCloud() as cloud:
        cloud.answer = lambda request: Reply(f"key {KEY} is wrong", status=401)
        with pytest.raises(Rejected) as caught:
            with_api(cloud, post)
    assert caught.value.code == 401
    assert KEY[:10] not in str(caught.value)


def test_the_first_model_is_the_first_that_is_listed() -> None:
    with ScriptedCloud() as cloud:
        assert with_api(cloud, lambda api: api.first_model(Trace())) == "scripted-lvlm"
        cloud.models = Reply("nothing here", status=404)
        assert with_api(cloud, lambda api: api.first_model(Trace())) == ""
