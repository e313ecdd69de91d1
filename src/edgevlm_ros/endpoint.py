# SPDX-License-Identifier: Apache-2.0
"""Where an OpenAI-compatible server is and the key that opens it, checked before anything is sent."""

import ipaddress
import os
from pathlib import Path

import httpx


class EndpointError(ValueError):
    """The way to a server is misconfigured; the message names the parameter."""


def load_api_key(env: str = "", file: str = "") -> str:
    """The key from the environment variable of this name, or from this file; empty if neither is named."""
    if env and file:
        raise EndpointError("api_key_env and api_key_file are both set: give one of them")
    key, source = "", ""
    if env:
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


def check_base_url(base_url: str, parameter: str = "base_url") -> httpx.URL:
    """The URL of an endpoint, or EndpointError about the parameter that holds it."""
    example = "expected something like http://127.0.0.1:8765/v1"
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise EndpointError(f"{parameter} = {base_url!r}: {error}; {example}") from error
    if url.userinfo:
        raise EndpointError(f"{parameter} holds a user name or password: put the key in api_key_env or api_key_file")
    if url.scheme not in ("http", "https") or not url.host:
        raise EndpointError(f"{parameter} = {base_url!r}: not an http or https URL with a host; {example}")
    return url


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
