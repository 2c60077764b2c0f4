"""A runner against a ledger, an engine and a store that say what a test wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from synerdiff.engine.types import (
    ImageReady,
    ImageReceipt,
    ImageTimings,
    Request,
    Snapshot,
)
from synerdiff.ledger import Claim, Ended, Ledger, Refused, Renewal
from synerdiff.protocol import ErrorInfo, Job, JobState, Limits, ModelEntry
from synerdiff.protocol.errors import LedgerUnavailable, StorageUnavailable
from synerdiff.storage import Stored
from synerdiff.workers.bridge import Bridge
from synerdiff.workers.gate import Gate
from synerdiff.workers.leases import Leases
from synerdiff.workers.runner import Outcome, Runner, Serving
from synerdiff.workers.runs import Gone, Phase, Run
from synerdiff.workers.uploads import Uploads

ENTRY = ModelEntry(name="m", pool="m", default_width=64, default_height=64)
JOB = Job(id="job", model="m", prompt="cat", width=64, height=64, steps=2, seed=1)
CLAIM = Claim(JOB, 5, 0, False, 10.0, 10.5)
HELD = (("works", Phase.ACTIVE), ("uploads", Phase.UPLOADING))


class FakeLedger:
    """Answers claims from a list and notes how jobs end; ``away`` calls fail first."""

    def __init__(self, *claims: Claim | Refused, away: int = 0, accepts: bool = True) -> None:
        self.claims = list(claims) or [CLAIM]
        self.away = away
        self.accepts = accepts
        self.ends: list[tuple[Any, ...]] = []
        self.renewed: list[dict[str, int]] = []
        self.steps: list[int | None] = []
        self.verdict = Renewal.HELD
        self.snapshots: list[tuple[int, int, bytes]] = []
        self.latents: bytes | None = None

    def claim(self, job_id: str, **_: Any) -> Claim | Refused:
        self._reach()
        return self.claims.pop(0) if len(self.claims) > 1 else self.claims[0]

    def finish(self, job_id: str, token: int, result: Any) -> Ended:
        return self._end("finish", job_id, token, result)

    def fail(self, job_id: str, token: int, error: ErrorInfo) -> Ended:
        return self._end("fail", job_id, token, error.message)

    def hand_back(self, job_id: str, token: int, reason: str, how: str = "", step: int | None = None) -> Ended:
        self.steps.append(step)
        return self._end(how or "hand_back", job_id, token, reason)

    def keep(self, job_id: str, token: int, steps: int, data: bytes, ttl_s: float) -> bool:
        self._reach()
        self.snapshots.append((token, steps, data))
        return True

    def kept(self, job_id: str) -> bytes | None:
        self._reach()
        return self.latents

    def progress_many(self, events: list[Any]) -> list[bool]:
        self._reach()
        return [True] * len(events)

    def renew(self, worker: str, leases: dict[str, int], lease_s: float) -> dict[str, Renewal]:
        self.renewed.append(leases)
        return dict.fromkeys(leases, self.verdict)

    def _end(self, *what: Any) -> Ended:
        self._reach()
        self.ends.append(what)
        return Ended(self.accepts, JobState.SUCCEEDED, ("next",))

    def _reach(self) -> None:
        if self.away:
            self.away -= 1
            raise LedgerUnavailable("Redis is away")


class FakeBridge:
    """Does to each admitted run what the test wants."""

    def __init__(self, on_admit: Callable[[Run], None]) -> None:
        self.on_admit = on_admit
        self.cancelled: list[str] = []
        self.parted: list[str] = []
        self.admitted: Any = None
        self.hands_out: Snapshot | None = Snapshot("job", 3, b"latents")
        self.made = False
        self.pid: int | None = 1
        self.silence_s = 0.0
        self.patience_s = 30.0

    def admit(self, run: Run, request: Request, kept: bytes | None = None) -> None:
        self.admitted = (run, request, kept)
        self.on_admit(run)

    def part(self, run: Run) -> bool:
        self.parted.append(run.id)
        if self.hands_out is not None:
            self.admitted[0].tell(Gone(self.hands_out))
        return not self.made

    def mourns(self, run: Run) -> bool:
        return self.pid is None

    def cancel(self, run: Run) -> None:
        self.cancelled.append(run.id)


class FakeStore:
    """Refuses some puts, then stores."""

    def __init__(self, refuses: int = 0) -> None:
        self.refuses = refuses
        self.keys: list[str] = []

    def put_image(self, key: str, data: bytes, content_type: str, sha256: str | None = None) -> Stored:
        if self.refuses:
            self.refuses -= 1
            raise StorageUnavailable("S3 is away")
        self.keys.append(key)
        return Stored(key, "abc", len(data))


def image() -> ImageReady:
    receipt = ImageReceipt(4, 0, 2.0, (), 1, 0)
    return ImageReady("job", 0, 1, np.zeros((64, 64, 3), np.uint8), ImageTimings(0, 0, 0, 0), receipt)


class Bench:
    """A runner with everything around it faked."""

    def __init__(
        self,
        on_admit: Callable[[Run], None],
        ledger: FakeLedger | None = None,
        store: FakeStore | None = None,
        news_s: float = 0.0,
    ) -> None:
        self.ledger, self.store = ledger or FakeLedger(), store or FakeStore()
        self.bridge = FakeBridge(on_admit)
        self.sent: list[str] = []
        self.gate = Gate(lambda: True)
        self.gate.engine(True)
        ledger_, bridge = cast(Ledger, self.ledger), cast(Bridge, self.bridge)
        self.leases = Leases(ledger_, bridge, worker="w", lease_s=1.0)
        uploads = Uploads(self.store, "images/", threads=1, limit_bytes=1000, on_room=self.gate.poke)
        self.runner = Runner(
            Serving("w", ENTRY, Limits(), 1.0, news_s=news_s),
            ledger=ledger_,
            bridge=bridge,
            uploads=uploads,
            leases=self.leases,
            gate=self.gate,
            send_hints=self.sent.extend,
        )

    def follow(self) -> Outcome:
        return self.runner.follow("job")
