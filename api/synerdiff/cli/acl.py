"""What each part of the fleet may do in Redis: users, keys and commands, as a Redis ACL file.

Redis checks the keys that a Lua script touches against the user that runs it, so these rules hold inside the ledger's
scripts too. The keys are documented at the head of ``ledger/lua/keys.lua``; Celery's are kombu's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

LEDGER = "synerdiff:"

# No role may scan or list keys, run functions, or do what is dangerous (FLUSHALL, CONFIG, KEYS, DEBUG, SHUTDOWN ...).
# INFO counts as dangerous, but the checks at the start read maxmemory_policy from it.
COMMANDS = (
    "-@all +@connection +@read +@write +@pubsub +multi +exec +discard +watch +unwatch +time +eval +evalsha "
    "+script|load +script|exists -@dangerous -@admin -scan -randomkey -dbsize +info"
)

QUEUE = (
    *("job:*", "events:*", "jobs:*", "pools", "counters:*", "tenants:*", "deadlines:*", "priorities:*", "vtime:*"),
    *("preview:*", "latents:*", "revoked:*", "webhooks", "rate:*"),
    *("queue:*", "released:*", "quarantine:*", "leases:*", "inflight:*", "alone:*", "discard:*"),
)
# Redis compares the pattern of a PSUBSCRIBE letter by letter, and kombu's holds the number of the database.
CHANNELS = ("celeryev", "celeryev/*", "celery.pidbox", "celery.pidbox/*")
BINDINGS = "_kombu.binding*"
UNACKED = ("unacked", "unacked_index", "unacked_mutex", "unacked_mutex.*")
CONTROL = "*.celery.pidbox"  # commands to a worker, and its replies
HEARD = "celeryev.*"
HINTS = "synerdiff.*"


@dataclass(frozen=True, slots=True)
class Role:
    """One user. ``ledger``, ``ledger_read`` and ``ledger_write`` are below the ledger's prefix, the others are not."""

    name: str
    purpose: str
    ledger: tuple[str, ...] = ()
    ledger_read: tuple[str, ...] = ()
    ledger_write: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    keys_read: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    @property
    def patterns(self) -> tuple[str, ...]:
        """Key patterns in the words of Redis."""
        return (
            *(f"~{LEDGER}{name}" for name in self.ledger),
            *(f"%R~{LEDGER}{name}" for name in self.ledger_read),
            *(f"%W~{LEDGER}{name}" for name in self.ledger_write),
            *(f"~{name}" for name in self.keys),
            *(f"%R~{name}" for name in self.keys_read),
        )

    def rules(self, password: str, db: int) -> str:
        """Its line of an ACL file; the password is kept as its SHA-256."""
        channels = " ".join(f"&/{db}.{name}" for name in self.channels)
        keys = f"resetkeys {' '.join(self.patterns)}"
        return f"user {self.name} on #{_digest(password)} {keys} resetchannels {channels} {COMMANDS}"


_PRODUCER_KEYS = (*QUEUE, "idem:*")
_PRODUCER_READS = ("catalogue", "worker:*", "workers:*", "capacities:*", "plan:*", "profile:*")

ROLES: Mapping[str, Role] = {
    role.name: role
    for role in (
        Role(
            "producer",
            "the Python client and Celery-only producers",
            ledger=_PRODUCER_KEYS,
            ledger_read=_PRODUCER_READS,
            keys=(HINTS, BINDINGS),
        ),
        Role(
            "gateway",
            "the HTTP gateway: a producer that reads more",
            ledger=_PRODUCER_KEYS,
            ledger_read=(*_PRODUCER_READS, "dead_letters", "table:*", "leader:*"),
            keys=(HINTS, BINDINGS),
        ),
        Role(
            "worker",
            "GPU workers: claim and end jobs; plans are read only",
            ledger=(*QUEUE, "worker:*", "workers:*", "capacities:*", "catalogue", "dead_letters", "profile:*"),
            ledger_read=("plan:*", "table:*"),
            ledger_write=("idem:*",),  # to let it expire with the record
            keys=(HINTS, BINDINGS, CONTROL, *UNACKED),
            channels=CHANNELS,
        ),
        Role(
            "scheduler",
            "the scheduler: reaps, plans, and takes Celery submissions",
            ledger=("*",),
            keys=(HINTS, "synerdiff.submit*", BINDINGS),
        ),
        Role(
            "flower",
            "Flower: hears events, asks workers, reads queue lengths; no job record",
            keys=(BINDINGS, CONTROL, HEARD, *UNACKED),
            keys_read=(HINTS,),
            channels=CHANNELS,
        ),
    )
}

# What Redis Sentinel and a replica need of a server whose default user is off: purpose, and rules as Redis' and
# Valkey's pages on Sentinel give them.
REPLICATION: Mapping[str, tuple[str, str]] = {
    "sentinel": (
        "Redis Sentinel: `sentinel auth-user`; no key",
        "resetkeys allchannels -@all +multi +slaveof +ping +exec +subscribe +config|rewrite +role +publish +info "
        "+client|setname +client|kill +script|kill",
    ),
    "replica": ("replicas: `masteruser`; copies everything", "resetkeys resetchannels -@all +psync +replconf +ping"),
}


def acl_file(passwords: Mapping[str, str], db: int = 0) -> str:
    """The ACL file for an ``admin``, all roles and those of ``REPLICATION`` that ``passwords`` has one for.

    The default user is off. ``db`` is the number of the database in ``SYNERDIFF_REDIS_URL``.
    """
    lines = ["user default off", f"user admin on #{_digest(passwords['admin'])} ~* &* +@all"]
    lines += [
        f"user {name} on #{_digest(passwords[name])} {rules}"
        for name, (_, rules) in REPLICATION.items()
        if name in passwords
    ]
    return "\n".join([*lines, *(role.rules(passwords[name], db) for name, role in ROLES.items())]) + "\n"


def _digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()
