"""Previews as events: small WebP pictures in ``data:`` URLs."""

from __future__ import annotations

import base64

from synerdiff.engine.types import Pixels, Previewed
from synerdiff.protocol import JobEvent
from synerdiff.storage import encode_preview


def preview_event(preview: Previewed) -> JobEvent:
    """The event of a preview, with a ``data:`` URL by image index."""
    data = {str(index): data_url(pixels) for index, pixels in preview.images.items()}
    return JobEvent(kind="preview", step=preview.step, steps=preview.steps, data=data)


def data_url(pixels: Pixels) -> str:
    """A picture as a ``data:`` URL."""
    return "data:image/webp;base64," + base64.b64encode(encode_preview(pixels)).decode()
