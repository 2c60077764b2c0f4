"""The bench's Valkey: like the embedded one, and its clock can be moved where libfaketime is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from synerdiff.cli.embedded import EmbeddedRedis

_PLACES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib")


def faketime() -> Path | None:
    """The library that fakes a process's clock, if this machine has it (Debian: ``libfaketime``)."""
    found = (Path(place) / "faketime" / "libfaketimeMT.so.1" for place in _PLACES)
    return next((path for path in found if path.exists()), None)


class Broker(EmbeddedRedis):
    """A Valkey whose wall clock follows ``offset``; its monotonic clock stays right, as when NTP steps a clock."""

    @property
    def clock_moves(self) -> bool:
        """Whether :meth:`move_clock` works here."""
        return faketime() is not None

    def move_clock(self, seconds: float) -> None:
        """Move the server's wall clock; it notices within a second."""
        self._offset_file.write_text(f"{seconds:+g}\n")

    @property
    def _offset_file(self) -> Path:
        return self.directory.resolve() / "clock-offset"

    def _launch(self, command: Sequence[str], ready: Callable[[], bool], env: Mapping[str, str] | None = None) -> None:
        library = faketime()
        fake: dict[str, str] = {}
        if library is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.move_clock(0)
            fake = {
                "LD_PRELOAD": str(library),
                "FAKETIME_TIMESTAMP_FILE": str(self._offset_file),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1",
            }
        super()._launch(command, ready, {**(env or {}), **fake})
