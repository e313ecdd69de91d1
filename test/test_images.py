# SPDX-License-Identifier: Apache-2.0
"""Every way a camera publishes pixels, and every way it can go wrong."""

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.image import image_to_cvimage

from edgevlm_ros import images
from edgevlm_ros.images import ENCODINGS, ImageError, to_rgb

RNG = np.random.default_rng(3)
RED_BLUE = np.zeros((6, 8, 3), np.uint8)  # left half red, right half blue
RED_BLUE[:, :4, 0] = RED_BLUE[:, 4:, 2] = 255
SMOOTH = np.dstack([*np.meshgrid(np.arange(64), np.arange(48)), np.full((48, 64), 90)]).astype(np.uint8)
JPEG = images.to_jpeg(SMOOTH)
PNG, TIFF, WEBP = (cv2.imencode(kind, SMOOTH[..., ::-1])[1].tobytes() for kind in (".png", ".tiff", ".webp"))
FILES = {"jpeg": JPEG, "png": PNG, "tiff": TIFF, "webp": WEBP}


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


@pytest.mark.parametrize(("encoding", "code"), [("nv12", cv2.COLOR_YUV2RGB_NV12), ("nv21", cv2.COLOR_YUV2RGB_NV21)])
@pytest.mark.parametrize("padding", [0, 5])
def test_luma_and_the_colours_behind_it_are_what_opencv_makes_of_them(encoding: str, code: int, padding: int) -> None:
    planes = RNG.integers(0, 256, (9, 8), dtype=np.uint8)
    data = np.pad(planes, ((0, 0), (0, padding)), constant_values=77).tobytes()
    message = raw(planes, encoding, height=6, width=8, step=8 + padding, data=data)
    np.testing.assert_array_equal(to_rgb(message), cv2.cvtColor(planes, code))


@pytest.mark.parametrize(("height", "width"), [(4, 6), (3, 5), (1, 1)])
def test_a_colour_for_each_pixel_behind_the_luma_gives_what_one_for_four_gives(height: int, width: int) -> None:
    luma = RNG.integers(0, 256, (height, width), dtype=np.uint8)
    colours = np.tile(np.array([90, 200], np.uint8), (height, width))
    message = raw(luma, "nv24", step=width, data=luma.tobytes() + colours.tobytes())
    even = np.zeros((height + 1) // 2 * 2 * 3 // 2 * ((width + 1) // 2 * 2), np.uint8).reshape(-1, (width + 1) // 2 * 2)
    even[:height, :width] = luma
    even[(height + 1) // 2 * 2 :] = np.tile(np.array([90, 200], np.uint8), (len(even) // 3, even.shape[1] // 2))
    np.testing.assert_array_equal(to_rgb(message), cv2.cvtColor(even, cv2.COLOR_YUV2RGB_NV12)[:height, :width])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("big", [0, 1])
def test_numbers_of_either_byte_order_and_width_give_the_same_picture(bits: int, big: int) -> None:
    dtype = np.dtype(f"{'>' if big else '<'}u{bits // 8}")
    scaled = (SMOOTH.astype(np.uint16) << (bits - 8)).astype(dtype)
    alpha = np.full_like(scaled[..., :1], 9)
    for encoding, pixels in {
        "rgb": scaled,
        "bgr": scaled[..., ::-1],
        "rgba": np.dstack([scaled, alpha]),
        "bgra": np.dstack([scaled[..., ::-1], alpha]),
    }.items():
        message = raw(np.ascontiguousarray(pixels.astype(dtype)), f"{encoding}{bits}", is_bigendian=big)
        np.testing.assert_array_equal(to_rgb(message), SMOOTH)
    gray = to_rgb(raw(scaled[..., 0].copy(), f"mono{bits}", is_bigendian=big))
    np.testing.assert_array_equal(gray, np.dstack([SMOOTH[..., 0]] * 3))


@settings(deadline=None, max_examples=200)
@given(
    encoding=st.sampled_from([name for name in ENCODINGS if not name.startswith("nv")]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 7),
    big=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_encoding_gives_what_rosbags_and_opencv_make_of_it(
    encoding: str, height: int, width: int, padding: int, big: bool, seed: int
) -> None:
    layout = images._LAYOUTS[encoding]
    if layout.channels == 2:
        width += width % 2
    dtype = np.dtype(layout.dtype).newbyteorder(">" if big else "<")
    shape = (height, width, layout.channels)[: 3 if layout.channels > 1 else 2]
    numbers = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    row = width * layout.channels * dtype.itemsize
    data = np.pad(np.frombuffer(numbers.tobytes(), np.uint8).reshape(height, row), ((0, 0), (0, padding))).tobytes()
    rgb = to_rgb(raw(numbers, encoding, step=row + padding, data=data, is_bigendian=int(big)))
    whole = raw(numbers, {"8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8"}.get(encoding, encoding), is_bigendian=big)
    if encoding.startswith("bayer") and min(height, width) < 3:
        assert rgb.shape == (height, width, 3)  # nothing to tell colours from
    elif dtype.itemsize == 1:
        np.testing.assert_array_equal(rgb, image_to_cvimage(whole, "rgb8"))
    elif not big:
        wide = image_to_cvimage(whole, "rgb16")
        atol = 2 if encoding.startswith("bayer") else 0  # neighbours are averaged before or after rounding
        np.testing.assert_allclose(rgb.astype(int), (wide >> 8).astype(int), atol=atol)


def test_padding_at_the_end_of_rows_is_not_picture() -> None:
    padded = np.full((6, 32), 77, np.uint8)
    padded[:, :24] = RED_BLUE.reshape(6, 24)
    np.testing.assert_array_equal(to_rgb(raw(RED_BLUE, "rgb8", step=32, data=padded.tobytes())), RED_BLUE)


PLANES = RNG.integers(0, 256, (9, 8), dtype=np.uint8)


@pytest.mark.parametrize(
    ("pixels", "encoding", "size"),
    [(RED_BLUE, "rgb8", (6, 8)), (PLANES, "nv12", (6, 8)), (RNG.integers(0, 256, (3, 30), np.uint8), "nv24", (3, 10))],
)
def test_drivers_may_pad_all_rows_but_the_last_and_send_more_than_the_image(
    pixels: np.ndarray, encoding: str, size: tuple[int, int]
) -> None:
    height, width = size
    whole = {"height": height, "width": width}
    row = width * (3 if encoding == "rgb8" else 1)
    plain = to_rgb(raw(pixels, encoding, step=row, **whole))
    rows = np.frombuffer(pixels.tobytes(), np.uint8).reshape(-1, row)
    if encoding == "nv24":  # a row of its colours is twice as long, and so is its padding
        luma, colours = rows[:3], rows[3:].reshape(3, 2 * row)
        data = np.pad(luma, ((0, 0), (0, 5))).tobytes() + np.pad(colours, ((0, 0), (0, 10))).tobytes()[:-10]
    else:
        data = np.pad(rows, ((0, 0), (0, 5))).tobytes()[:-5]
    np.testing.assert_array_equal(to_rgb(raw(pixels, encoding, step=row + 5, data=data, **whole)), plain)
    longer = pixels.tobytes() + bytes(99)
    np.testing.assert_array_equal(to_rgb(raw(pixels, encoding, step=row, data=longer, **whole)), plain)


@pytest.mark.parametrize("encoding", ["rgb8", "mono8", "mono16", "yuyv"])
def test_a_step_of_zero_is_a_row_without_padding(encoding: str) -> None:
    layout = images._LAYOUTS[encoding]
    pixels = RNG.integers(0, 256, (4, 6, layout.channels)).astype(layout.dtype)
    np.testing.assert_array_equal(to_rgb(raw(pixels, encoding, step=0)), to_rgb(raw(pixels, encoding)))


@pytest.mark.parametrize("kind", ["mono16", "bayer_rggb16", "png"])
def test_twelve_bits_at_the_lower_end_of_sixteen_are_told_once(
    kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_dark", set())

    def of(pixels: np.ndarray) -> SimpleNamespace:
        if kind != "png":
            return raw(pixels, kind, header=SimpleNamespace(frame_id="camera"))
        return compressed(cv2.imencode(".png", pixels)[1].tobytes(), "mono16; png compressed ")

    wide = SMOOTH[..., 0].astype(np.uint16)
    to_rgb(of(wide << 8))
    to_rgb(of(np.zeros_like(wide)))
    assert not caplog.records, "a bright and a black picture are no sign of 12 bits"
    for _ in range(2):
        np.testing.assert_array_equal(to_rgb(of(wide << 4)).max(), 3)
    (record,) = caplog.records
    assert record.args is not None
    assert record.args[-1] == 60 * 16, "the brightest of every fourth pixel"


def test_result_is_its_own_memory() -> None:
    message = raw(RED_BLUE, "rgb8", data=bytearray(RED_BLUE.tobytes()))
    rgb = to_rgb(message)
    message.data[:] = bytes(len(message.data))
    np.testing.assert_array_equal(rgb, RED_BLUE)
    assert rgb.flags.writeable


@pytest.mark.parametrize("data", [*FILES.values(), JPEG + bytes(100)], ids=[*FILES, "jpeg padded by a driver"])
def test_compressed_is_what_it_was(data: bytes) -> None:
    np.testing.assert_allclose(to_rgb(compressed(data)).astype(int), SMOOTH.astype(int), atol=6)


def test_gray_jpeg_becomes_rgb() -> None:
    data = cv2.imencode(".jpg", SMOOTH[..., 0])[1].tobytes()
    assert to_rgb(compressed(data, "mono8; jpeg compressed mono8")).shape == (48, 64, 3)


@pytest.mark.parametrize("format", ["rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8", "jpeg", ""])
def test_the_file_says_what_its_colours_are_whatever_the_camera_had(format: str) -> None:
    np.testing.assert_allclose(to_rgb(compressed(JPEG, format)).astype(int), SMOOTH.astype(int), atol=6)


@pytest.mark.parametrize("kind", [".png", ".tiff"])
def test_sixteen_bits_in_a_file_become_eight(kind: str) -> None:
    wide = SMOOTH.astype(np.uint16) * 257
    data = cv2.imencode(kind, wide[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(to_rgb(compressed(data, "rgb16; png compressed bgr16")), SMOOTH)
    data = cv2.imencode(kind, wide[..., 0])[1].tobytes()
    gray = to_rgb(compressed(data, "mono16; png compressed "))
    np.testing.assert_array_equal(gray, np.dstack([SMOOTH[..., 0]] * 3))


def test_a_transparent_png_keeps_its_colours() -> None:
    data = cv2.imencode(".png", np.dstack([SMOOTH[..., ::-1], SMOOTH[..., :1]]))[1].tobytes()
    np.testing.assert_array_equal(to_rgb(compressed(data, "rgba8; png compressed bgra8")), SMOOTH)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_mosaic_that_was_compressed_as_it_is_gets_its_colours_back(bits: int) -> None:
    mosaic = np.zeros((16, 16), f"u{bits // 8}")
    mosaic[::2, ::2] = 200 << bits - 8
    data = cv2.imencode(".png", mosaic)[1].tobytes()
    seen = to_rgb(compressed(data, f"bayer_rggb{bits}; png compressed "))
    np.testing.assert_array_equal(seen, to_rgb(raw(mosaic, f"bayer_rggb{bits}")))
    assert seen[4:12, 4:12].reshape(-1, 3).mean(0).argmax() == 0


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_picture_with_nothing_in_it_is_no_bomb(progressive: int) -> None:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_QUALITY, 1]
    for dark in (np.zeros((1200, 1600), np.uint8), np.zeros((1200, 1600, 3), np.uint8)):
        assert to_rgb(compressed(cv2.imencode(".jpg", dark, options)[1].tobytes())).max() <= 1


def test_frame_ids_that_change_do_not_fill_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(images, "_dark", set())
    for number in range(100):
        frame_id = f"camera{number}\n[ERROR] forged" + "x" * 1000
        to_rgb(raw(np.full((8, 8), 4000, np.uint16), "mono16", header=SimpleNamespace(frame_id=frame_id)))
    assert 0 < len(caplog.records) < 100
    assert all(len(r.getMessage()) < 400 and "\n" not in r.getMessage() for r in caplog.records)


@pytest.mark.parametrize("kept", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_truncated_file_is_refused(data: bytes, kept: float) -> None:
    said = "truncated" if data in (JPEG, PNG) and kept > 0.01 else ""  # by us, whatever the decoder makes of it
    with pytest.raises(ImageError, match=said):
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
        (raw(RED_BLUE, "rgb8", step=0, data=RED_BLUE.tobytes() + b"1"), r"step is 0.*24"),
        (raw(RED_BLUE, "rgb8", step=32, data=bytes(183)), r"183 bytes.*32 x 6 = 192"),
        (raw(RED_BLUE, "RGB8"), r"did you mean 'rgb8'"),
        (raw(RED_BLUE, "rgb"), r"did you mean 'rgb8'"),
        (raw(RED_BLUE, "bgr8 "), r"did you mean 'bgr8'"),
        (compressed(b"\0\0\0\1\x67", "h264"), r"h264 video.*JPEG"),
        (compressed(b"\0\0\0\1\x67", "H265"), r"hevc video.*JPEG"),
        (raw(np.zeros((2, 3, 2), np.uint8), "yuyv"), "yuyv"),
        (compressed(b""), "empty"),
        (compressed(b"hello"), "neither JPEG nor PNG"),
        (compressed(TIFF[:8] + bytes(40)), "damaged"),
        (raw(np.zeros((4, 4, 3), np.float32), "32FC3"), r"32FC3 does not say which colours.*allowed.*rgb8"),
        (raw(np.zeros((3, 4), np.uint8), "nv12"), "4x3 image cannot be nv12: four pixels"),
        (raw(np.zeros((4, 4), np.uint8), "nv12"), r"16 bytes, but 1.5 x step x height is 1.5 x 4 x 4 = 24"),
        (raw(np.zeros((4, 4), np.uint8), "nv24"), r"16 bytes, but 3 x step x height is 3 x 4 x 4 = 48"),
        (raw(np.zeros((4, 4), np.int16), "16SC1"), "depth image"),
        (compressed(PNG, "16UC1; compressedDepth png"), r"depth image.*colour topic"),
        (compressed(PNG, "16UC1; png compressed "), "depth image"),
        (compressed(JPEG[:200].replace(b"\x00\x30\x00\x40", b"\x00\x00\x00\x40", 1) + JPEG[200:]), "64x0"),
        (compressed(JPEG[:200].replace(b"\x00\x30\x00\x40", b"\x1f\x40\x1f\x40", 1) + JPEG[200:]), "8000x8000 and has"),
        (compressed(JPEG[:-2] + b"\xff\xda" * 220_000 + JPEG[-2:]), r"64x48 pixels 220001 times"),
        (compressed(PNG[:33] + b"\xff\xff\xff\xf0" + PNG[37:]), "PNG is truncated or damaged"),
        (compressed(PNG[:-12] + b"\xff\xff\xff\xf0" + PNG[-8:]), "PNG is truncated or damaged"),
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
        st.tuples(st.sampled_from([*FILES.values()]), st.integers(0, len(PNG)), st.binary(max_size=8)).map(
            lambda t: t[0][: t[1]] + t[2] + t[0][t[1] + len(t[2]) :]
        ),
        st.tuples(st.sampled_from([*FILES.values()]), st.integers(0, len(PNG))).map(lambda t: t[0][: t[1]]),
    ),
    format=st.sampled_from(["jpeg", "png", "", "rgb8; jpeg compressed bgr8", "bayer_rggb8; png", "compressedDepth"]),
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
    for pixel, halves in [*((pixel, 2) for pixel in (1, 2, 3, 4, 6, 8)), (1, 3), (1, 6)]:
        step = max(0, width * pixel + padding)
        size = step * height * halves // 2
        data = (fill * (size + 1))[:size]
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
