"""Images side by side, each with its prompt below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from tools.tiny_emoji.scenes.colours import Image8

PROMPTS = (
    "a red apple on a blue background", "a yellow star on a green background", "a cat on a pink background",
    "a penguin in the snow", "a rocket in the night sky with stars", "a blue heart on a yellow background",
    "a dinosaur on green grass under a blue sky", "a sailboat on a sandy beach by the sea",
    "a donut on a purple background", "a happy face", "a shark under water", "a castle at sunset",
    "a pumpkin on a black background", "a red circle on a white background", "a pine tree in the snow",
    "a green book on an orange background",
)  # fmt: skip
_COLUMNS, _GAP, _LINE, _LETTERS = 8, 4, 11, 21


def draw_grid(images: Sequence[Image8], captions: Sequence[str]) -> Image.Image:
    """Rows of eight, in order, whole captions in as many lines as they need."""
    said = [textwrap.wrap(caption, _LETTERS) for caption in captions]
    height, width = images[0].shape[:2]
    cell_width, cell_height = width + _GAP, height + _LINE * max(map(len, said)) + 2 * _GAP
    rows = -(-len(images) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * cell_width - _GAP, rows * cell_height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=10)
    for number, (image, lines) in enumerate(zip(images, said, strict=True)):
        x, y = number % _COLUMNS * cell_width, number // _COLUMNS * cell_height
        sheet.paste(Image.fromarray(image), (x, y))
        for line, text in enumerate(lines):
            draw.text((x + 1, y + height + line * _LINE), text, fill="black", font=font)
    return sheet
