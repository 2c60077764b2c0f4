"""Every format keeps its pixels and its receipt, and a broken file is no receipt."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from synerdiff.protocol import Receipt
from synerdiff.protocol.job import FORMATS, ImageFormat
from synerdiff.storage import Embedded, encode_image, read_embedded, read_receipt
from synerdiff.storage.embedded import _find

RECEIPT = Receipt(
    job_id="job-1",
    model="tiny-emoji",
    sampler="ddim",
    steps=3,
    rows_run=5,
    rows_skipped=1,
    skipped_steps=[[], [1]],
    versions={"torch": "2.13"},
    request={"prompt": 'Übergroß "猫" \U0001f600 \\ \n', "seed": 7, "guidance_scale": 5.5},
)


def _pixels(height: int = 24, width: int = 40) -> Any:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_receipt_comes_back_out_of_every_format(kind: ImageFormat, tmp_path: Path) -> None:
    data = encode_image(_pixels(), kind, RECEIPT, index=1)
    assert read_receipt(data) == RECEIPT
    assert read_embedded(data) == Embedded(image=1, receipt=RECEIPT)
    path = tmp_path / "image"
    path.write_bytes(data)
    assert read_receipt(path) == RECEIPT
    assert read_receipt(str(path)) == RECEIPT


@pytest.mark.parametrize("kind", FORMATS)
def test_the_pixels_survive(kind: ImageFormat) -> None:
    pixels = _pixels()
    image = Image.open(io.BytesIO(encode_image(pixels, kind, RECEIPT)))
    assert image.format == kind.upper()
    assert image.size == (40, 24)
    if kind != "jpeg":
        assert np.array_equal(np.asarray(image.convert("RGB")), pixels)


def test_pillow_finds_the_png_receipt_under_its_keyword() -> None:
    image = Image.open(io.BytesIO(encode_image(_pixels(), "png", RECEIPT)))
    assert Embedded.model_validate_json(image.info["synerdiff"]).receipt == RECEIPT


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_without_a_receipt_has_none(kind: ImageFormat) -> None:
    out = io.BytesIO()
    Image.fromarray(_pixels()).save(out, kind)
    assert read_receipt(out.getvalue()) is None


@given(st.sampled_from(FORMATS), st.data())
def test_a_cut_or_altered_file_has_its_receipt_or_none(kind: ImageFormat, data: st.DataObject) -> None:
    """Another receipt comes only from a change within the receipt's own text."""
    file = encode_image(_pixels(8, 8), kind, RECEIPT)
    text = _find(file)
    assert text is not None
    start = file.index(text)
    position = data.draw(st.integers(0, len(file) - 1))
    altered = bytearray(file)
    altered[position] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(file)))
    for found in (read_receipt(bytes(altered)), read_receipt(bytes(altered[:cut]))):
        assert found in (None, RECEIPT) or start <= position < start + len(text)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_anywhere_has_its_receipt_once_it_is_whole(kind: ImageFormat) -> None:
    file = encode_image(_pixels(8, 8), kind, RECEIPT)
    text = _find(file)
    assert text is not None
    end = file.index(text) + len(text)
    for cut in range(len(file)):
        found = read_receipt(file[:cut])
        assert found in (None, RECEIPT)
        assert found is None or cut >= end
    assert read_receipt(file) == RECEIPT


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_raising(data: bytes) -> None:
    assert read_receipt(data) is None


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (1, 3, 8, 8)])
def test_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="uint8"):
        encode_image(np.zeros(shape, dtype=np.uint8), "png", RECEIPT)


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(ValueError, match="float64"):
        encode_image(np.zeros((8, 8, 3)), "png", RECEIPT)


def test_a_long_prompt_fits_in_jpeg() -> None:
    receipt = RECEIPT.model_copy(update={"request": {"prompt": "猫" * 2000, "negative_prompt": "犬" * 2000}})
    assert read_receipt(encode_image(_pixels(), "jpeg", receipt)) == receipt
