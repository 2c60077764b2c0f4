"""How a ledger behaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

REAP_GAP_S = 5.0  # more than two of the longest periods a scheduler may have: one tick may be lost


class LedgerSettings(Protocol):
    """The part of the settings that a ledger is made from."""

    @property
    def max_queue(self) -> int: ...
    @property
    def max_queue_per_tenant(self) -> int: ...
    @property
    def tenant_weights(self) -> Mapping[str, float]: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def result_ttl_s(self) -> float: ...
    @property
    def dead_ttl_s(self) -> float: ...


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    """How a ledger behaves; all times in seconds.

    ``release_factor`` times a pool's capacity are released or running at a time: what is released can no longer be
    overtaken by another tenant, so it is little more than hides the time of a hint. ``arrival_horizon_s`` is the
    deadline that a job without one is ordered by, within its tenant. After a gap of ``reap_gap_s`` between two
    reapings every lease has ``lease_grace_s`` more, three times in a row at most. ``tenant_weights``
    are shares of a pool (1 if not named). ``clock`` replaces Redis ``TIME``: tests alone set it.
    """

    prefix: str = "synerdiff:"
    max_queue: int = 200_000
    max_queue_per_tenant: int = 0
    retry_after_s: float = 5.0
    max_attempts: int = 3
    result_ttl_s: float = 86_400.0
    dead_ttl_s: float = 14 * 86_400.0
    release_factor: float = 1.25
    arrival_horizon_s: float = 3600.0
    reap_gap_s: float = REAP_GAP_S
    lease_grace_s: float = 10.0
    hint_backoff_s: float = 1.0
    hint_backoff_cap_s: float = 30.0
    tenant_weights: Mapping[str, float] = field(default_factory=dict)
    clock: ManualClock | None = None

    @classmethod
    def of(cls, settings: LedgerSettings) -> LedgerConfig:
        """What every part of the fleet makes of a settings object."""
        return cls(
            max_queue=settings.max_queue,
            max_queue_per_tenant=settings.max_queue_per_tenant,
            max_attempts=settings.max_attempts,
            result_ttl_s=settings.result_ttl_s,
            dead_ttl_s=settings.dead_ttl_s,
            tenant_weights=settings.tenant_weights,
        )


class ManualClock:
    """A clock that a test moves by hand, in seconds since the epoch."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self.now += seconds
