# SPDX-License-Identifier: Apache-2.0
"""What networks and servers do instead of answering, over real sockets: each ends as one result that says so."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgevlm_ros.cloud.chat_api import MAX_BODY
from edgevlm_ros.cloud.client import CloudClient, CloudResult
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.transfer.types import Status
from support.raw_cloud import Caller, RawCloud, Serve, completed, http

UPLOAD = Upload(b"\xff\xd8a picture\xff\xd9", width=320, height=240, source_width=640, source_height=480)
LARGE = Upload(b"\xff" * (12 << 20), width=4000, height=3000, source_width=4000, source_height=3000)
WHOLE = completed("acid, left")
TIMEOUT = 1.5
"""Seconds for a whole request: a third of it for TCP, for TLS and for a pause within a reply."""
PATIENCE = 60.0
"""The same where no time is to run out, however busy the machine."""


def ask(base_url: str, upload: Upload = UPLOAD, timeout: float = PATIENCE) -> CloudResult:
    """One question; fails if it takes longer than it may."""

    async def conversation() -> CloudResult:
        client = CloudClient(base_url, model="m", timeout=timeout)
        try:
            return await client.ask(upload, "Where is the cart?")
        finally:
            await client.aclose()

    start = time.monotonic()
    result = asyncio.run(conversation())
    assert time.monotonic() - start < timeout + 10.0
    return result


def says(*pieces: bytes) -> Serve:
    """Hears a request, says this and hangs up."""

    def serve(caller: Caller) -> None:
        caller.request()
        for piece in pieces:
            caller.say(piece)

    return serve


def says_and_stays(*pieces: bytes) -> Serve:
    def serve(caller: Caller) -> None:
        says(*pieces)(caller)
        caller.silence()

    return serve


def drips(caller: Caller) -> None:
    caller.request()
    caller.say(http(b"", length=len(WHOLE)))
    for byte in WHOLE:
        caller.say(bytes([byte]))
        if caller.stopped.wait(0.05):
            return


def never_stops(beginning: bytes, piece: bytes) -> Serve:
    """Says 100 MB, if it is let."""

    def serve(caller: Caller) -> None:
        caller.request()
        caller.say(beginning)
        while caller.sent < 100_000_000:
            caller.say(piece)

    return serve


def resets(caller: Caller) -> None:
    caller.request()
    caller.reset()


def resets_at_once(caller: Caller) -> None:
    caller.reset()


def resets_within(caller: Caller) -> None:
    caller.request()
    caller.say(http(WHOLE)[:-20])
    caller.reset()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MID_TOKEN = CHUNKED + b'40\r\n{"choices": [{"message": {"role": "assistant", "content": "{\\"ans'
EVENTS = b'data: {"choices": [{"delta": {"content": "{\\"answer\\": \\"ac'

BREAKS = {
    "hangs up at once": (says(), "Server disconnected"),
    "resets the connection": (resets, "broke the connection"),
    "resets it before it hears": (resets_at_once, "connection"),
    "resets it within the reply": (resets_within, "broke the connection"),
    "cut within the head": (says(http(WHOLE)[:20]), "broke the connection"),
    "cut within the body": (says(http(WHOLE)[:-20]), "broke the connection"),
    "a stream cut mid-token": (says(MID_TOKEN), "broke the connection"),
    "a chunk of no length": (says(CHUNKED, b"zz\r\n"), "broke the connection"),
    "no HTTP": (says(b"SSH-2.0-OpenSSH_9.6\r\n"), "broke the connection"),
    "a head without end": (never_stops(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n" * 1000), "broke the connection"),
}


@pytest.mark.parametrize(("serve", "words"), BREAKS.values(), ids=BREAKS)
def test_a_connection_that_breaks_is_unreachable(serve: Serve, words: str) -> None:
    with RawCloud(serve) as cloud:
        result = ask(cloud.base_url)
        assert len(cloud.callers) == 1, "a keyframe was sent again, older than the newest one"
    assert (result.status, result.ill, result.text) == (Status.UNREACHABLE, True, "")
    assert words in result.error


UNUSABLE = {
    "no body": (says(http(b"")), "no JSON"),
    "truncated JSON": (says(http(WHOLE[:-30])), "no JSON"),
    "truncated JSON without a length": (says(b"HTTP/1.1 200 OK\r\n\r\n" + WHOLE[:-30]), "no JSON"),
    "a login page": (says(http(b"<html>Welcome to the airport</html>")), "no JSON"),
    "compressed, unasked": (says(http(b"\x1f\x8b\x08\x00", "200 OK", "Content-Encoding: gzip")), "no JSON"),
    "a stream of events, unasked": (says(CHUNKED, b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVENTS), EVENTS)), "no JSON"),
    "numbers without end": (says(http(b"9" * 10_000)), "no JSON"),
    "another shape: null": (says(http(b"null")), "a JSON NoneType, not an object"),
    "another shape: choices": (says(http(b'{"choices": {"0": 1}}')), "no choices[0].message"),
    "another shape: content": (says(http(b'{"choices": [{"message": {"content": 7}}]}')), "no text"),
    "100 MB": (never_stops(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", b" " * (1 << 16)), "longer than"),
    "100 MB in chunks": (never_stops(CHUNKED, b"10000\r\n" + b" " * 0x10000 + b"\r\n"), "longer than"),
}


@pytest.mark.parametrize(("serve", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_is_no_chat_completion_is_unparsable(serve: Serve, words: str) -> None:
    with RawCloud(serve) as cloud:
        result = ask(cloud.base_url)
    assert (result.status, result.ill, result.text) == (Status.UNPARSABLE, True, "")
    assert words in result.error


def test_of_a_reply_of_100_mb_little_is_read() -> None:
    with RawCloud(UNUSABLE["100 MB"][0]) as cloud:
        ask(cloud.base_url)
        caller = cloud.callers[0]
        assert MAX_BODY <= caller.sent < 20 * MAX_BODY  # beyond what was read, what the sockets hold


def test_a_model_that_does_not_answer_is_no_fault_of_the_server() -> None:
    with RawCloud(says(http(completed("")))) as cloud:
        result = ask(cloud.base_url)
    assert (result.status, result.ill) == (Status.UNPARSABLE, False)
    assert (result.prompt_tokens, result.completion_tokens) == (150, 20)


REFUSALS = {
    "401 Unauthorized": "check the key",
    "403 Forbidden": "check the key",
    "404 Not Found": "check base_url, which usually ends in /v1, and model",
    "413 Content Too Large": "lower max_side or jpeg_quality",
    "429 Too Many Requests": "raise keyframe_period",
    "500 Internal Server Error": "the server failed",
    "503 Service Unavailable": "it is full",
    "529 Overloaded": "it is full",
    "402 Payment Required": "paid for",
    "204 No Content": "HTTP 204",
    "301 Moved Permanently": "set base_url to where it points",
}


@pytest.mark.parametrize(("status", "words"), REFUSALS.items(), ids=REFUSALS)
def test_another_http_status_than_200_is_rejected_with_what_to_do(status: str, words: str) -> None:
    with RawCloud(says(http(b"", status, "Server: Zürich ☃"))) as cloud:
        result = ask(cloud.base_url)
    assert (result.status, result.ill, result.retry_after) == (Status.REJECTED, True, 0.0)
    assert words in result.error


@pytest.mark.parametrize("location", ["https:else/v1", "http://[", "https://else:99999/v1", "http://\x7f"])
def test_a_redirect_to_what_is_no_address_is_a_result_too(location: str) -> None:
    with RawCloud(says(http(b"", "307 Temporary Redirect", f"Location: {location}"))) as cloud:
        result = ask(cloud.base_url)
    assert result.status in (Status.UNREACHABLE, Status.REJECTED)
    assert result.ill
    assert result.error


DATES = {"Wed, 21 Oct 2026 07:28:00 GMT": 0.0, "Fri, 31 Dec 9999 23:59:59 GMT": 1e9}


@pytest.mark.parametrize(
    ("header", "least"),
    [
        *[("7", 7.0), ("7.5", 7.5), ("0", 0.0), ("soon", 0.0), ("-5", 0.0), ("7.5.1", 0.0), ("", 0.0)],
        *[("9" * 30, 1e8), ("9" * 400, 1e8), *DATES.items()],
    ],
)
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable", "529 Overloaded"])
def test_a_server_may_ask_for_a_pause(status: str, header: str, least: float) -> None:
    with RawCloud(says(http(b"", status, f"Retry-After: {header}"))) as cloud:
        result = ask(cloud.base_url)
    assert result.retry_after == least if least < 100.0 else result.retry_after > least


ERRORS = {
    "a code": ({"choices": None, "error": {"code": 429, "message": "slow down"}}, 429, "raise keyframe_period"),
    "a code in words": ({"error": {"code": "429", "message": "slow down"}}, 429, "raise keyframe_period"),
    "no image input": (
        {"error": {"code": 404, "message": "No endpoints found that support image input"}},
        404,
        "support image input (check base_url, which usually ends in /v1, and model)",
    ),
    "a name": ({"error": {"type": "rate_limit_exceeded", "message": "slow down"}}, 429, "raise keyframe_period"),
    "a name that holds another": ({"error": {"type": "generate_error", "message": "no image"}}, 0, "the server failed"),
    "in a choice": (
        {
            "choices": [
                {"finish_reason": "error", "message": {"content": "{"}, "error": {"code": 502, "message": "gone"}}
            ]
        },
        502,
        "gone (the server failed",
    ),
    "the object is one": ({"object": "error", "code": 400, "message": "no such field"}, 400, "no such field"),
    "an outcome": ({"choices": [{"finish_reason": "error", "message": {"content": "le"}}]}, 0, "the server failed"),
    "words alone": ({"error": "overloaded"}, 0, "overloaded (the server failed"),
    "a message alone": ({"error": {"message": "overloaded"}}, 0, "overloaded (the server failed"),
    "a detail": ({"detail": "Not Found"}, 0, "Not Found"),
}


@pytest.mark.parametrize(("body", "code", "words"), ERRORS.values(), ids=ERRORS)
def test_an_error_with_http_200_is_rejected_as_its_code_says(body: dict[str, Any], code: int, words: str) -> None:
    with RawCloud(says(http(json.dumps(body).encode(), "200 OK", "Retry-After: 7.5"))) as cloud:
        result = ask(cloud.base_url)
    assert (result.status, result.ill, result.text) == (Status.REJECTED, True, "")
    assert result.retry_after == (7.5 if code == 429 else 0.0)
    assert (f"error {code} in a reply with HTTP 200" if code else "an error in its reply") in result.error
    assert words in result.error


ENCODED = {
    "a byte order mark": codecs.BOM_UTF8 + WHOLE,
    "UTF-16": WHOLE.decode().encode("utf-16"),
    "UTF-16 without a mark": WHOLE.decode().encode("utf-16-be"),
    "gzip": gzip.compress(WHOLE),
    "gzip of UTF-16": gzip.compress(WHOLE.decode().encode("utf-16")),
}


@pytest.mark.parametrize("body", ENCODED.values(), ids=ENCODED)
def test_a_body_is_read_however_it_is_encoded(body: bytes) -> None:
    with RawCloud(says(http(body)[:-10], body[-10:])) as cloud:
        result = ask(cloud.base_url)
    assert (result.status, result.text) == (Status.OK, "acid, left")


def test_a_small_body_that_becomes_a_large_one_is_unparsable() -> None:
    bomb = gzip.compress(b" " * (64 * MAX_BODY))
    assert len(bomb) < MAX_BODY
    with RawCloud(says(http(bomb, "200 OK", "Content-Encoding: gzip"))) as cloud:
        result = ask(cloud.base_url)
    assert result.status is Status.UNPARSABLE
    assert "longer than" in result.error


def test_only_a_busy_server_is_given_a_pause() -> None:
    with RawCloud(says(http(b"", "401 Unauthorized", "Retry-After: 600"))) as cloud:
        assert ask(cloud.base_url).retry_after == 0.0


SLOW = {
    "an upload that nobody takes": (Caller.silence, LARGE, "still uploading; lower max_side", 1 / 2),
    "silence": (says_and_stays(), UPLOAD, "still waiting for a reply to begin", 1),
    "half a head": (says_and_stays(http(WHOLE)[:20]), UPLOAD, "still waiting for a reply to begin", 1),
    "half a body": (says_and_stays(http(WHOLE)[:-20]), UPLOAD, "still receiving the reply", 1 / 3),
    "a body that drips": (drips, UPLOAD, "still receiving the reply", 1),
    "please wait, and nothing": (says_and_stays(b"HTTP/1.1 102 Processing\r\n\r\n"), UPLOAD, "to begin", 1),
}


@pytest.mark.parametrize(("serve", "upload", "words", "share"), SLOW.values(), ids=SLOW)
def test_each_phase_has_its_time_out_which_says_where_it_hangs(
    serve: Serve, upload: Upload, words: str, share: float
) -> None:
    timeout = TIMEOUT if share == 1 else 4 * TIMEOUT  # that a machine may stand still in between
    with RawCloud(serve) as cloud:
        start = time.monotonic()
        result = ask(cloud.base_url, upload, timeout=timeout)
        took = time.monotonic() - start
    assert (result.status, result.ill) == (Status.TIMEOUT, True)
    assert words in result.error
    assert 0.9 * share * timeout < took
    assert share == 1 or took < timeout, "its own time-out, not that of the whole request"


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port whose backlog is full: whoever connects hears nothing, as behind a firewall that drops."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for client in waiting:
            client.close()


def test_a_connection_that_nobody_takes_is_unreachable_after_a_third_of_the_time(deaf_port: int) -> None:
    start = time.monotonic()
    result = ask(f"http://127.0.0.1:{deaf_port}/v1", timeout=2 * TIMEOUT)
    assert time.monotonic() - start > 0.9 * 2 * TIMEOUT / 3
    assert (result.status, result.ill, result.bytes_up) == (Status.UNREACHABLE, True, 0)
    assert "ConnectTimeout" in result.error


def test_a_tls_handshake_without_an_answer_is_unreachable_after_a_third_of_the_time() -> None:
    with RawCloud(Caller.silence) as cloud:
        start = time.monotonic()
        result = ask(cloud.base_url.replace("http:", "https:"), timeout=2 * TIMEOUT)
        assert time.monotonic() - start > 0.9 * 2 * TIMEOUT / 3
    assert (result.status, result.ill, result.bytes_up) == (Status.UNREACHABLE, True, 0), "else it were a TIMEOUT"


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed here: no certificate can be made")
    folder: Path = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=60
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_a_certificate_that_nobody_vouches_for_is_unreachable(self_signed: ssl.SSLContext) -> None:
    heard: list[bytes] = []
    with RawCloud(lambda caller: heard.append(caller.request()), tls=self_signed) as cloud:
        result = ask(cloud.base_url)
    assert (result.status, result.ill, result.bytes_up) == (Status.UNREACHABLE, True, 0)
    assert "certificate" in result.error.lower()
    assert heard == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_refused_connection_and_an_unknown_host_are_unreachable(scheme: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for base_url in (f"{scheme}://127.0.0.1:{port}/v1", "https://no-such-host.invalid/v1"):
        result = ask(base_url, timeout=5.0)
        assert (result.status, result.ill, result.bytes_up) == (Status.UNREACHABLE, True, 0)
        assert "is the server running" in result.error


# -- whose reply is it -------------------------------------------------------------------------------------------------


def ask_in_turn(base_url: str, count: int, timeout: float = PATIENCE) -> list[CloudResult]:
    async def conversation() -> list[CloudResult]:
        client = CloudClient(base_url, model="m", timeout=timeout)
        results = [await client.ask(UPLOAD, "?") for _ in range(count)]
        await client.aclose()
        return results

    return asyncio.run(conversation())


def test_a_reply_that_comes_twice_answers_no_other_keyframe() -> None:
    def twice(caller: Caller) -> None:
        while True:  # as a server that keeps its connections does
            caller.request()
            caller.say(http(completed(f"to caller {caller.number}")) * 2)

    with RawCloud(twice) as cloud:
        texts = [result.text for result in ask_in_turn(cloud.base_url, 3)]
    assert texts == ["to caller 0", "to caller 1", "to caller 2"]


def test_a_reply_to_a_request_that_was_given_up_answers_no_other_keyframe() -> None:
    def late(caller: Caller) -> None:
        caller.request()
        if caller.number == 0:
            caller.stopped.wait(TIMEOUT + 0.1)
        caller.say(http(completed(f"to caller {caller.number}")))
        caller.stopped.wait(0.2)

    with RawCloud(late) as cloud:
        first, second = ask_in_turn(cloud.base_url, 2, TIMEOUT)
    assert (first.status, first.text) == (Status.TIMEOUT, "")
    assert second.text == "to caller 1"


def test_cookies_of_a_server_are_not_kept() -> None:
    heard: list[bytes] = []

    def bakes(caller: Caller) -> None:
        heard.append(caller.request())
        caller.say(http(WHOLE, "200 OK", f"Set-Cookie: c{caller.number}={'x' * 3000}"))

    with RawCloud(bakes) as cloud:
        assert [result.status for result in ask_in_turn(cloud.base_url, 3)] == [Status.OK] * 3
    assert all(b"cookie" not in request.lower() for request in heard)
