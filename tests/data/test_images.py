"""A picture's file becomes pixels as a person sees it, or a sentence that says what is wrong with it."""

import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from helpers import PROJECT
from helpers.data.images import PIXELS, Allowance, BadPicture, decode, example, is_picture


def file_of(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    made = io.BytesIO()
    image.save(made, kind, **options)
    return made.getvalue()


def half_and_half() -> Image.Image:
    """Left black, right white, 8 x 4."""
    values = np.zeros((4, 8), np.uint8)
    values[:, 4:] = 255
    return Image.fromarray(values)


def test_a_grey_picture_is_grey_in_colours_and_a_coloured_one_grey_where_that_is_wanted():
    grey = decode(file_of(half_and_half()), 4, 8, 1)
    assert grey.shape == (4, 8, 1) and grey.dtype == np.float32 and set(grey.ravel()) == {0, 255}
    assert np.array_equal(decode(file_of(half_and_half().convert("RGB")), 4, 8, 1), grey)
    assert np.array_equal(decode(file_of(half_and_half()), 4, 8, 3), np.repeat(grey, 3, axis=2))


def test_a_picture_is_upright_as_its_camera_says():
    turned = half_and_half().rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees to the right
    shown = decode(file_of(turned, "PNG", exif=exif), 4, 8, 1)
    assert np.array_equal(shown, decode(file_of(half_and_half()), 4, 8, 1))


def test_sixteen_bits_keep_their_shades():
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    shown = decode(file_of(Image.fromarray(values)), 8, 8, 1)[..., 0]
    np.testing.assert_allclose(shown, values / 257, atol=1)


def tiff_of_12_bits(values: np.ndarray) -> bytes:
    """A grey TIFF whose values take 12 bits each, two of them three bytes."""
    pairs = values.reshape(-1, 2).tolist()
    packed = b"".join((first << 12 | second).to_bytes(3, "big") for first, second in pairs)
    height, width = values.shape
    tags = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(packed)}
    listed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + struct.pack("<H", len(tags)) + listed + bytes(4)


def test_twelve_bits_are_as_light_as_they_are_where_a_tiff_says_that_it_has_so_many():
    values = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    picture = Image.fromarray(values)
    for file in (tiff_of_12_bits(values), file_of(picture, "TIFF", tiffinfo={281: 4095})):
        np.testing.assert_allclose(decode(file, 8, 8, 1)[..., 0], values / 4095 * 255, atol=1)
    for file in (file_of(picture, "TIFF", tiffinfo={281: 4094}), file_of(picture, "TIFF"), file_of(picture)):
        np.testing.assert_allclose(decode(file, 8, 8, 1)[..., 0], values / 257, atol=1)


def test_what_is_transparent_is_shown_on_white():
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    for image in (clear, clear.convert("LA")):
        assert (decode(file_of(image), 4, 4, 3) == 255).all()
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert decode(file_of(palette), 4, 4, 3)[0, 0].tolist() == [10, 20, 30]
    assert (decode(file_of(palette, "GIF", transparency=1), 4, 4, 3) == 255).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_usual_kinds_of_files_are_told_by_their_content(kind):
    content = file_of(half_and_half(), kind)
    assert is_picture(content)
    assert decode(content, 4, 8, 3).shape == (4, 8, 3)


def test_colours_of_print_are_read_too():
    assert decode(file_of(Image.new("CMYK", (4, 4), (0, 0, 0, 0)), "JPEG"), 2, 2, 3).min() > 250


def bomb() -> bytes:
    """A PNG that says it has 30,000 x 30,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10_000))
        + chunk(b"IEND", b"")
    )


# 5,001 x 5,000 pixels of a WebP, which its decoder would hold four times
HEAVY = bytes.fromhex("524946461a000000574542505650384c0e0000002f88d3e104071011fd0f4444ff03")


GROWTH = r"""
import re, sys
from concurrent.futures import ThreadPoolExecutor
from helpers.data.images import decode

def most():  # memory of this process so far, MB; what `resource` says is its parent's
    return int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1]) / 1024

channels = int(sys.argv[3])
decode(open(sys.argv[1], "rb").read(), 4, 4, channels)
before = most()
with ThreadPoolExecutor(2) as pool:
    list(pool.map(lambda _: decode(open(sys.argv[2], "rb").read(), 4, 4, channels), range(2)))
print(most() - before)
"""


def test_a_picture_keeps_its_size_or_its_proportions_where_a_side_is_open():
    turned, exif = half_and_half().rotate(90, expand=True), Image.Exif()
    exif[0x0112] = 6
    content = file_of(turned, "PNG", exif=exif)
    assert np.array_equal(decode(content, None, None, 1), decode(file_of(half_and_half()), 4, 8, 1))
    assert decode(content, 2, None, 3).shape == (2, 4, 3) and decode(content, None, 2, 3).shape == (1, 2, 3)
    assert decode(example(None, 32), None, 32, 1).shape == (128, 32, 1)


def test_pictures_that_keep_their_size_have_a_limit_together_before_they_are_decoded():
    allowance, large = Allowance(), file_of(Image.new("1", (1200, 1000)))
    assert decode(large, None, None, 1, allowance).shape == (1000, 1200, 1)
    with pytest.raises(BadPicture, match=r"has 1,200,000 pixels, and this model takes .* 2,097,152 together, so make"):
        decode(large[:100], None, None, 1, allowance)  # which would be told if it were decoded
    assert decode(file_of(half_and_half()), None, None, 1, allowance).shape == (4, 8, 1)
    with pytest.raises(BadPicture, match="has 4,096,000 pixels"):  # of 1,000, which are made 64 wide
        decode(file_of(Image.new("1", (1, 1000))), None, 64, 1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it says elsewhere how much it takes")
@pytest.mark.parametrize(
    ("kind", "channels", "megabytes"),
    [("RGB", 3, 100), ("LA", 3, 150), ("I;16", 3, 200), ("LA", 4, 150), ("RGB", 4, 150)],
)
def test_large_pictures_out_of_small_files_are_in_memory_once_and_one_at_a_time(kind, channels, megabytes, tmp_path):
    Image.new(kind, (8, 8)).save(tmp_path / "small.png")
    Image.new(kind, (4000, 4000)).save(tmp_path / "large.png")
    command = [sys.executable, "-c", GROWTH, "small.png", "large.png", str(channels)]
    run = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(PROJECT)}, "capture_output": True, "text": True}
    assert float(subprocess.run(command, check=True, **run).stdout) < megabytes


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG"),
        (b"<!doctype html><p>not found", "is no picture"),
        (b"\x00" * 100, "is no picture"),
        (file_of(half_and_half().resize((300, 300)), "JPEG")[:-400], "is cut short or damaged"),
        (file_of(half_and_half())[:-30], "is cut short or damaged"),
        (bomb(), "pixels: send one of at most 50,000,000"),
        (HEAVY, "a WEBP of 5,001 x 5,000 pixels: send one of at most 25,000,000 pixels, or a JPEG or PNG"),
        (file_of(Image.new("1", (5001, 5000)), "TIFF", compression="group4"), "a TIFF of .* at most 25,000,000"),
        (
            file_of(half_and_half(), "JPEG").replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc0\0\x0b\x0c"),  # 12 bits
            "is a JPEG that is cut short, or of a kind that is not read here: save it anew, with 8 bits a colour",
        ),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC or AVIF file, which is not read here: send it as JPEG"),
    ],
)
def test_what_is_no_picture_is_named_as_what_it_is(content, says):
    with pytest.raises(BadPicture, match=says):
        decode(content, 4, 4, 3)


def test_pixels_are_scaled_as_keras_applications_want_them():
    import keras

    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 3)).astype(np.float32)
    for kind, mode in (("-1..1", "tf"), ("caffe", "caffe")):
        wanted = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), mode=mode)
        np.testing.assert_allclose(PIXELS[kind](pixels), wanted, atol=1e-4)
    assert PIXELS["0..1"](pixels).max() <= 1 and PIXELS["0..255"](pixels) is pixels


def test_an_example_is_a_picture():
    assert decode(example(224, 224), 224, 224, 3).std() > 10


def test_a_picture_of_no_colours_of_a_screen_is_told_what_it_is():
    lab = Image.new("LAB", (4, 4))
    hole = Image.fromarray(np.array([[0.5, np.nan]], np.float32))
    signed, bright = (Image.fromarray(np.array([ends], np.float32)) for ends in ((-1, 1), (0, 4095)))
    whole = Image.fromarray(np.array([[0, 2**20]], np.int32))
    for image, says in (
        (lab, "has its colours as L, a and b: save it as RGB"),
        (hole, "numbers that are not finite"),
        (signed, "holds numbers from -1 to 1, where grey is from 0 to 1, or to 255: scale them"),
        (bright, "holds numbers from 0 to 4095, where grey is from 0 to 1, or to 255: scale them"),
        (whole, "where grey is from 0 to 65,535: scale them"),
    ):
        file = io.BytesIO()
        image.save(file, "TIFF")
        with pytest.raises(BadPicture, match=says):
            decode(file.getvalue(), 4, 4, 3)
