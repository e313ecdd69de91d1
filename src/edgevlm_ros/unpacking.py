# SPDX-License-Identifier: Apache-2.0
"""Decompression of a bag's parts, with a bound: a few kilobytes of zstd can claim gigabytes.

Chunks and messages are unpacked in memory, files into a temporary folder. What is packed much more densely than
recordings are may not be large.
"""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.storage_mcap import DECOMPRESSORS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_DENSITY = 200
_IN_MEMORY, _ON_DISK = 64 << 20, 1 << 30
"""Bytes that may be unpacked from however few; more only from at least a 200th. Real images are packed to a half or a
tenth; those of a black camera or of a simulation that stands still to a thousandth, but a chunk of rosbag2 has 1 MB."""
_BLOCK = 1 << 20
_HEADER = 18  # a zstd frame's header at most, RFC 8878


class TooLargeError(ReaderError):
    """Something that claims, or has, far more than its packed bytes can hold of a recording."""


def most(packed: int, least: int = _IN_MEMORY) -> int:
    """Bytes that may be unpacked from so many."""
    return max(least, _DENSITY * packed)


def check(what: str, unpacked: int, packed: int, least: int = _IN_MEMORY) -> None:
    """Raises TooLargeError for so many bytes from so few. what: that is unpacked, for people."""
    if unpacked > most(packed, least):
        raise TooLargeError(
            f"{what} unpacks from {packed} bytes to {unpacked} or more, which no recording does; if it is one, unpack "
            "it by hand (unzstd, mcap decompress) and name the file that comes of it"
        )


def unzstd(data: bytes, size: int | None = None) -> bytes:
    """All frames of data. size: what they should have; one byte more is read at most. Without it TooLargeError may be
    raised."""
    parts, rest = [], data
    left = 1 + (most(len(data)) if size is None else size)
    while rest and left:
        frame = zstd.ZstdDecompressor()
        part = frame.decompress(rest, left)
        parts.append(part)
        left -= len(part)
        if left and not frame.eof:
            raise ReaderError("Compressed data end early.")
        rest = frame.unused_data
    if size is None:
        check("a message", sum(map(len, parts)), len(data))
    return b"".join(parts)


def _chunk_of_zstd(data: bytes, size: int) -> bytes:
    check("a chunk", size, len(data))
    return unzstd(data, size)


def _chunk_of_lz4(data: bytes, size: int) -> bytes:
    check("a chunk", size, len(data))
    return bytes(LZ4FrameDecompressor().decompress(data, size + 1))


# rosbags unpacks a chunk whole before it looks at the size that the file tells
DECOMPRESSORS.update(zstd=_chunk_of_zstd, lz4=_chunk_of_lz4)


def unpack_files(files: Collection[Path], folder: Path) -> list[Path]:
    """Files that rosbag2 has compressed with zstd, unpacked in a folder. Raises ReaderError, before anything is
    written where the files tell their size."""
    needed = sum(map(_size, files))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ReaderError(_no_room(folder, f"its files unpack to {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free"))
    return [_unpack_file(file, folder) for file in files]


def _size(file: Path) -> int:
    """Of what a file unpacks to; 0 if it does not tell."""
    with file.open("rb") as packed:
        try:
            size = zstd.get_frame_info(packed.read(_HEADER)).decompressed_size or 0
        except zstd.ZstdError as error:
            raise ReaderError(f"{file.name} is no zstd file: {error}") from None
    check(file.name, size, file.stat().st_size, _ON_DISK)
    return size


def _unpack_file(file: Path, folder: Path) -> Path:
    unpacked, written = folder / file.stem, 0
    try:
        with zstd.open(file, "rb") as packed, unpacked.open("wb") as out:
            while block := packed.read(_BLOCK):
                written += len(block)
                check(file.name, written, file.stat().st_size, _ON_DISK)
                out.write(block)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise ReaderError(_no_room(folder, f"{file.name} unpacks to more than the {written / 1e6:.0f} MB")) from None
    return unpacked


def _no_room(folder: Path, why: str) -> str:
    return f"no room to unpack it in {folder.parent} ({why}): set TMPDIR to a folder with more"
