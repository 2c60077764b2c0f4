"""The job ledger: records, leases and the queue in Redis, one Lua script an operation."""

from synerdiff.ledger.failures import LedgerFull
from synerdiff.ledger.ledger import Ledger
from synerdiff.ledger.values import (
    Claim,
    Ended,
    LeaderToken,
    LedgerConfig,
    ManualClock,
    PlanningReport,
    PoolLoad,
    Reaped,
    RefusalReason,
    Refused,
    Renewal,
    Submission,
    WorkerReport,
)

__all__ = [
    "Claim",
    "Ended",
    "LeaderToken",
    "Ledger",
    "LedgerConfig",
    "LedgerFull",
    "ManualClock",
    "PlanningReport",
    "PoolLoad",
    "Reaped",
    "RefusalReason",
    "Refused",
    "Renewal",
    "Submission",
    "WorkerReport",
]
