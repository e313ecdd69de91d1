# SPDX-License-Identifier: Apache-2.0
"""Does the large model's server answer, take the key and have the model, and how far away is it?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

from edgevlm_ros.doctor.finding import Finding, fail, ok, warn
from edgevlm_ros.words import clean_text

_TIMEOUT_S = 10.0
_ROUND_TRIPS = 3
_MAX_BODY = 1 << 20
_PERMISSION = "give --cloud-allow-http here and set the bridge's allow_http"


def check(base_url: str, model: str = "", key_env: str = "", allow_http: bool = False) -> Iterator[Finding]:
    """As the bridge's base_url, model, api_key_env and allow_http. Nothing is asked that costs money."""
    import httpx

    from edgevlm_ros.endpoint import EndpointError, check_base_url, is_loopback, load_api_key, quoted, redacted

    try:
        url = check_base_url(base_url, "--cloud-url", allow_http=allow_http, permission=_PERMISSION)
        key = load_api_key(env=key_env)
    except EndpointError as error:
        yield fail("endpoint", str(error).replace("api_key_env", "--cloud-key-env"), "")
        return
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})
    took: list[float] = []
    try:
        with httpx.Client(
            base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=not is_loopback(url.host)
        ) as client:
            for _ in range(1 + _ROUND_TRIPS):  # the first one also connects
                began = time.monotonic()
                with client.stream("GET", "models") as response:
                    body = _read(response.iter_raw())
                took.append(time.monotonic() - began)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = quoted(str(error), key, 160) or type(error).__name__
        yield fail(
            "endpoint",
            f"no reply from {url} ({reason})",
            "is the server running, and are the URL and the network right?",
        )
        return
    text, location = (
        redacted(said, key) for said in (body.decode(errors="replace"), response.headers.get("location", ""))
    )
    yield replied(response.status_code, text, str(url), location)
    if response.status_code == 200:
        yield lists(text, model)
        yield distance(took)


def _read(chunks: Iterator[bytes]) -> bytes:
    body = b""
    for chunk in chunks:
        body += chunk
        if len(body) > _MAX_BODY:
            break
    return body


def replied(code: int, text: str, url: str, location: str = "") -> Finding:
    """To GET /models."""
    said = clean_text(text[:1000], 120)
    words = f"{url} answers with HTTP {code}{f': {said}' if said and code != 200 else ''}"
    if code == 200:
        return ok("endpoint", f"{url} answers")
    if code in (401, 403):
        return fail("endpoint", words, "name the environment variable of the server's key with --cloud-key-env")
    if 300 <= code < 400:
        return fail("endpoint", words, f"take the URL it points to: {clean_text(location[:1000], 200)}")
    if code >= 500:
        return fail("endpoint", words, "the server is ill: see its log")
    if code == 404:
        return warn("endpoint", words, "if the URL ends in /v1, the server lists no models, which may be; name one")
    return fail("endpoint", words, "check the URL, which usually ends in /v1")


def lists(text: str, wanted: str) -> Finding:
    """text: the reply to GET /models. wanted: the model that the bridge asks for, empty for the first."""
    import json

    try:
        listing: Any = json.loads(text)
        names = [clean_text(str(each["id"])[:1000], 100) for each in listing["data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return fail(
            "cloud model", "the reply to /models is no list of models", "check the URL, which usually ends in /v1"
        )
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    if not names:
        return warn("cloud model", "the server lists none", "load one, or name it with cloud_model")
    if not wanted:
        first = f"{names[0]}, the first of {len(names)}" if len(names) > 1 else names[0]
        return ok("cloud model", f"{first}; does it see images?")
    if wanted not in names:
        return fail("cloud model", f"{wanted} is not among {shown}", "name one of these with cloud_model")
    return ok("cloud model", wanted)


def distance(took: list[float]) -> Finding:
    """took: seconds of requests one after the other; the first also connected."""
    again = statistics.median(took[1:])
    words = (
        f"{again * 1e3:.0f} ms there and back, {took[0] * 1e3:.0f} ms with connecting; the model's time comes on top"
    )
    return ok("round trip", words)
