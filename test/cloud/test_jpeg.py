# SPDX-License-Identifier: Apache-2.0
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgevlm_ros.cloud.jpeg import Upload, as_it_is, encode, without_metadata
from edgevlm_ros.cloud.privacy import Area


def picture(width: int, height: int) -> np.ndarray:
    """Red on the left, blue on the right."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:, : width // 2, 0] = 255
    rgb[:, width // 2 :, 2] = 255
    return rgb


def decoded(upload: Upload) -> np.ndarray:
    with Image.open(io.BytesIO(upload.jpeg)) as image:
        assert image.format == "JPEG"
        return np.asarray(image)


def camera_jpeg(width: int, height: int, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(width, height)).convert(mode).save(file, "JPEG")
    return file.getvalue()


def test_a_small_image_keeps_its_size_and_colours() -> None:
    upload = encode(picture(64, 48), max_side=640, quality=90)
    assert (upload.width, upload.height, upload.source_width, upload.source_height) == (64, 48, 64, 48)
    rgb = decoded(upload)
    assert rgb[24, 5, 0] > 200
    assert rgb[24, 60, 2] > 200


@pytest.mark.parametrize(("size", "sent"), [((1280, 720), (640, 360)), ((100, 2000), (32, 640)), ((4000, 1), (640, 1))])
def test_a_large_image_is_reduced_to_max_side_and_its_own_size_remembered(size, sent) -> None:
    upload = encode(picture(*size), max_side=640, quality=80)
    assert (upload.width, upload.height) == sent
    assert (upload.source_width, upload.source_height) == size
    assert decoded(upload).shape == (sent[1], sent[0], 3)


def test_a_lower_quality_makes_fewer_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    assert len(encode(noise, 640, 30).jpeg) < len(encode(noise, 640, 95).jpeg) / 2


def test_a_camera_jpeg_that_is_small_enough_goes_up_as_it_is() -> None:
    jpeg = camera_jpeg(640, 480)
    assert as_it_is(jpeg, max_side=640) == Upload(jpeg, 640, 480, 640, 480)
    assert as_it_is(jpeg + b"\0\0", max_side=640) == Upload(jpeg, 640, 480, 640, 480), "some cameras pad with zeros"


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"not a JPEG", camera_jpeg(64, 48)[:-400], camera_jpeg(64, 48, "CMYK")],
    ids=["empty", "magic", "hollow", "other", "cut", "cmyk"],
)
def test_what_is_not_a_whole_colour_jpeg_must_be_decoded_first(data: bytes) -> None:
    assert as_it_is(data, max_side=640) is None


SECRET = b"52.5200 N 13.4050 E"


def talkative_jpeg(**options) -> bytes:
    """With all that a camera may tell beside the picture."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010E] = SECRET.decode()
    file = io.BytesIO()
    image = Image.fromarray(picture(64, 48))
    image.save(file, "JPEG", exif=exif, xmp=b"<x>" + SECRET, comment=SECRET, icc_profile=SECRET, **options)
    jpeg = file.getvalue()
    photoshop = b"Photoshop 3.0\0" + SECRET
    unknown = b"".join(
        b"\xff%c%b%b" % (m, (2 + len(photoshop)).to_bytes(2, "big"), photoshop) for m in (0xED, 0xEF, 0xE4)
    )
    thumbnail = b"\xff\xe0\x00\x13JFXX\0\x13\x01\x01" + bytes(9)
    return jpeg[:2] + unknown + thumbnail + jpeg[2:] + camera_jpeg(16, 16) + SECRET


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}], ids=str)
def test_of_a_cameras_jpeg_only_the_picture_goes_up(options) -> None:
    jpeg = talkative_jpeg(**options)
    upload = as_it_is(jpeg, max_side=640)
    assert upload is not None
    assert (upload.width, upload.height) == (64, 48)
    assert SECRET not in upload.jpeg
    assert b"Exif" not in upload.jpeg
    assert b"JFXX" not in upload.jpeg
    with Image.open(io.BytesIO(jpeg)) as image:
        np.testing.assert_array_equal(decoded(upload), np.asarray(image))
    assert as_it_is(upload.jpeg, max_side=640) == upload


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_whatever_bytes_come_a_jpeg_without_metadata_is_made_or_none(data) -> None:
    whole = bytearray(talkative_jpeg())
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)):
        whole[at] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    for jpeg in (cut, bytes(whole), data.draw(st.binary(max_size=40)), b"\xff\xd8" + data.draw(st.binary(max_size=40))):
        bare = without_metadata(jpeg)
        assert bare is None or (
            len(bare) <= len(jpeg) and bare.endswith(b"\xff\xd9") and without_metadata(bare) == bare
        )
        as_it_is(jpeg, max_side=640)


def test_what_is_hidden_is_hidden_in_what_goes_up() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (960, 1280, 3), np.uint8)
    upload = encode(noise, max_side=640, quality=90, hidden=[Area(0.0, 0.0, 1.0, 0.5)])
    assert upload.hidden == 1
    spread = decoded(upload).astype(float).std(axis=(1, 2))
    assert spread[:240].max() < 5 < 20 < spread[248:].min()
    assert encode(picture(64, 48), 640, 90).hidden == 0


def test_a_jpeg_that_is_too_large_must_be_decoded_first() -> None:
    assert as_it_is(camera_jpeg(641, 100), max_side=640) is None
