"""Pixels to a PNG, WebP or JPEG file that carries its receipt."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Protocol

from synerdiff.protocol import Receipt
from synerdiff.protocol.job import ImageFormat
from synerdiff.storage.embedded import EXIF_USER_COMMENT, KEYWORD, Embedded, user_comment

if TYPE_CHECKING:
    from PIL.Image import Image

JPEG_QUALITY = 95
PREVIEW_QUALITY = 80


class Pixels(Protocol):
    """What a uint8 array of shape [height, width, 3] offers; numpy's fits, and nothing here imports numpy."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def tobytes(self) -> bytes: ...


def encode_image(pixels: Pixels, format: ImageFormat, receipt: Receipt, index: int = 0) -> bytes:  # noqa: A002
    """Encode one image with its receipt inside.

    ``pixels`` is uint8 [height, width, 3]; ``index`` says which image of the job it is. PNG and WebP are
    lossless. The receipt sits in PNG's iTXt chunk ``synerdiff``, in WebP and JPEG in EXIF's UserComment;
    :func:`read_receipt` reads it back. Raises ``ValueError`` for another shape or type.
    """
    embedded = Embedded(image=index, receipt=receipt).model_dump_json()
    image = _image(pixels)
    out = io.BytesIO()
    if format == "png":
        # Level 1: a 1024x1024 image takes 0.2 s instead of 0.5 s, for files a few per cent larger.
        image.save(out, "PNG", compress_level=1, pnginfo=_png_info(embedded))
    elif format == "webp":
        image.save(out, "WEBP", lossless=True, quality=0, method=0, exif=_exif(embedded))
    else:
        image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0, exif=_exif(embedded))
    return out.getvalue()


def encode_preview(pixels: Pixels) -> bytes:
    """Encode a small picture for looking at, uint8 [height, width, 3], as lossy WebP without a receipt."""
    out = io.BytesIO()
    _image(pixels).save(out, "WEBP", quality=PREVIEW_QUALITY, method=0)
    return out.getvalue()


def _image(pixels: Pixels) -> Image:
    from PIL import Image

    if len(pixels.shape) != 3 or pixels.shape[2] != 3 or str(pixels.dtype) != "uint8":
        raise ValueError(f"pixels must be uint8 [height, width, 3]; got {pixels.dtype} {list(pixels.shape)}")
    height, width = pixels.shape[:2]
    return Image.frombytes("RGB", (width, height), pixels.tobytes())


def _png_info(text: str) -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt(KEYWORD, text)
    return info


def _exif(text: str) -> bytes:
    from PIL import Image
    from PIL.ExifTags import IFD

    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[EXIF_USER_COMMENT] = user_comment(text)
    return exif.tobytes()
