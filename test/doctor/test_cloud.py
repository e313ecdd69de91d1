# SPDX-License-Identifier: Apache-2.0
"""A server as it is seen from here, with real HTTP."""

from __future__ import annotations

import socket

import pytest

from edgevlm_ros.doctor import cloud
from edgevlm_ros.doctor.finding import Finding
from support.scripted_cloud import Reply, ScriptedCloud

KEY = "sk-secret-0123"


def looked_at(url: str, **options: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in cloud.check(url, **options)}


def test_a_server_that_answers_is_told_with_its_model_and_distance() -> None:
    with ScriptedCloud() as server:
        found = looked_at(server.base_url)
    assert {finding.level for finding in found.values()} == {"ok"}
    assert "scripted-lvlm" in found["cloud model"].found
    assert "ms there and back" in found["round trip"].found
    assert not server.chats


def test_a_model_that_is_not_there_names_those_that_are() -> None:
    with ScriptedCloud() as server:
        model = looked_at(server.base_url, model="gpt-9")["cloud model"]
    assert (model.level, "scripted-lvlm" in model.found) == ("fail", True)


def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    with ScriptedCloud() as server:
        server.models = Reply({"error": f"bad key {KEY}"}, status=401)
        found = looked_at(server.base_url, key_env="A_KEY")
        sent = server.requests[0].headers["Authorization"]
    assert sent == f"Bearer {KEY}"
    assert found["endpoint"].level == "fail"
    assert "--cloud-key-env" in found["endpoint"].fix
    assert KEY not in str(found)


def test_what_a_server_says_is_shown_on_one_line_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    forged = f"\x1b[2J\n[ok] {'x' * 60}{KEY}"
    for models in (
        Reply(forged.encode(), status=500),
        Reply({"data": [{"id": forged}]}),
        Reply("", status=307, headers={"Location": f"http://[{'x' * 140}{KEY}"}),
        Reply("", status=307, headers={"Location": f"http://there/{'x' * 180}{KEY}"}),
    ):
        with ScriptedCloud() as server:
            server.models = models
            found = looked_at(server.base_url, key_env="A_KEY")
        said = [words for finding in found.values() for words in (finding.found, finding.fix)]
        assert all(words.isprintable() for words in said)
        assert KEY[:9] not in " ".join(said)


def test_a_key_that_is_not_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    assert "'A_KEY'" in looked_at("http://127.0.0.1:1/v1", key_env="A_KEY")["endpoint"].found


def test_nobody_there_is_told() -> None:
    with socket.socket() as taken:  # bound, but it does not listen
        taken.bind(("127.0.0.1", 0))
        found = looked_at(f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
    assert found["endpoint"].level == "fail"
    assert "running" in found["endpoint"].fix


@pytest.mark.parametrize(
    ("status", "level"), [(301, "fail"), (400, "fail"), (403, "fail"), (404, "warn"), (503, "fail")]
)
def test_other_replies_say_what_to_do(status: int, level: str) -> None:
    finding = cloud.replied(status, "<html>", "http://there/v1", "https://there/v1")
    assert finding.level == level
    assert finding.fix


@pytest.mark.parametrize("text", ["", "<html>", "[]", '{"data": 5}', '{"data": [5]}', '{"data": [{}]}'])
def test_a_page_that_is_no_list_of_models_is_told(text: str) -> None:
    assert cloud.lists(text, "").level == "fail"


def test_http_to_another_machine_is_refused_unless_it_is_allowed() -> None:
    assert "--cloud-allow-http" in looked_at("http://192.0.2.1:8000/v1")["endpoint"].found
