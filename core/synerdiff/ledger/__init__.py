"""The job ledger: records, leases and the queue in Redis, one Lua script an operation."""

from synerdiff.ledger.address import SentinelAddress, open_client, sentinel_address, shown
from synerdiff.ledger.config import LedgerConfig, ManualClock
from synerdiff.ledger.failures import LedgerFull
from synerdiff.ledger.ledger import Ledger
from synerdiff.ledger.values import (
    Claim,
    Deleted,
    Ended,
    HandBack,
    HeldJob,
    LeaderToken,
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
    "Deleted",
    "Ended",
    "HandBack",
    "HeldJob",
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
    "SentinelAddress",
    "Submission",
    "WorkerReport",
    "open_client",
    "sentinel_address",
    "shown",
]
