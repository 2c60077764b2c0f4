"""What can be wrong with the Redis behind a ledger, said in one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,  # noqa: A004
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,  # noqa: A004
)
from redis.sentinel import MasterNotFoundError

from synerdiff.ledger.address import where
from synerdiff.protocol.errors import LedgerUnavailable

SET = "set SYNERDIFF_REDIS_URL"


class LedgerFull(LedgerUnavailable):
    """Redis is at its ``maxmemory`` and takes no new jobs; those it has go on."""


def _sentence(error: Exception, address: str) -> str:
    if isinstance(error, (AuthenticationError, NoPermissionError)):
        return f"Redis at {address} refuses this user ({error}); {SET} with a user and password that may use it"
    if isinstance(error, MasterNotFoundError):  # its own text holds pages of the library's objects
        return (
            f"no Sentinel of {address} answers and knows a master of that name that is up; see that they run, that "
            f"the name and sentinel_password are theirs, or {SET}"
        )
    if isinstance(error, TimeoutError):
        return f"Redis at {address} does not answer ({error}); see that it runs, or {SET}"
    if isinstance(error, ConnectionError):
        return f"Redis at {address} cannot be reached ({error}); start it there, or {SET}"
    return f"Redis at {address} refuses writes ({error}); see its log and its disk"


@contextmanager
def translated(client: redis.Redis) -> Iterator[None]:
    """Turn the errors of a Redis that is away, full or read-only into ours; a mistake in a script stays an error."""
    try:
        yield
    except OutOfMemoryError as error:
        address = where(client)
        message = f"Redis at {address} is out of memory and takes no new jobs; raise its maxmemory"
        raise LedgerFull(message) from error
    except (ConnectionError, TimeoutError, NoPermissionError, ReadOnlyError, MasterDownError) as error:
        raise LedgerUnavailable(_sentence(error, where(client))) from error
    except ResponseError as error:
        if str(error).startswith(("MISCONF", "NOREPLICAS", "BUSY")):
            raise LedgerUnavailable(_sentence(error, where(client))) from error
        raise
