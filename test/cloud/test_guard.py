# SPDX-License-Identifier: Apache-2.0
import asyncio
import base64
import io
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgevlm_ros.cloud import guard
from edgevlm_ros.cloud.guard import MAX_BODY, Guard, Refused, checked

CHAT = "/v1/chat/completions"


def data_url(data: bytes, kind: str = "image/jpeg") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def picture(width: int = 8, height: int = 8, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, kind)
    return file.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes that claims so many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def chat(*parts: object, **more: object) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": list(parts)}], **more}).encode()


def image(url: object) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": url}}


def asked(
    body: bytes = b"", method: str = "POST", path: str = CHAT, key: str = "", chunk: int = 1 << 16, **headers: str
) -> tuple[int, bytes, bytes]:
    """The status, what the client is told, and what the application got, empty if it was not reached."""
    reached: list[bytes] = []
    sent: list[dict] = []
    chunks = [body[at : at + chunk] for at in range(0, len(body), chunk)] or [b""]

    async def receive() -> dict:
        part = chunks.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(chunks)}

    async def send(message: dict) -> None:
        sent.append(message)

    async def application(scope: dict, receive, send) -> None:
        reached.append((await receive())["body"] or b"(nothing)")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw}
    asyncio.run(Guard(application, key)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"], b"".join(reached)


def test_a_question_about_a_picture_goes_through_as_it_is() -> None:
    body = chat(image(data_url(picture())), {"type": "text", "text": "?"}, max_tokens=32)
    status, _, got = asked(body, chunk=7)
    assert status == 200
    assert json.loads(got) == json.loads(body)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/load_model"), ("POST", "/reset"), ("GET", "/docs"), ("GET", CHAT)]
)
def test_only_three_routes_exist(method: str, path: str) -> None:
    assert asked(b"{}", method, path)[::2] == (404, b"")
    assert asked(method="GET", path="/health")[0] == 200


@pytest.mark.parametrize(
    "said", [None, "", "Bearer", "Bearer ", "Bearer sk", "Bearer sk-canary2", "bearer sk-canary", "sk-canary"]
)
def test_without_the_key_nobody_is_let_in(said: str | None) -> None:
    headers = {} if said is None else {"authorization": said}
    for route in guard.ROUTES:
        assert asked(b"{}", *route, key="sk-canary", **headers)[::2] == (401, b"")
    assert asked(method="GET", path="/health", key="sk-canary", authorization="Bearer sk-canary")[0] == 200


def test_a_body_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(b"", content_length=str(MAX_BODY + 1))[0] == 413
    monkeypatch.setattr(guard, "MAX_BODY", 1000)
    status, said, got = asked(b"x" * 5000, chunk=100)
    assert (status, got) == (413, b"")
    assert b"1000 bytes" in said


def test_a_body_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_BODY_S", 0.01)
    sent: list[dict] = []

    async def receive() -> dict:
        await asyncio.sleep(60)
        return {}

    async def send(message: dict) -> None:
        sent.append(message)

    async def conversation() -> None:
        await Guard(None)({"type": "http", "method": "POST", "path": CHAT, "headers": []}, receive, send)  # type: ignore[arg-type]

    asyncio.run(conversation())
    assert sent[0]["status"] == 408


@pytest.mark.parametrize(
    "url",
    [
        "/etc/hostname",
        "file:///etc/hostname",
        "http://10.0.0.1/",
        "data:text/plain;base64,aGk=",
        "data:image/png,x",
        "",
        7,
    ],
)
def test_an_image_that_is_not_in_the_request_is_refused(url: object) -> None:
    with pytest.raises(Refused, match="data URL"):
        checked(chat(image(url)))


@pytest.mark.parametrize("data", [b"", b"no picture", picture(kind="GIF"), picture()[:20], png_bomb(0, 5)])
def test_what_is_no_jpeg_and_no_png_is_refused(data: bytes) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        checked(chat(image(data_url(data))))


@pytest.mark.parametrize(("width", "height"), [(5000, 5000), (30_000, 30_000), (1, 2**25), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    with pytest.raises(Refused) as caught:
        checked(chat(image(data_url(png_bomb(width, height), "image/png"))))
    assert caught.value.status in (400, 413)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"messages": {}}',
        b'{"messages": [1]}',
        b'{"messages": [{"role": "user"}]}',
        b'{"messages": [{"role": "user", "content": ["a"]}]}',
        chat({"type": "video_url", "video_url": {"url": "file:///a.mp4"}}),
        chat({"type": "text", "text": 5}),
        chat({"type": "text", "text": "?"}, max_tokens=10**9),
        chat({"type": "text", "text": "?"}, max_completion_tokens=-1),
        chat(*[image(data_url(picture()))] * 9),
    ],
)
def test_what_is_no_chat_request_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        checked(body)


def test_the_server_reads_what_the_guard_has_read() -> None:
    twice = b'{"messages": [{"content": "a"}], "messages": [{"content": "b"}]}'
    assert asked(twice)[2] == b'{"messages": [{"content": "b"}]}'


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.just(data_url(picture())),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "text", "image_url", "url", "content", "role", "messages"]), inner)
    ),
    max_leaves=12,
)


@given(st.binary(max_size=60) | st.builds(lambda m: json.dumps({"messages": m}).encode(), PARTS))
def test_any_body_is_checked_or_refused(body: bytes) -> None:
    try:
        assert isinstance(checked(body)["messages"], list)
    except Refused as refused:
        assert 400 <= refused.status < 500
