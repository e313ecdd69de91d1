# SPDX-License-Identifier: Apache-2.0
"""Where an OpenAI-compatible server is and the key that opens it, checked before anything is sent."""

import functools
import ipaddress
import os
import re
from bisect import bisect_right
from html.entities import codepoint2name
from itertools import accumulate
from pathlib import Path

import httpx

from edgevlm_ros.words import clean_text

DEFAULT_PORT = 8488
"""Of `edgevlm serve`. foxglove_bridge, which runs on many robots, listens on 8765."""

BUNDLED_URL = f"http://127.0.0.1:{DEFAULT_PORT}/v1"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PASSWORD = re.compile(r"//[^/]*@")
_LONGEST_QUOTED = 1 << 20
"""Characters that are searched for the key, a fifth of a second, for the sake of a line."""


class EndpointError(ValueError):
    """The way to a server is misconfigured; the message names the parameter and never a secret."""


def load_api_key(env: str = "", file: str = "") -> str:
    """The key from the environment variable of this name, or from this file; empty if neither is named."""
    if env and file:
        raise EndpointError("api_key_env and api_key_file are both set: give one of them")
    key, source = "", ""
    if env:
        if not _NAME.fullmatch(env):  # not repeated: it may be the key itself
            raise EndpointError(
                "api_key_env is no name of an environment variable: put the key into a variable or a file, "
                "its name here, and change the key if it stood here"
            )
        source = f"api_key_env = {env!r}: the environment variable"
        key = os.environ.get(env, "").strip()
    elif file:
        source = f"api_key_file = {file!r}: the file"
        try:
            key = Path(file).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise EndpointError(f"{source} cannot be read ({type(error).__name__})") from error
    if source and not key:
        raise EndpointError(f"{source} is empty or not set")
    if any(not 33 <= ord(character) <= 126 for character in key):
        raise EndpointError(f"{source} holds more than a key: printable characters on one line are expected")
    return key


def check_base_url(
    base_url: str, parameter: str = "base_url", *, allow_http: bool = False, permission: str = "set allow_http to true"
) -> httpx.URL:
    """The URL of an endpoint, or EndpointError about the parameter that holds it.

    allow_http: whether frames and the key may travel unencrypted to another machine; permission: how
    one says so. To this machine http is as good as https.
    """
    example = f"expected something like {BUNDLED_URL}"
    shown = _PASSWORD.sub("//***@", base_url).partition("?")[0]
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise EndpointError(f"{parameter} = {shown!r} is no URL; {example}") from error
    if url.userinfo:
        raise EndpointError(f"{parameter} holds a user name or password: put the key in api_key_env or api_key_file")
    if url.query or url.fragment:
        raise EndpointError(f"{parameter} holds more than a path: put a key in api_key_env or api_key_file; {example}")
    if url.scheme not in ("http", "https") or not url.host:
        raise EndpointError(f"{parameter} = {shown!r}: not an http or https URL with a host; {example}")
    if url.scheme == "http" and not is_loopback(url.host) and not allow_http:
        raise EndpointError(
            f"{parameter} = {shown!r}: http to another machine shows the frames and the key to the network between. "
            f"Use https, or, in a network that you trust, {permission}"
        )
    return url


def redacted(text: str, key: str) -> str:
    """The text with *** for each place in which the key stands, in plain or as JSON, URLs and HTML spell it.

    A server may repeat the key that it did not like. To be called before a text is cut: of half a key nothing is found.
    What may stand between two characters of the key is whatever words.plain takes out, which would make it whole again.
    Takes time in proportion to the text, whatever it is: one regular expression for the key and all that may stand
    within would begin anew at each escape of a long row of them.
    """
    if key:
        for unseen in _UNSEEN:
            text = _redacted_without(unseen, text, _spellings(key))
    return text


def quoted(text: str, key: str, max_chars: int) -> str:
    """What a server said, fit for a message, a log and a screen: one line of printable text, without the key."""
    if len(text) > _LONGEST_QUOTED:
        return f"{len(text)} characters"
    return clean_text(redacted(text, key)[: 8 * max_chars], max_chars)


def _redacted_without(unseen: re.Pattern[str], text: str, key: re.Pattern[str]) -> str:
    """The text with *** for each place that is the key once what cannot be seen is left out."""
    edges = [0, *(edge for run in unseen.finditer(text) for edge in run.span()), len(text)]
    starts, ends = edges[::2], edges[1::2]  # of what can be seen
    offsets = list(accumulate((end - start for start, end in zip(starts, ends, strict=True)), initial=0))
    seen = "".join(text[start:end] for start, end in zip(starts, ends, strict=True))

    def place(at: int) -> int:
        piece = bisect_right(offsets, at) - 1
        return starts[piece] + at - offsets[piece]

    kept, end = [], 0
    for match in key.finditer(seen):
        kept += [text[end : place(match.start())], "***"]
        end = place(match.end() - 1) + 1
    return "".join([*kept, text[end:]])


_ESCAPE = r"\\{1,3}(?:u(?!00[2-7])[0-9a-fA-F]{4}|x(?![2-7])[0-9a-fA-F]{2})"
_UNSEEN = (re.compile(r"[^ -~]+"), re.compile(rf"(?:[^ -~]|{_ESCAPE})+"))
"""What cannot be seen in a text as it stands, and once its escapes (JSON, Python) are read."""


@functools.lru_cache(16)
def _spellings(key: str) -> re.Pattern[str]:
    def spellings(character: str) -> str:
        code = ord(character)
        named = codepoint2name.get(code)
        return (
            rf"(?:\\{{0,3}}{re.escape(character)}|\\{{1,3}}u00(?i:{code:02x})|%(?i:{code:02x})"
            rf"|&#0*{code};|&#[xX]0*(?i:{code:x});{f'|&{named};' if named else ''})"
        )

    return re.compile("".join(map(spellings, key)))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
