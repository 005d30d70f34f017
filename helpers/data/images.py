"""A picture's file becomes the pixels that a model takes: decoded by Pillow, upright, in the right size and colours.

Bytes come in, an (height, width, channels) array goes out. Whatever is no picture, or too large to be one, is a
`BadPicture` whose message is what to tell the caller.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import threading

import numpy as np

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
NAMES = "JPEG, PNG, GIF, BMP, WebP or TIFF"
ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")
MOST_PIXELS = 50_000_000  # at most 400 MB while it is decoded; cameras of phones take 12 to 50 million
HEAVY = ("WEBP", "TIFF")  # their decoders hold a picture up to four times: of these, half as many pixels are taken
MOST_TOGETHER = 2 * MOST_PIXELS  # some two seconds of decoding; 16 MB of photos have no more
MOST_KEPT = 2**21  # at their own size, as 1,920 x 1,080: of each a network makes some hundred numbers, all at once
SIDE = 128  # of samples and examples where a model takes any size: a network can halve it seven times
LARGE_PIXELS = MOST_PIXELS // 4  # from which on pictures are decoded one after the other, whoever sends them
STRIP = 64  # rows of a picture at once
START = 256  # bytes in which an SVG or a web page shows what it is
BITS_PER_SAMPLE, MAX_SAMPLE_VALUE = 258, 281  # tags of a TIFF
CAFFE_MEAN = (103.939, 116.779, 123.68)  # blue, green, red of ImageNet, as `keras.applications.imagenet_utils`
TORCH_MEAN, TORCH_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # red, green, blue, as torchvision's models

# How a model wants its pixels, and what becomes of those from 0 to 255.
PIXELS = {
    "0..255": lambda pixels: pixels,
    "0..1": lambda pixels: pixels / np.float32(255),
    "-1..1": lambda pixels: pixels / np.float32(127.5) - np.float32(1),
    "caffe": lambda pixels: pixels[..., ::-1] - np.array(CAFFE_MEAN, np.float32),
    "torch": lambda pixels: (
        (pixels / np.float32(255) - np.array(TORCH_MEAN, np.float32)) / np.array(TORCH_SPREAD, np.float32)
    ),
}
THREE_CHANNELS = ("caffe", "torch")  # those of `PIXELS` that are of red, green and blue only

_turn_of_large = threading.Lock()
# Pillow takes memory in blocks of 16 MB, which the C library keeps for each thread that had some; larger ones go back.
os.environ.setdefault("PILLOW_BLOCK_SIZE", "64m")


class BadPicture(ValueError):
    """What is wrong with a picture, as the end of a sentence."""


class Allowance:
    """The pixels that the pictures of one request may have together: small files can become very large ones.

    Those that are made smaller for the model may have more than those that it takes as large as they are.
    """

    def __init__(self):
        self.left, self.left_as_they_are = MOST_TOGETHER, MOST_KEPT

    def take(self, pixels: int) -> None:
        """Count a picture that is about to be decoded; `BadPicture` where it is one too many."""
        if pixels > self.left:
            raise BadPicture(
                f"has {pixels:,} pixels, too many beside those before it (a request's pictures may have "
                f"{MOST_TOGETHER:,} together): send it in a request of its own"
            )
        self.left -= pixels

    def keep(self, pixels: int) -> None:
        """Count a picture that the model takes at this size; `BadPicture` where it is one too many."""
        if pixels > self.left_as_they_are:
            raise BadPicture(
                f"has {pixels:,} pixels, and this model takes a picture as large as it is: those of a request may have "
                f"{MOST_KEPT:,} together, so make it smaller, or send it in a request of its own"
            )
        self.left_as_they_are -= pixels


def is_picture(content: bytes) -> bool:
    """Whether bytes begin as the file of a picture does."""
    starts = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
    return content.startswith(starts) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def decode(
    content: bytes,
    height: int | None,
    width: int | None,
    channels: int,
    allowance: Allowance | None = None,
    may_shrink: bool = False,
) -> np.ndarray:
    """The picture as (height, width, channels) float32 from 0 to 255, channels 1 (grey), 3 (RGB) or 4 (RGBA).

    Turned upright as its camera says (EXIF), what is transparent shown on white, resized without regard to its shape
    (bilinear, as `keras.utils.image_dataset_from_directory` does). A side of None follows the other one, so that the
    shape stays; of two the picture keeps its size. Of a moving picture the first frame counts.
    allowance: that of the request which holds the picture among others. may_shrink: whether a picture that is to keep
    its size is made as small as one may be, where it is larger. Raises `BadPicture`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not content:
        raise BadPicture(f"is empty: send the file of a picture, {NAMES}")
    allowance = allowance or Allowance()
    open_sides = (height, width).count(None)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            pixels, part = opened.width * opened.height, 2 if opened.format in HEAVY else 1
            if pixels > MOST_PIXELS // part:
                light = f", or a JPEG or PNG of at most {MOST_PIXELS:,}" if part > 1 else ""
                raise BadPicture(
                    f"is a {opened.format} of {opened.width:,} x {opened.height:,} pixels: "
                    f"send one of at most {MOST_PIXELS // part:,} pixels{light}"
                )
            allowance.take(pixels)
            most = MOST_KEPT if open_sides == 2 and may_shrink else pixels
            if open_sides == 2:
                allowance.keep(min(pixels, most))
            with _turn_of_large if pixels > LARGE_PIXELS // part else contextlib.nullcontext():
                ImageOps.exif_transpose(opened, in_place=True)  # each copy of the largest takes another 200 MB
                image = _in_colours(opened, channels)
                if image is not opened:
                    opened.close()  # lets go of its pixels: resizing copies those of RGBA once more
                size = _size(image.size, height, width, most)
                if open_sides == 1:
                    allowance.keep(size[0] * size[1])
                found = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)
                opened.close()  # before the next one's turn
    except BadPicture:
        raise
    except Image.DecompressionBombError as error:
        raise BadPicture(f"has too many pixels: send one of at most {MOST_PIXELS:,}") from error
    except UnidentifiedImageError as error:
        raise BadPicture(f"is {_unread(content[:START].lower())}") from error
    except Exception as error:  # the decoders of so many formats raise what they like
        raise BadPicture("is cut short or damaged: send the whole file") from error
    return found.reshape(*found.shape[:2], channels)


def _size(size: tuple[int, int], height: int | None, width: int | None, most: int) -> tuple[int, int]:
    """The width and height that a picture of a size becomes, of at most so many pixels where both are open."""
    if height is None and width is None:
        part = min(1.0, math.sqrt(most / (size[0] * size[1])))
        return tuple(max(1, int(part * side)) for side in size)
    if width is None:
        return max(1, round(size[0] * height / size[1])), height
    return width, max(1, round(size[1] * width / size[0])) if height is None else height


def _unread(start: bytes) -> str:
    """What a file is that Pillow does not read here, by its first bytes, and what to send instead."""
    if b"<svg" in start:
        return "an SVG, which is a drawing: send it as PNG"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis"):
        return "a HEIC or AVIF file, which is not read here: send it as JPEG"
    if start.startswith(b"\xff\xd8"):
        return "a JPEG that is cut short, or of a kind that is not read here: save it anew, with 8 bits a colour"
    return f"no picture: send {NAMES}"


def _in_colours(image, channels: int):
    """A Pillow image in the mode of so many channels, 8 bits each."""
    if image.mode == "LAB":
        raise BadPicture("has its colours as L, a and b: save it as RGB")
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if channels == 4:
        return _as(image, "RGBA")
    mode = "L" if channels == 1 else "RGB"
    return _on_white(image, mode) if image.has_transparency_data else _as(image, mode)


def _on_white(image, mode: str):
    """A picture that is transparent in parts, in another mode; in strips, as the whole would take its memory thrice."""
    from PIL import Image

    shown = Image.new(mode, image.size)
    for top in range(0, image.height, STRIP):
        strip = image.crop((0, top, image.width, min(top + STRIP, image.height))).convert("RGBA")
        on_white = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
        shown.paste(on_white.convert(mode), (0, top))
    return shown


def _as(image, mode: str):
    """`image.convert(mode)`, which copies what has that mode already."""
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image):
    """A grey picture of 16 bits or more in 8; Pillow would cut off whatever is above 255."""
    from PIL import Image

    values = np.asarray(image).astype(np.float32)
    if not np.isfinite(values).all():
        raise BadPicture("holds numbers that are not finite: put a grey value in their place")
    lowest, highest = float(values.min()), max(float(values.max()), 1.0)
    most = 255 if image.mode == "F" else 2**16 - 1
    if lowest < 0 or highest > most:
        grey = "from 0 to 1, or to 255" if image.mode == "F" else f"from 0 to {most:,}"
        raise BadPicture(f"holds numbers from {lowest:g} to {highest:g}, where grey is {grey}: scale them to that")
    if image.mode == "F":
        values *= 255 if highest <= 1 else 1
    elif image.mode.startswith("I;16") or highest > 255:
        values *= np.float32(255 / _white(image))
    np.clip(np.rint(values, out=values), 0, 255, out=values)
    return Image.fromarray(values.astype(np.uint8))


def _white(image) -> int:
    """The largest value of a grey picture of 16 bits: that of 12, say, where a TIFF says that its camera has so many.

    The largest value that stands in the picture (`MaxSampleValue`) is all of its range only where it ends one. A PNG's
    `sBIT` does not count: its values are of the whole range by the standard.
    """
    tags = getattr(image, "tag_v2", {})
    bits, largest = tags.get(BITS_PER_SAMPLE, (16,))[0], tags.get(MAX_SAMPLE_VALUE, (0,))[0]
    ends = [2**n - 1 for n in range(9, 16)]
    return 2**bits - 1 if 8 < bits < 16 else largest if largest in ends else 2**16 - 1


def example(height: int | None, width: int | None) -> bytes:
    """The file of a small picture, a PNG that fades from dark to light."""
    from PIL import Image

    size = [SIDE if side is None else min(side, 64) for side in (width, height)]
    made = io.BytesIO()
    Image.linear_gradient("L").resize(size).save(made, "PNG")
    return made.getvalue()
