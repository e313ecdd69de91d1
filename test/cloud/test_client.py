# SPDX-License-Identifier: Apache-2.0
import asyncio
import base64
import socket
import time
from collections.abc import Iterator

import pytest

from edgevlm_ros.cloud.chat_api import MAX_BODY
from edgevlm_ros.cloud.client import CloudClient, CloudResult
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.transfer.types import Status
from support.scripted_cloud import Reply, Request, ScriptedCloud, completion

UPLOAD = Upload(b"\xff\xd8a picture\xff\xd9", width=320, height=240, source_width=640, source_height=480)
KEY = "sk-canary-0123456789"
SPLIT = [rf"\u200b{character}" for character in KEY]
SPELT = [rf"\u{ord(character):04x}" for character in KEY]


@pytest.fixture
def cloud() -> Iterator[ScriptedCloud]:
    with ScriptedCloud() as cloud:
        yield cloud


def ask(base_url: str, *, times: int = 1, **options) -> list[CloudResult]:
    async def conversation() -> list[CloudResult]:
        client = CloudClient(base_url, **options)
        try:
            return [await client.ask(UPLOAD, "Where is the cart?") for _ in range(times)]
        finally:
            await client.aclose()

    return asyncio.run(conversation())


def ask_once(base_url: str, **options) -> CloudResult:
    return ask(base_url, **options)[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_good_reply_becomes_text_regions_and_counts(cloud: ScriptedCloud) -> None:
    result = ask_once(cloud.base_url)
    assert (result.status, result.error, result.text) == (Status.OK, "", "acid, left")
    box = result.regions[0]
    assert (box.label, box.x0, box.y0, box.x1, box.y1) == ("cart", 80.0, 120.0, 240.0, 240.0)
    assert (result.model, result.prompt_tokens, result.completion_tokens) == ("scripted-lvlm", 150, 20)
    assert result.bytes_up > len(UPLOAD.jpeg)


def test_the_request_carries_the_jpeg_the_question_and_the_key(cloud: ScriptedCloud) -> None:
    ask_once(cloud.base_url, api_key=KEY, model="big-one")
    request = cloud.chats[0]
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.body["model"] == "big-one"
    assert base64.b64decode(str(request.image_url).split(",")[1]) == UPLOAD.jpeg
    assert request.body["messages"][1]["content"][1]["text"] == "Where is the cart?"


def test_the_request_says_how_long_a_model_may_think(cloud: ScriptedCloud) -> None:
    ask_once(cloud.base_url, reasoning_effort="low")
    ask_once(cloud.base_url)
    thinking, silent = (request.body for request in cloud.chats)
    assert thinking["reasoning_effort"] == "low"
    assert thinking["max_completion_tokens"] > silent["max_completion_tokens"]
    assert "reasoning_effort" not in silent


def test_boxes_in_pixels_are_pixels_of_what_was_sent(cloud: ScriptedCloud) -> None:
    cloud.answer = lambda request: completion('{"answer": "x", "regions": [{"bbox_2d": [32, 24, 64, 48]}]}')
    box = ask_once(cloud.base_url, box_format="pixels").regions[0]
    assert (box.x0, box.y0, box.x1, box.y1) == (64.0, 48.0, 128.0, 96.0)


def test_content_in_parts_is_joined(cloud: ScriptedCloud) -> None:
    cloud.answer = lambda request: completion([{"type": "text", "text": "on the "}, {"type": "text", "text": "left"}])
    assert ask_once(cloud.base_url).text == "on the left"


# -- the model's name --------------------------------------------------------------------------------------------------


def test_an_unnamed_model_is_asked_for_once_and_the_first_is_taken(cloud: ScriptedCloud) -> None:
    ask(cloud.base_url, times=3)
    assert [request.path for request in cloud.requests].count("/v1/models") == 1
    assert {request.body["model"] for request in cloud.chats} == {"scripted-lvlm"}


@pytest.mark.parametrize(
    "listing",
    [Reply({"data": []}), Reply({"data": None}), Reply({"data": [{}]}), Reply({"detail": "Not Found"}, status=404)],
    ids=["empty", "null", "nameless", "404"],
)
def test_a_server_that_lists_no_model_chooses_itself(cloud: ScriptedCloud, listing: Reply) -> None:
    cloud.models = listing
    assert ask_once(cloud.base_url).status is Status.OK
    assert "model" not in cloud.chats[0].body


def test_a_server_that_came_back_with_another_model_is_asked_again(cloud: ScriptedCloud) -> None:
    def only(model: str):
        return lambda request: completion() if request.body["model"] == model else Reply("unknown model", status=404)

    cloud.answer = only("next-lvlm")

    async def conversation() -> list[Status]:
        client = CloudClient(cloud.base_url)
        first = await client.ask(UPLOAD, "?")
        cloud.models = Reply({"data": [{"id": "next-lvlm"}]})
        second = await client.ask(UPLOAD, "?")
        await client.aclose()
        return [first.status, second.status]

    assert asyncio.run(conversation()) == [Status.REJECTED, Status.OK]


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "hint"),
    [
        (Reply({"error": {"message": "bad key"}}, status=401), "check the key that api_key_env or api_key_file names"),
        (Reply("no such model", status=404), "check base_url"),
        (
            Reply({"error": {"message": "Unsupported value: 'temperature' does not support 0."}}, status=400),
            "set reasoning_effort to what the model takes",
        ),
        (Reply("", status=413), "lower max_side or jpeg_quality"),
        (Reply("slow down", status=429, headers={"Retry-After": "7"}), "retry after 7: raise keyframe_period"),
        (Reply(b"Internal Server Error", status=500), "HTTP 500: Internal Server Error"),
        (Reply("", status=307, headers={"Location": "https://elsewhere/v1"}), "set base_url to where it points"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else "",
)
def test_an_http_error_is_rejected_with_what_to_do_about_it(cloud: ScriptedCloud, reply: Reply, hint: str) -> None:
    cloud.answer = lambda request: reply
    result = ask_once(cloud.base_url)
    assert result.status is Status.REJECTED
    assert hint in result.error
    assert result.text == ""
    assert result.bytes_up > 0


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(b"<html>login</html>"), "no JSON"),
        (Reply(b'{"choices": [{"mess'), "no JSON"),
        (Reply(b"[" * 100_000), "no JSON"),
        (Reply(b"\xff\xfe\x00"), "no JSON"),
        (Reply([1, 2]), "a JSON list, not an object"),
        (Reply({}), "no choices"),
        (Reply({"choices": []}), "no choices"),
        (Reply({"choices": [{"message": {"content": None}}]}), "no text"),
        (completion('{"answer": "acid, le'), "no answer in the reply"),
        (completion(""), "no text"),
        (Reply(b" " * (MAX_BODY + 1)), "longer than"),
    ],
    ids=["html", "cut", "deep", "bytes", "list", "empty", "no-choice", "null", "cut-answer", "silence", "endless"],
)
def test_a_reply_without_an_answer_is_unparsable(cloud: ScriptedCloud, reply: Reply, why: str) -> None:
    cloud.answer = lambda request: reply
    result = ask_once(cloud.base_url)
    assert result.status is Status.UNPARSABLE
    assert why in result.error


@pytest.mark.parametrize(
    "reply",
    [completion(hold=60.0), completion(drip=0.05)],
    ids=["silent", "dripping"],
)
def test_a_reply_that_takes_too_long_is_a_timeout(cloud: ScriptedCloud, reply: Reply) -> None:
    cloud.answer = lambda request: reply
    start = time.monotonic()
    result = ask_once(cloud.base_url, timeout=1.5)
    assert result.status is Status.TIMEOUT
    assert "timeout = 1.5 s" in result.error or "too slow" in result.error
    assert time.monotonic() - start < 30.0


@pytest.mark.parametrize(
    "reply", [Reply(b"", cut=True), completion(cut=True)], ids=["before the reply", "within the reply"]
)
def test_a_connection_that_breaks_is_unreachable(cloud: ScriptedCloud, reply: Reply) -> None:
    cloud.answer = lambda request: reply
    result = ask_once(cloud.base_url)
    assert result.status is Status.UNREACHABLE
    assert "broke the connection" in result.error


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_listening_is_unreachable(scheme: str) -> None:
    result = ask_once(f"{scheme}://127.0.0.1:{free_port()}/v1")
    assert result.status is Status.UNREACHABLE
    assert "is the server running" in result.error
    assert result.bytes_up == 0


def test_an_unknown_host_is_unreachable() -> None:
    assert ask_once("https://no-such-host.invalid/v1", timeout=5.0).status is Status.UNREACHABLE


def test_tls_with_a_server_that_speaks_none_is_unreachable(cloud: ScriptedCloud) -> None:
    assert ask_once(cloud.base_url.replace("http:", "https:")).status is Status.UNREACHABLE


def test_a_server_that_appears_is_used_by_the_next_request() -> None:
    port = free_port()

    async def conversation() -> list[Status]:
        client = CloudClient(f"http://127.0.0.1:{port}/v1")
        statuses = [(await client.ask(UPLOAD, "?")).status]
        for _ in range(2):
            with ScriptedCloud(port=port):
                statuses.append((await client.ask(UPLOAD, "?")).status)
            statuses.append((await client.ask(UPLOAD, "?")).status)
        await client.aclose()
        return statuses

    off, on = Status.UNREACHABLE, Status.OK
    assert asyncio.run(conversation()) == [off, on, off, on, off]


def test_a_proxy_of_the_environment_is_no_way_to_this_machine(
    cloud: ScriptedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    assert ask_once(cloud.base_url).status is Status.OK


# -- keys --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        Reply(f"invalid key {KEY}", status=401),
        Reply(f"{'x' * 150} {KEY}", status=401),
        Reply("x" * 150 + "\u200b".join(KEY), status=401),
        Reply(KEY.encode()),
        completion(f'{{"answer": "{"".join(SPLIT)}"}}'),
        completion(f'{{"answer": "{"".join(SPELT)}"}}'),
        completion([{"type": "text", "text": part} for part in ('{"answer": "', *KEY, '"}')]),
        Reply({"error": {"code": 400, "message": f"{'x' * 150} {KEY}"}}),
        Reply("", status=307, headers={"Location": f"http://[{'x' * 120}{KEY}"}),
        Reply("", status=429, headers={"Retry-After": "x" * 30 + KEY}),
    ],
    ids=[
        *("error", "at the cut", "split at the cut", "body", "split", "spelt", "in parts", "error with 200"),
        *("nowhere", "pause"),
    ],
)
def test_a_key_that_the_server_repeats_goes_no_further(cloud: ScriptedCloud, reply: Reply) -> None:
    cloud.answer = lambda request: reply
    assert KEY[:10] not in str(ask_once(cloud.base_url, api_key=KEY))


# -- does it look at all -----------------------------------------------------------------------------------------------


def by_words(with_image: int, without: int):
    def answer(request: Request) -> Reply:
        return completion(prompt_tokens=with_image if request.image_url else without)

    return answer


@pytest.mark.parametrize(
    ("with_image", "without", "sees"), [(150, 30, True), (30, 30, False), (0, 0, None), (150, 0, None)]
)
def test_a_server_that_drops_images_is_found_out_by_its_token_counts(
    cloud: ScriptedCloud, with_image: int, without: int, sees: bool | None
) -> None:
    cloud.answer = by_words(with_image, without)

    async def conversation() -> bool | None:
        client = CloudClient(cloud.base_url)
        try:
            return await client.sees_images(await client.ask(UPLOAD, "?"), UPLOAD, "?")
        finally:
            await client.aclose()

    assert asyncio.run(conversation()) is sees


def doubts(cloud: ScriptedCloud, **options) -> str:
    async def conversation() -> str:
        client = CloudClient(cloud.base_url, **options)
        try:
            return await client.doubts(await client.ask(UPLOAD, "?"), UPLOAD, "?")
        finally:
            await client.aclose()

    return asyncio.run(conversation())


@pytest.mark.parametrize(("image_tokens", "doubt"), [(99, ""), (101, ""), (49, "makes 49 tokens"), (0, "words alone")])
def test_a_server_that_reduces_images_further_than_qwens_processor_is_found_out(
    cloud: ScriptedCloud, image_tokens: int, doubt: str
) -> None:
    cloud.answer = by_words(80 + image_tokens, 80)  # 320x240 become 308x252: 11 by 9 tokens
    said = doubts(cloud, box_format="pixels_qwen2_5")
    assert doubt in said
    assert bool(doubt) == bool(said)


def test_where_boxes_do_not_depend_on_the_size_the_server_may_reduce_as_it_likes(cloud: ScriptedCloud) -> None:
    cloud.answer = by_words(100, 80)
    assert doubts(cloud, box_format="relative_1000") == ""


# -- structured output -------------------------------------------------------------------------------------------------


NO_SCHEMAS = Reply({"error": {"message": "response_format json_schema is not supported with this model"}}, status=400)


def with_schema(request: Request) -> bool:
    return "response_format" in request.body


def refusing(request: Request) -> Reply:
    return NO_SCHEMAS if with_schema(request) else completion()


def test_the_reply_is_asked_for_with_its_schema(cloud: ScriptedCloud) -> None:
    result = ask_once(cloud.base_url, max_regions=3)
    schema = cloud.chats[0].body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["regions"]["maxItems"] == 3
    assert (result.text, result.note) == ("acid, left", "")


def test_off_asks_by_words_alone(cloud: ScriptedCloud) -> None:
    ask_once(cloud.base_url, structured_output="off")
    assert not with_schema(cloud.chats[0])


def test_a_server_that_refuses_schemas_answers_the_same_keyframe_and_is_asked_without_from_then_on(
    cloud: ScriptedCloud,
) -> None:
    cloud.answer = refusing
    results = ask(cloud.base_url, times=3)
    assert [result.status for result in results] == [Status.OK] * 3
    assert [with_schema(request) for request in cloud.chats] == [True, False, False, False]
    assert [bool(result.note) for result in results] == [True, False, False]
    assert "takes no JSON schema" in results[0].note
    assert results[0].bytes_up > 1.5 * results[1].bytes_up


def test_who_insists_on_a_schema_is_refused_with_the_reason(cloud: ScriptedCloud) -> None:
    cloud.answer = refusing
    result = ask_once(cloud.base_url, structured_output="on")
    assert result.status is Status.REJECTED
    assert "response_format" in result.error
    assert len(cloud.chats) == 1


def test_a_server_that_refuses_everything_is_not_asked_twice_for_ever(cloud: ScriptedCloud) -> None:
    cloud.answer = lambda request: Reply("Bad Request", status=400)
    results = ask(cloud.base_url, model="m", times=3)
    assert [result.status for result in results] == [Status.REJECTED] * 3
    assert [with_schema(request) for request in cloud.chats] == [True, False, True, True]


def test_the_schema_is_no_reason_to_wait_longer_than_the_timeout(cloud: ScriptedCloud) -> None:
    cloud.answer = lambda request: NO_SCHEMAS if with_schema(request) else completion(hold=60.0)
    start = time.monotonic()
    assert ask_once(cloud.base_url, timeout=1.5).status is Status.TIMEOUT
    assert time.monotonic() - start < 30.0


@pytest.mark.parametrize("prose", ["The cart is on the left.", "左边", "  <think>Hm.</think> On the left."])
def test_a_server_that_ignores_the_schema_still_answers_and_is_found_out(cloud: ScriptedCloud, prose: str) -> None:
    cloud.answer = lambda request: completion(prose)
    results = ask(cloud.base_url, times=3)
    assert [result.status for result in results] == [Status.OK] * 3
    assert [with_schema(request) for request in cloud.chats] == [True, False, False]
    assert ["ignores it" in result.note for result in results] == [True, False, False]


def test_an_essay_for_a_schema_is_unparsable_and_tells_that_it_was_ignored(cloud: ScriptedCloud) -> None:
    cloud.answer = lambda request: completion("I see a long corridor with shelves. " * 20)
    result = ask_once(cloud.base_url)
    assert result.status is Status.UNPARSABLE
    assert "ignores it" in result.note
    assert not result.ill


# -- what a server does not take ---------------------------------------------------------------------------------------


def without(*fields: str):
    """A server that refuses these fields, as those do that are written with pydantic."""

    def answer(request: Request) -> Reply:
        odd = [name for name in fields if name in request.body]
        detail = [{"type": "extra_forbidden", "loc": ["body", n], "msg": "Extra inputs are not permitted"} for n in odd]
        return Reply({"detail": detail}, status=422) if odd else completion()

    return answer


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"max_completion_tokens"}, {"max_tokens", "temperature", "reasoning_effort"}),
        ({"max_completion_tokens", "max_tokens"}, {"temperature", "reasoning_effort"}),
        ({"temperature"}, {"max_completion_tokens", "reasoning_effort"}),
        ({"temperature", "reasoning_effort"}, {"max_completion_tokens"}),
    ],
)
def test_a_field_that_is_refused_is_left_out_for_the_same_keyframe_and_from_then_on(
    cloud: ScriptedCloud, fields: set[str], kept: set[str]
) -> None:
    cloud.answer = without(*fields)
    results = ask(cloud.base_url, times=3, reasoning_effort="none")
    assert [result.status for result in results] == [Status.OK] * 3
    *_, first, second, third = (request.body for request in cloud.chats)
    for body in (first, second, third):
        assert {"max_completion_tokens", "max_tokens", "temperature", "reasoning_effort"} & body.keys() == kept
    assert len(cloud.chats) <= 3 + len(fields)
    assert [bool(result.note) for result in results] == ["reasoning_effort" in fields, False, False]


def test_a_refusal_that_stays_is_not_remembered(cloud: ScriptedCloud) -> None:
    cloud.answer = lambda request: Reply("temperature? no.", status=400)
    assert ask_once(cloud.base_url, structured_output="off").status is Status.REJECTED
    assert ["temperature" in request.body for request in cloud.chats] == [True, False]


@pytest.mark.parametrize("content", ['{"answer": "left"', "<think>Hm. Left"])
def test_what_was_paid_for_without_an_answer_is_counted(cloud: ScriptedCloud, content: str) -> None:
    reply = completion("<think>Hm. Left")
    reply.body["choices"][0]["finish_reason"] = "length"
    cloud.answer = lambda request: reply
    result = ask_once(cloud.base_url)
    assert (result.status, result.ill, result.completion_tokens) == (Status.UNPARSABLE, False, 20)
    assert "20 tokens went into thinking" in result.error
    assert "reasoning_effort" in result.error


# -- how the model counts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "reply", "told"),
    [
        ("Qwen2.5-VL-72B-Instruct", '{"bbox_2d": [77, 56, 154, 112], "label": "it"}', "308 wide and 252 high"),
        ("Qwen3-VL-8B-Instruct", '{"bbox_2d": [250, 222.2, 500, 444.4], "label": "it"}', "from 0 to 1000"),
        ("gemini-2.5-flash", '{"box_2d": [222.2, 250, 444.4, 500], "label": "it"}', '"box_2d": [y0, x0, y1, x1]'),
    ],
)
def test_auto_asks_and_reads_as_the_models_family_counts(
    cloud: ScriptedCloud, model: str, reply: str, told: str
) -> None:
    cloud.answer = lambda request: completion(f'{{"answer": "x", "regions": [{reply}]}}')
    result = ask_once(cloud.base_url, model=model, box_format="auto")
    box = result.regions[0]
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((160.0, 106.67, 320.0, 213.33), abs=0.02)
    assert told in cloud.chats[0].body["messages"][0]["content"]


def test_behind_a_gateways_alias_the_name_in_its_replies_tells_the_family(cloud: ScriptedCloud) -> None:
    reply = completion()
    reply.body["model"] = "Qwen/Qwen2.5-VL-72B-Instruct"
    cloud.answer = lambda request: reply
    ask(cloud.base_url, model="fleet-vlm", box_format="auto", times=2)
    first, second = (request.body["messages"][0]["content"] for request in cloud.chats)
    assert "from 0 to 1000" in first
    assert "308 wide and 252 high" in second


@pytest.mark.parametrize("box", ["[100, 100, 200, 200]", "[100, 100, 1200, 200]"])
def test_the_boxes_of_an_aliass_first_reply_are_counted_and_not_believed(cloud: ScriptedCloud, box: str) -> None:
    reply = completion(f'{{"answer": "x", "regions": [{{"bbox_2d": {box}}}]}}')
    reply.body["model"] = "Qwen/Qwen2.5-VL-72B-Instruct"
    cloud.answer = lambda request: reply
    first, second = ask(cloud.base_url, model="fleet-vlm", box_format="auto", times=2)
    assert (first.text, first.regions, first.regions_dropped, first.note) == ("x", (), 1, "")
    assert len(second.regions) + second.regions_foreign == 1


@pytest.mark.parametrize(("finish", "status"), [("length", Status.UNPARSABLE), ("stop", Status.OK), (None, Status.OK)])
def test_prose_that_the_server_cut_is_no_answer(cloud: ScriptedCloud, finish: str | None, status: Status) -> None:
    reply = completion("It is not safe to")
    reply.body["choices"][0]["finish_reason"] = finish
    cloud.answer = lambda request: reply
    assert ask_once(cloud.base_url).status is status


def test_boxes_without_an_answer_are_counted(cloud: ScriptedCloud) -> None:
    cloud.answer = lambda request: completion('[{"bbox_2d": [100, 100, 200, 200], "label": "cart"}]')
    result = ask_once(cloud.base_url)
    assert (result.status, result.regions_dropped) == (Status.UNPARSABLE, 1)


def test_a_model_that_counts_in_another_way_gives_words_without_regions_and_is_told_of_once(
    cloud: ScriptedCloud,
) -> None:
    cloud.answer = lambda request: completion('{"answer": "x", "regions": [{"bbox_2d": [900, 100, 1200, 600]}]}')
    results = ask(cloud.base_url, times=2)
    assert [(result.text, result.regions, result.regions_foreign) for result in results] == [("x", (), 1)] * 2
    assert "box_format = relative_1000" in results[0].note
    assert results[1].note == ""
