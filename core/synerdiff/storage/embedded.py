"""Reading the receipt back out of an image file, with the standard library alone.

A producer's host has no Pillow; a PNG, WebP or JPEG container is a list of chunks with a length each, and
the receipt is one of them. Sources: PNG specification (iTXt), the WebP container's RIFF layout, Exif 2.3
(UserComment, tag 0x9286).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from synerdiff.protocol import Receipt

KEYWORD = "synerdiff"
EXIF_USER_COMMENT = 0x9286
_COMMENT_MARK = KEYWORD.encode() + b":"
_COMMENT_ENCODING = b"ASCII\0\0\0"
_PNG = b"\x89PNG\r\n\x1a\n"


class Embedded(BaseModel):
    """What an image file carries: the whole job's receipt, and which of its images this is."""

    model_config = ConfigDict(extra="ignore")

    image: int = 0
    receipt: Receipt


def user_comment(text: str) -> bytes:
    """The value of EXIF's UserComment for a receipt: JSON is ASCII once its other characters are escaped."""
    escaped = "".join(char if char.isascii() else _escape(char) for char in text)
    return _COMMENT_ENCODING + _COMMENT_MARK + escaped.encode("ascii") + b"\0"


def _escape(char: str) -> str:
    units = struct.unpack(f">{len(char.encode('utf-16-be')) // 2}H", char.encode("utf-16-be"))
    return "".join(f"\\u{unit:04x}" for unit in units)


def read_receipt(source: bytes | str | Path) -> Receipt | None:
    """The receipt in an image file (its bytes or its path), or None when it carries none."""
    found = read_embedded(source)
    return found.receipt if found else None


def read_embedded(source: bytes | str | Path) -> Embedded | None:
    """The receipt and the image's index in a file, or None when it carries none or a broken one.

    Raises ``OSError`` when a path cannot be read.
    """
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        text = _find(data)
        return Embedded.model_validate_json(text) if text is not None else None
    except (struct.error, ValidationError, ValueError):
        return None


def _find(data: bytes) -> bytes | None:
    if data.startswith(_PNG):
        return next((text for kind, body in _png_chunks(data) if kind == b"iTXt" and (text := _itxt(body))), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return next((text for kind, body in _riff_chunks(data) if kind == b"EXIF" and (text := _comment(body))), None)
    if data.startswith(b"\xff\xd8"):
        return next((text for mark, body in _jpeg_segments(data) if mark == 0xE1 and (text := _comment(body))), None)
    return None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:  # 0xDA: the image's own data begins
        mark, length = struct.unpack_from(">xBH", data, at)
        yield mark, data[at + 4 : at + 2 + length]
        at += 2 + length


def _itxt(body: bytes) -> bytes | None:
    """The text of an uncompressed iTXt chunk with our keyword: keyword 0 flag method language 0 translated 0 text."""
    keyword, _, rest = body.partition(b"\0")
    if keyword != KEYWORD.encode() or rest[:1] != b"\0":
        return None
    parts = rest[2:].split(b"\0", 2)
    return parts[2] if len(parts) == 3 else None


def _comment(exif: bytes) -> bytes | None:
    """The JSON behind our mark. Its bytes lie together whatever the directory's order, so no IFD is walked."""
    start = exif.find(_COMMENT_ENCODING + _COMMENT_MARK)
    if start < 0:
        return None
    start += len(_COMMENT_ENCODING) + len(_COMMENT_MARK)
    return exif[start : exif.index(b"\0", start)]
