"""What the Markdown pages hold: headings' anchors, links, code."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Code:
    """A piece of code on a page; ``info`` is a fence's words after the backticks, empty for code in a line."""

    page: Path
    line: int
    info: str
    text: str

    @property
    def where(self) -> str:
        """Page and line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def pages() -> tuple[Path, ...]:
    """Every Markdown file that belongs to the project."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return tuple(path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file())


@cache
def tokens(page: Path) -> tuple[Token, ...]:
    """The page as CommonMark reads it, tables included."""
    return tuple(MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")))


def _inline(page: Path) -> Iterator[tuple[int, Token]]:
    for token in tokens(page):
        if token.type == "inline":
            for child in token.children or []:
                yield (token.map or [0])[0] + 1, child


def links(page: Path) -> list[tuple[int, str]]:
    """Line and target of every link and image."""
    found = []
    for line, token in _inline(page):
        target = token.attrGet("href") if token.type == "link_open" else token.attrGet("src")
        if token.type in ("link_open", "image") and isinstance(target, str):
            found.append((line, target))
    return found


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that GitHub gives the page's headings, and those set by hand."""
    counts: dict[str, int] = {}
    found = set(re.findall(r'<a (?:id|name)="([^"]+)"', page.read_text(encoding="utf-8")))
    listed = tokens(page)
    for opening, inline in itertools.pairwise(listed):
        if opening.type == "heading_open":
            text = "".join(child.content for child in inline.children or [])
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            found.add(slug if slug not in counts else f"{slug}-{counts[slug]}")
            counts[slug] = counts.get(slug, 0) + 1
    return frozenset(found)


def code(page: Path) -> list[Code]:
    """Every fence, and every piece of code in a line."""
    fences = [
        Code(page, (token.map or [0])[0] + 1, token.info.strip(), token.content)
        for token in tokens(page)
        if token.type in ("fence", "code_block")
    ]
    lines = [Code(page, line, "", token.content) for line, token in _inline(page) if token.type == "code_inline"]
    return fences + lines
