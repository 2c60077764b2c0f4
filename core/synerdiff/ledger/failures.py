"""What can be wrong with the Redis behind a ledger, said in one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,  # noqa: A004
    NoPermissionError,
    OutOfMemoryError,
    ResponseError,
    TimeoutError,  # noqa: A004
)

from synerdiff.protocol.errors import LedgerUnavailable

SET = "set SYNERDIFF_REDIS_URL"


class LedgerFull(LedgerUnavailable):
    """Redis is at its ``maxmemory`` and takes no new jobs; those it has go on."""


def where(client: redis.Redis) -> str:
    """The address that a client uses, without its password."""
    options = client.connection_pool.connection_kwargs
    if "path" in options:
        return f"unix://{options['path']}"
    return f"redis://{options.get('host', 'localhost')}:{options.get('port', 6379)}/{options.get('db', 0) or 0}"


def _sentence(error: Exception, address: str) -> str:
    if isinstance(error, (AuthenticationError, NoPermissionError)):
        return f"Redis at {address} refuses this user ({error}); {SET} with a user and password that may use it"
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
    except (ConnectionError, TimeoutError, NoPermissionError) as error:
        raise LedgerUnavailable(_sentence(error, where(client))) from error
    except ResponseError as error:
        if str(error).startswith(("MISCONF", "READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS", "BUSY", "NOPERM")):
            raise LedgerUnavailable(_sentence(error, where(client))) from error
        raise
