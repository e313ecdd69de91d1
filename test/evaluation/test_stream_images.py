# SPDX-License-Identifier: Apache-2.0
"""Images of a bag by their capture times."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import yaml

from edgevlm_ros.assets import share_dir
from edgevlm_ros.bag_types import BagError
from edgevlm_ros.bags import BagReader
from edgevlm_ros.evaluation import stream_images
from edgevlm_ros.evaluation.streams import open_stream
from support.small_bag import SmallBag, stamp, whole


@pytest.mark.parametrize("kind", ["jpeg", "raw", "jpeg beyond the memory"])
def test_a_frame_comes_back_from_every_kind_of_image(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "beyond" in kind:
        monkeypatch.setattr(stream_images, "HELD_BYTES", 2_000)
    with SmallBag(tmp_path / "bag") as bag:
        bag.question(0)
        for index in range(8):  # two at each time of recording
            (bag.raw if kind == "raw" else bag.jpeg)(float(index), recorded=float(index // 2))
    stream = pickle.loads(pickle.dumps(open_stream(tmp_path / "bag")))
    assert ("beyond" in kind) == (0 < len(stream.images._held) < 8)
    values = [int(stream.frame(each).image.mean()) for each in stream.stamps]
    assert all(abs(value - 20 * index) < 3 for index, value in enumerate(values))


def test_a_bag_is_opened_once_for_all_its_frames_and_closed_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = []
    for name in ("one", "other"):
        with SmallBag(tmp_path / name) as bag:
            bag.question(0)
            for index in range(8):
                bag.raw(float(index))
        streams.append(open_stream(tmp_path / name))
    opened: list[BagReader] = []

    class Reader(BagReader):
        def __enter__(self) -> BagReader:
            opened.append(self)
            return super().__enter__()

    monkeypatch.setattr(stream_images, "BagReader", Reader)
    for stream in streams:
        for each in (*stream.stamps, *stream.stamps):
            stream.frame(each)
    one, other = opened
    assert other.topics
    del stream, streams
    for reader in (one, other):
        with pytest.raises(BagError, match="not open"):
            reader.topics  # noqa: B018


def test_an_upload_is_what_the_bridge_would_send(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "raw") as bag:
        bag.question(0)
        bag.raw(0)
        bag.raw(1)
    raw, jpeg = open_stream(tmp_path / "raw"), open_stream(whole(tmp_path / "jpeg"))
    for stream in (raw, jpeg):
        upload = stream.upload(stamp(1))
        assert stream.jpeg_bytes(stamp(1)) == stream.jpeg_bytes(stamp(1)) == len(upload.jpeg)
        assert (upload.width, upload.height) == (64, 48)
    defaults = yaml.safe_load((share_dir() / "config" / "edgevlm.yaml").read_text())["/**"]["cloud_bridge_node"]
    assert defaults["ros__parameters"]["max_side"] == stream_images.MAX_SIDE
    assert defaults["ros__parameters"]["jpeg_quality"] == stream_images.JPEG_QUALITY
