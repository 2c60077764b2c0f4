"""How far a phase is: a bar on a terminal, else one line a minute."""

from __future__ import annotations

import time
from typing import TextIO

LINE_EVERY_S = 60.0
BAR_EVERY_S = 0.5
_WIDTH = 30


class Progress:
    """Counts towards ``total`` from ``start``; speed is measured in this run alone."""

    def __init__(self, title: str, start: int, total: int, stream: TextIO) -> None:
        self._title, self._start, self._total, self._stream = title, start, total, stream
        self._bar = stream.isatty()
        self._began = time.monotonic()
        self._shown = self._began if not self._bar else 0.0
        self._finished = False

    def show(self, done: int, note: str = "") -> None:
        """Show ``done``, if it is time to or all is done."""
        now = time.monotonic()
        if self._finished or (now - self._shown < (BAR_EVERY_S if self._bar else LINE_EVERY_S) and done < self._total):
            return
        self._shown, self._finished = now, done >= self._total
        print(self._text(done, note, now), end="\r" if self._bar and done < self._total else "\n",
              file=self._stream, flush=True)  # fmt: skip

    def _text(self, done: int, note: str, now: float) -> str:
        speed = (done - self._start) / max(1e-9, now - self._began)
        left = f"{(self._total - done) / speed / 60:.0f} min left" if speed > 0 else "just begun"
        filled = round(_WIDTH * done / max(1, self._total))
        bar = "[" + "#" * filled + "." * (_WIDTH - filled) + "] " if self._bar else ""
        return f"{self._title} {bar}{done}/{self._total}  {speed:.1f}/s  {left}  {note}"
