"""Many images on one page, each with its caption."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

TILE = 168
GAP = 14
LINE = 13
LINES = 5
COLUMNS = 5
CHARS = 32
INK, PAPER = (40, 44, 52), (255, 255, 255)


def contact_sheet(images: Sequence[tuple[Path, str]], target: Path) -> None:
    """Draw ``images`` (a file and its caption each) as a grid into the PNG file ``target``."""
    from PIL import Image, ImageDraw, ImageFont

    rows = -(-len(images) // COLUMNS)
    cell_width, cell_height = TILE + GAP, TILE + GAP + LINES * LINE
    sheet = Image.new("RGB", (COLUMNS * cell_width + GAP, rows * cell_height + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=10)
    for place, (path, caption) in enumerate(images):
        row, column = divmod(place, COLUMNS)
        left, top = GAP + column * cell_width, GAP + row * cell_height
        with Image.open(path) as image:
            scale = TILE / max(image.size)
            tile = image.convert("RGB").resize((round(image.width * scale), round(image.height * scale)))
        sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
        lines = [part for line in caption.splitlines() for part in textwrap.wrap(line, CHARS)]
        for number, line in enumerate(lines[:LINES]):
            draw.text((left, top + TILE + 3 + number * LINE), line, fill=INK, font=font)
    sheet.save(target, optimize=True)
