# SPDX-License-Identifier: Apache-2.0
import html
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevlm_ros.endpoint import (
    BUNDLED_URL,
    EndpointError,
    check_base_url,
    is_loopback,
    load_api_key,
    quoted,
    redacted,
)
from edgevlm_ros.words import clean_text

KEY = "sk-canary-0123456789"


def test_the_key_comes_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A_KEY", f" {KEY}\n")
    (tmp_path / "key").write_text(KEY + "\n")
    assert load_api_key(env="A_KEY") == load_api_key(file=str(tmp_path / "key")) == KEY
    assert load_api_key() == ""


def test_a_key_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    monkeypatch.setenv("TWO_LINES", f"{KEY}\nX-Header: {KEY}")
    (tmp_path / "empty").write_text("\n")
    for named, message in [
        ({"env": "A_KEY"}, "api_key_env = 'A_KEY'"),
        ({"file": str(tmp_path / "none")}, "cannot be read"),
        ({"file": str(tmp_path / "empty")}, "is empty"),
        ({"env": "TWO_LINES"}, "holds more than a key"),
        ({"env": "A_KEY", "file": "key"}, "both set"),
    ]:
        with pytest.raises(EndpointError, match=message) as caught:
            load_api_key(**named)
        assert KEY not in str(caught.value)


def test_a_key_that_was_set_as_the_name_of_its_variable_is_not_repeated() -> None:
    with pytest.raises(EndpointError, match="change the key") as caught:
        load_api_key(env=KEY)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("base_url", ["", "127.0.0.1:8000", "ftp://host/v1", "http://", "http://host:port/v1", "/v1"])
def test_a_base_url_that_is_none_is_named(base_url: str) -> None:
    with pytest.raises(EndpointError, match="base_url") as caught:
        check_base_url(base_url)
    assert BUNDLED_URL in str(caught.value)


@pytest.mark.parametrize(
    "base_url",
    [
        f"https://user:{KEY}@host/v1",
        f"https://{KEY}@host/v1",
        f"ftp://user:{KEY}@host",
        f"https://user:{KEY}@host:port/v1",
        f"https://host/v1?key={KEY}",
        f"https://host:port/v1?key={KEY}",
        f"https://host/v1#{KEY}",
    ],
)
def test_a_secret_in_the_base_url_is_refused_and_not_repeated(base_url: str) -> None:
    with pytest.raises(EndpointError, match="base_url") as caught:
        check_base_url(base_url)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["10.0.0.2:8000", "gpu-box.local:8000", "0.0.0.0:80", "[fe80::1]:80", "127.0.0.1.nip.io"]
)
def test_plain_http_to_another_machine_needs_to_be_allowed_and_the_error_says_how(host: str) -> None:
    with pytest.raises(EndpointError, match=r"server_url = .*set server_allow_http to true"):
        check_base_url(f"http://{host}/v1", "server_url", permission="set server_allow_http to true")
    assert check_base_url(f"http://{host}/v1", allow_http=True).scheme == "http"
    assert check_base_url(f"https://{host}/v1").scheme == "https"


@pytest.mark.parametrize("host", ["127.0.0.1:8488", "127.9.9.9", "[::1]:8488", "localhost:1"])
def test_plain_http_to_this_machine_is_as_good_as_https(host: str) -> None:
    assert check_base_url(f"http://{host}/v1").scheme == "http"


def test_the_parameter_at_fault_is_named() -> None:
    with pytest.raises(EndpointError, match="server_url = ''"):
        check_base_url("", "server_url")


ODD = "sk-a+b/c=&<>\"'\\\\d"


@pytest.mark.parametrize(
    "spelt",
    [ODD, json.dumps(ODD)[1:-1], quote(ODD, safe=""), html.escape(ODD), "".join(f"\\u00{ord(c):02x}" for c in ODD)],
)
def test_a_key_is_found_however_it_is_spelt(spelt: str) -> None:
    assert redacted(f"no such key: '{spelt}'!", ODD) == "no such key: '***'!"


INVISIBLE = st.text(st.sampled_from("\u200b\u200d\u2060\ufeff\u00ad\u202e\U000e0041\ue000\x00"), max_size=3)


@settings(deadline=None)
@given(st.lists(INVISIBLE, min_size=len(KEY), max_size=len(KEY)), st.integers(0, 2), st.booleans())
def test_a_key_that_is_split_by_what_cannot_be_seen_is_found_before_cleaning_joins_it(
    between: list[str], deep: int, ascii_only: bool
) -> None:
    text = "no such key: " + "".join(map(str.__add__, KEY, between))
    for _ in range(deep):  # JSON within JSON: a model's answer within a server's
        text = json.dumps(text, ensure_ascii=ascii_only)
    kept = redacted(text, KEY)
    for _ in range(deep):
        kept = json.loads(kept)
    assert clean_text(kept, 200) == "no such key: ***"


@pytest.mark.parametrize("spell", [str, quote, "\\u{:04x}", "%{:02x}", "&#{};", "&#x{:x};"])
def test_a_server_that_repeats_most_of_a_key_keeps_nobody_busy(spell: Any) -> None:
    most = KEY[:-1] + "\u200b"
    spelt = "".join(spell.format(ord(c)) for c in most) if isinstance(spell, str) else spell(most)
    # tries that grow with a power of the length of what was repeated end in pytest's time-out
    assert redacted(spelt * 1000, KEY) == spelt * 1000


@pytest.mark.parametrize("unit", [r"\ue00e", r"\\ue00e", "e\u200b", "\u200b", "e0", "&#0", "\\", r"\u"])
@pytest.mark.parametrize("key", ["e0123456789abcdef", "u00e" * 8, KEY])
def test_the_time_grows_with_the_length_of_the_text_alone(unit: str, key: str) -> None:
    def seconds(length: int) -> float:
        text = unit * (length // len(unit))
        times = []
        for _ in range(3):
            start = time.process_time()
            redacted(text, key)
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(80_000) < 3 * 8 * max(seconds(10_000), 1e-3)  # 64 times, if each part of it is gone over again


@pytest.mark.parametrize("end", [r"\ue00", r"\u200", "%e", "&#10"])
def test_what_stands_before_a_key_does_not_hide_it(end: str) -> None:
    key = "e0123456789abcdef"
    assert redacted(f"no such key: {end}{key}!", key) == f"no such key: {end}***!"


def test_a_quote_is_one_printable_line_of_bounded_length_without_the_key() -> None:
    said = f"\x1b[2Jno\n[ERROR] key {KEY} \ud800{'x ' * 500}"
    quote = quoted(said, KEY, 60)
    assert quote.startswith("[2Jno [ERROR] key *** x x")
    assert (quote.isprintable(), len(quote) <= 60) == (True, True)
    assert quoted("x" * 55 + KEY, KEY, 60) == "x" * 55 + "***"
    assert quoted("x" * (2 << 20), KEY, 60) == "2097152 characters"


def test_without_a_key_nothing_is_redacted() -> None:
    assert redacted("no such key: ''", "") == "no such key: ''"


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.2", False), ("a", False)]
)
def test_only_this_machine_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
