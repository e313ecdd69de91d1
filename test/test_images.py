# SPDX-License-Identifier: Apache-2.0
"""Every way a camera publishes pixels, and every way it can go wrong."""

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevlm_ros import images
from edgevlm_ros.images import ImageError, to_rgb

RED_BLUE = np.zeros((6, 8, 3), np.uint8)  # left half red, right half blue
RED_BLUE[:, :4, 0] = RED_BLUE[:, 4:, 2] = 255
SMOOTH = np.dstack([*np.meshgrid(np.arange(64), np.arange(48)), np.full((48, 64), 90)]).astype(np.uint8)
JPEG = images.to_jpeg(SMOOTH)
PNG = cv2.imencode(".png", SMOOTH[..., ::-1])[1].tobytes()


def raw(pixels: np.ndarray, encoding: str, **fields: Any) -> SimpleNamespace:
    """An Image as rosbags gives it."""
    height, width = pixels.shape[:2]
    step = pixels.nbytes // max(height, 1)
    data = pixels.tobytes()
    known = {"height": height, "width": width, "encoding": encoding, "is_bigendian": 0, "step": step, "data": data}
    return SimpleNamespace(**{**known, **fields})


def compressed(data: bytes, format: str = "jpeg") -> SimpleNamespace:
    return SimpleNamespace(format=format, data=np.frombuffer(data, np.uint8))


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RED_BLUE),
        ("bgr8", RED_BLUE[..., ::-1]),
        ("8UC3", RED_BLUE[..., ::-1]),
        ("rgba8", np.dstack([RED_BLUE, RED_BLUE[..., :1]])),
        ("bgra8", np.dstack([RED_BLUE[..., ::-1], RED_BLUE[..., :1]])),
        ("rgb16", RED_BLUE.astype("<u2") * 257),
        ("bgr16", RED_BLUE[..., ::-1].astype("<u2") * 257),
    ],
)
def test_colours_keep_their_places(encoding: str, pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(to_rgb(raw(np.ascontiguousarray(pixels), encoding)), RED_BLUE)


def test_big_endian_sixteen_bit_is_read_as_such() -> None:
    pixels = (RED_BLUE.astype(np.uint16) * 257 - 200 * (RED_BLUE > 0)).astype(">u2")
    np.testing.assert_array_equal(to_rgb(raw(pixels, "rgb16", is_bigendian=1)), RED_BLUE)


def test_gray_becomes_three_equal_channels() -> None:
    gray = SMOOTH[..., 0].copy()
    np.testing.assert_array_equal(to_rgb(raw(gray, "mono8")), np.dstack([gray] * 3))


@pytest.mark.parametrize(
    ("encoding", "red_at"),
    [("bayer_rggb8", (0, 0)), ("bayer_bggr8", (1, 1)), ("bayer_gbrg8", (1, 0)), ("bayer_grbg8", (0, 1))],
)
def test_bayer_mosaic_of_a_red_wall_is_red(encoding: str, red_at: tuple[int, int]) -> None:
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[red_at[0] :: 2, red_at[1] :: 2] = 200
    red, green, blue = to_rgb(raw(mosaic, encoding))[2:6, 2:6].reshape(-1, 3).mean(0)
    assert red > 150
    assert green < 10
    assert blue < 10


@pytest.mark.parametrize(("encoding", "luma"), [("yuv422", 1), ("uyvy", 1), ("yuv422_yuy2", 0), ("yuyv", 0)])
def test_yuv_finds_its_luma(encoding: str, luma: int) -> None:
    pixels = np.full((4, 6, 2), 128, np.uint8)
    pixels[..., luma] = 235
    assert to_rgb(raw(pixels, encoding)).min() > 250


def test_padding_at_the_end_of_rows_is_not_picture() -> None:
    padded = np.full((6, 32), 77, np.uint8)
    padded[:, :24] = RED_BLUE.reshape(6, 24)
    np.testing.assert_array_equal(to_rgb(raw(RED_BLUE, "rgb8", step=32, data=padded.tobytes())), RED_BLUE)


def test_result_is_its_own_memory() -> None:
    message = raw(RED_BLUE, "rgb8", data=bytearray(RED_BLUE.tobytes()))
    rgb = to_rgb(message)
    message.data[:] = bytes(len(message.data))
    np.testing.assert_array_equal(rgb, RED_BLUE)
    assert rgb.flags.writeable


@pytest.mark.parametrize("data", [JPEG, PNG, JPEG + bytes(100)], ids=["jpeg", "png", "jpeg padded by a driver"])
def test_compressed_is_what_it_was(data: bytes) -> None:
    np.testing.assert_allclose(to_rgb(compressed(data)).astype(int), SMOOTH.astype(int), atol=6)


def test_gray_jpeg_becomes_rgb() -> None:
    data = cv2.imencode(".jpg", SMOOTH[..., 0])[1].tobytes()
    assert to_rgb(compressed(data, "mono8; jpeg compressed mono8")).shape == (48, 64, 3)


@pytest.mark.parametrize("kept", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("data", [JPEG, PNG], ids=["jpeg", "png"])
def test_truncated_file_is_refused(data: bytes, kept: float) -> None:
    with pytest.raises(ImageError):
        to_rgb(compressed(data[: int(len(data) * kept)]))


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (raw(np.zeros((4, 4), np.uint16), "16UC1"), r"depth image.*allowed.*rgb8.*colour topic"),
        (raw(np.zeros((4, 4), np.float32), "32FC1"), r"depth image.*colour topic"),
        (raw(RED_BLUE, "h264"), r"'h264' is unknown; allowed are.*bgr8"),
        (raw(RED_BLUE, ""), r"is empty; allowed"),
        (raw(np.zeros((0, 0, 3), np.uint8), "rgb8"), "0x0"),
        (raw(RED_BLUE, "rgb8", data=b"", height=0), "8x0"),
        (raw(RED_BLUE, "rgb8", data=RED_BLUE.tobytes()[:-1]), r"143 bytes.*24 x 6 = 144"),
        (raw(RED_BLUE, "rgb8", step=0), r"step is 0.*24"),
        (raw(np.zeros((2, 3, 2), np.uint8), "yuyv"), "yuyv"),
        (compressed(b""), "empty"),
        (compressed(b"hello"), "neither JPEG nor PNG"),
        (compressed(PNG, "16UC1; compressedDepth png"), r"depth image.*colour topic"),
        (compressed(PNG, "16UC1; png compressed "), "depth image"),
        (compressed(JPEG[:200].replace(b"\x00\x30\x00\x40", b"\x00\x00\x00\x40", 1) + JPEG[200:]), "64x0"),
        (compressed(PNG[:16] + b"\x00\x00\xff\xff\x00\x00\xff\xff" + PNG[24:]), "65535x65535"),
    ],
)
def test_error_names_what_is_wrong(message: SimpleNamespace, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        to_rgb(message)


@settings(deadline=None, max_examples=300)
@given(
    data=st.one_of(
        st.binary(max_size=600),
        st.binary(max_size=60).map(lambda tail: b"\xff\xd8\xff" + tail),
        st.tuples(st.sampled_from([JPEG, PNG]), st.integers(0, len(PNG)), st.binary(max_size=8)).map(
            lambda t: t[0][: t[1]] + t[2] + t[0][t[1] + len(t[2]) :]
        ),
        st.tuples(st.sampled_from([JPEG, PNG]), st.integers(0, len(PNG))).map(lambda t: t[0][: t[1]]),
    ),
    format=st.sampled_from(["jpeg", "png", "", "rgb8; jpeg compressed bgr8", "compressedDepth"]),
)
def test_no_compressed_bytes_raise_anything_else(data: bytes, format: str) -> None:
    try:
        rgb = to_rgb(compressed(data, format))
    except ImageError as error:
        assert str(error)
    else:
        assert rgb.dtype == np.uint8
        assert rgb.ndim == 3


@settings(deadline=None, max_examples=300)
@given(
    encoding=st.one_of(st.sampled_from([*images.ENCODINGS, "16UC1", "32FC1"]), st.text(max_size=12)),
    height=st.integers(0, 6),
    width=st.integers(0, 6),
    padding=st.integers(-2, 9),
    bigendian=st.integers(0, 255),
    fill=st.binary(min_size=1, max_size=16),
)
def test_no_raw_fields_raise_anything_else(
    encoding: str, height: int, width: int, padding: int, bigendian: int, fill: bytes
) -> None:
    for pixel in (1, 2, 3, 4, 6, 8):
        step = max(0, width * pixel + padding)
        data = (fill * (step * height + 1))[: step * height]
        message = raw(RED_BLUE, encoding, height=height, width=width, step=step, data=data, is_bigendian=bigendian)
        try:
            assert to_rgb(message).shape == (height, width, 3)
        except ImageError as error:
            assert str(error)


def test_messages_survive_the_way_through_ros() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
    from rclpy.serialization import deserialize_message, serialize_message
    from sensor_msgs.msg import CompressedImage, Image
    from std_msgs.msg import Header

    header = Header(frame_id="camera")
    for encoding, pixels in (("bgr8", RED_BLUE[..., ::-1]), ("rgb8", RED_BLUE)):
        message = deserialize_message(serialize_message(images.to_image(header, pixels, encoding)), Image)
        assert (message.encoding, message.header.frame_id) == (encoding, "camera")
        np.testing.assert_array_equal(to_rgb(message), RED_BLUE)
    jpeg = deserialize_message(serialize_message(CompressedImage(format="jpeg", data=JPEG)), CompressedImage)
    assert to_rgb(jpeg).shape == (48, 64, 3)


def test_focus_map_keeps_its_floats() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
    from std_msgs.msg import Header

    focus = np.linspace(0, 1, 30, dtype=np.float32).reshape(5, 6)
    message = images.to_image(Header(), focus, "32FC1")
    assert (message.height, message.width, message.step) == (5, 6, 24)
    np.testing.assert_array_equal(np.frombuffer(message.data, np.float32).reshape(5, 6), focus)
