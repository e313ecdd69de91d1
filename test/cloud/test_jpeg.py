# SPDX-License-Identifier: Apache-2.0
import io

import numpy as np
import pytest
from PIL import Image

from edgevlm_ros.cloud.jpeg import Upload, as_it_is, encode


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
    assert as_it_is(jpeg + b"\0\0", max_side=640) is not None, "some cameras pad their JPEG with zeros"


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"not a JPEG", camera_jpeg(64, 48)[:-400], camera_jpeg(64, 48, "CMYK")],
    ids=["empty", "magic", "hollow", "other", "cut", "cmyk"],
)
def test_what_is_not_a_whole_colour_jpeg_must_be_decoded_first(data: bytes) -> None:
    assert as_it_is(data, max_side=640) is None


def test_a_jpeg_with_exif_data_must_be_decoded_first() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    file = io.BytesIO()
    Image.fromarray(picture(64, 48)).save(file, "JPEG", exif=exif)
    assert as_it_is(file.getvalue(), max_side=640) is None


def test_a_jpeg_that_is_too_large_must_be_decoded_first() -> None:
    assert as_it_is(camera_jpeg(641, 100), max_side=640) is None
