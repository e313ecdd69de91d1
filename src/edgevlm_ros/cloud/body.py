# SPDX-License-Identifier: Apache-2.0
"""The text of an HTTP response's body, which comes in pieces, of bounded length.

The clients ask for plain UTF-8. Some gateways compress all the same, and some servers begin with a byte order mark or
write UTF-16; the first bytes tell both.
"""

import codecs
import json
import zlib
from typing import Any

from edgevlm_ros.cloud.failures import Unparsable

_GZIP = b"\x1f\x8b"
_HEAD = 4
"""Bytes that tell the encoding of JSON (RFC 4627, 3)."""


class BodyText:
    """limit: bytes that are read, and that they may become when they are unpacked."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._read = self._unpacked = 0
        self._packed = self._plain = b""  # until there are enough bytes to tell
        self._gzip: Any = None
        self._decoder: codecs.IncrementalDecoder | None = None

    def add(self, chunk: bytes, last: bool = False) -> str:
        """The text that is known with the next bytes. last: nothing follows. Raises Unparsable."""
        self._read += len(chunk)
        plain = self._unpack(chunk, last)
        self._unpacked += len(plain)
        if max(self._read, self._unpacked) > self._limit:
            raise Unparsable(f"the reply is longer than {self._limit} bytes")
        self._plain += plain
        if self._decoder is None:
            if len(self._plain) < _HEAD and not last:
                return ""
            self._decoder = codecs.getincrementaldecoder(json.detect_encoding(self._plain))("replace")
        plain, self._plain = self._plain, b""
        return self._decoder.decode(plain, last)

    def _unpack(self, chunk: bytes, last: bool) -> bytes:
        if self._gzip is None:
            self._packed += chunk
            if len(self._packed) < len(_GZIP) and not last:
                return b""
            self._gzip = zlib.decompressobj(zlib.MAX_WBITS | 16) if self._packed.startswith(_GZIP) else False
            chunk = self._packed
        if not self._gzip:
            return chunk
        try:
            return bytes(self._gzip.decompress(chunk, self._limit - self._unpacked + 1))
        except zlib.error as error:
            raise Unparsable(f"the reply begins as gzip and is none ({error})") from None
