"""The address of Redis: one server, or the master that Redis Sentinel names.

``redis://``, ``rediss://`` and ``unix://`` are redis-py's own. Sentinel's form holds the user and password of Redis
before the Sentinels' hosts, as other clients write it::

    sentinel://user:password@host1:26379,host2:26379,host3:26379/0?master=NAME

``sentinels://`` speaks TLS, to the Sentinels and to Redis, with redis-py's ``ssl_...`` options in the query.
``sentinel_username`` and ``sentinel_password`` there are for the Sentinels themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from synerdiff.protocol.errors import LedgerUnavailable

SENTINEL_PORT = 26379
SENTINEL_TIMEOUT_S = 1.0  # a Sentinel that is away must not keep a client from asking the next
CHECKS = ("none", "optional", "required")
KNOWN = (
    *("master", "sentinel_username", "sentinel_password"),
    *("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"),
)
_SHAPE = re.compile(
    r"(?P<scheme>sentinels?)://(?:(?P<user>.*)@)?(?P<hosts>[^/?@]*)(?:/(?P<db>[^?]*))?(?:\?(?P<query>.*))?"
)
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """Where the Sentinels are and which master to ask them for. ``tls`` holds TLS options, None without TLS."""

    hosts: tuple[tuple[str, int], ...]
    master: str
    db: int = 0
    user: Mapping[str, str] = field(default_factory=dict, repr=False)
    sentinel_user: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Mapping[str, Any] | None = None

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """What a connection to a Sentinel takes. One that is away is asked once: redis-py would wait seconds."""
        tls = {} if self.tls is None else {"ssl": True, **self.tls}
        waits = {"socket_connect_timeout": SENTINEL_TIMEOUT_S, "socket_timeout": SENTINEL_TIMEOUT_S}
        return {**waits, "retry": Retry(NoBackoff(), 0), **self.sentinel_user, **tls}

    @property
    def celery_url(self) -> str:
        """The same for kombu: an address for each Sentinel, each with user, password and database."""
        login = ""
        if self.user:
            name, password = (quote(self.user.get(part, ""), safe="") for part in ("username", "password"))
            login = f"{name}:{password}@"
        return ";".join(f"sentinel://{login}{_bracketed(host)}:{port}/{self.db}" for host, port in self.hosts)

    def __str__(self) -> str:
        hosts = ",".join(f"{_bracketed(host)}:{port}" for host, port in self.hosts)
        return f"sentinel{'' if self.tls is None else 's'}://{hosts}/{self.db}?master={self.master}"


def sentinel_address(url: str) -> SentinelAddress | None:
    """What a Sentinel URL says; None for one of another scheme. Raises :class:`LedgerUnavailable` for a wrong one."""
    if not url.startswith(("sentinel://", "sentinels://")):
        return None
    found = _SHAPE.fullmatch(url)
    if found is None:
        raise _wrong("it is not sentinel://user:password@host:26379,host:26379/0?master=NAME")
    options = _options(found["query"] or "", tls=found["scheme"] == "sentinels")
    master = options.pop("master", "")
    if not master:
        raise _wrong("it names no master; add ?master=NAME, as in `sentinel monitor NAME`")
    name, _, password = (found["user"] or "").partition(":")
    login = {"username": unquote(name), "password": unquote(password)}
    sentinel_user = {part: options.pop(f"sentinel_{part}", "") for part in ("username", "password")}
    return SentinelAddress(
        hosts=tuple(_host(item) for item in found["hosts"].split(",")),
        master=master,
        db=_db(found["db"] or "0"),
        user={part: value for part, value in login.items() if value},
        sentinel_user={part: value for part, value in sentinel_user.items() if value},
        tls={"ssl_cert_reqs": "required", **options} if found["scheme"] == "sentinels" else None,
    )


def open_client(url: str, **options: Any) -> redis.Redis:
    """A client of the Redis at ``url``; behind Sentinel, each new connection asks for the present master.

    A connection that finds its master demoted is closed and asks again. Raises :class:`LedgerUnavailable` for an
    address that is none, and connects to nothing yet.
    """
    address = sentinel_address(url)
    if address is None:
        try:
            client: redis.Redis = redis.Redis.from_url(url, **options)
        except ValueError as error:
            raise _wrong(f"{error}; give redis://host:port/db") from None
        return client
    tls = {} if address.tls is None else {"ssl": True, **address.tls}
    sentinel = Sentinel(address.hosts, sentinel_kwargs=address.sentinel_options)  # type: ignore[no-untyped-call]
    given = {"db": address.db, **address.user, **tls, **options}
    found: redis.Redis = sentinel.master_for(address.master, **given)  # type: ignore[no-untyped-call]
    return found


def shown(url: str) -> str:
    """``url`` without users and passwords, for people."""
    try:
        address = sentinel_address(url)
        parts = urlsplit(url)
    except (LedgerUnavailable, ValueError):
        return url.partition("://")[0] + "://..."
    if address is not None:
        return str(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def where(client: redis.Redis) -> str:
    """The address that a client uses, without its password."""
    pool = client.connection_pool
    options = pool.connection_kwargs
    db = options.get("db", 0) or 0
    if isinstance(pool, SentinelConnectionPool):
        asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
        hosts = ",".join(sorted(f"{_bracketed(each['host'])}:{each['port']}" for each in asked))
        return f"sentinel://{hosts}/{db}?master={pool.service_name}"
    if "path" in options:
        return f"unix://{options['path']}"
    return f"redis://{options.get('host', 'localhost')}:{options.get('port', 6379)}/{db}"


def _wrong(why: str) -> LedgerUnavailable:
    return LedgerUnavailable(f"SYNERDIFF_REDIS_URL is no address of Redis: {why}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _host(item: str) -> tuple[str, int]:
    found = _HOST.fullmatch(item.strip())
    port = int(found["port"] or SENTINEL_PORT) if found else 0
    if found is None or not 1 <= port <= 65_535:
        raise _wrong(f"a Sentinel's host is HOST or HOST:PORT, ports 1 to 65535, several with commas; got {item!r}")
    return found["host"].strip("[]"), port


def _db(text: str) -> int:
    if not text.isdecimal():
        raise _wrong(f"the database after the / is a number of 0 or more; got {text!r}")
    return int(text)


def _options(query: str, *, tls: bool) -> dict[str, Any]:
    options: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in KNOWN:
            raise _wrong(f"{name!r} is no option of it; known: {', '.join(KNOWN)}")
        if name.startswith("ssl_") and not tls:
            raise _wrong(f"{name} needs TLS; write sentinels:// for sentinel://")
    if options.get("ssl_cert_reqs", CHECKS[0]) not in CHECKS:
        raise _wrong(f"ssl_cert_reqs is one of {', '.join(CHECKS)}; got {options['ssl_cert_reqs']!r}")
    checked = options.get("ssl_check_hostname", "true").lower()
    if checked not in ("true", "false"):
        raise _wrong(f"ssl_check_hostname is true or false; got {checked!r}")
    if "ssl_check_hostname" in options:
        options["ssl_check_hostname"] = checked == "true"
    return options
