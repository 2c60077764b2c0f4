"""From a webhook's URL to the one address that is called, or the reason why none is."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Self

import httpx

from synerdiff.api.webhooks.address import Address, Network, may_call, plain
from synerdiff.protocol.errors import SettingsError

MAX_NAME_CHARS = 253  # RFC 1035, as text
MAX_LABEL_CHARS = 63
MAX_PORT = 65535

# Own threads: a name server that is slow with one producer's names must not hold the threads that serve requests.
_LOOKUPS = ThreadPoolExecutor(64, thread_name_prefix="webhook-lookup")


class Refused(Exception):
    """This URL must not be called; the text says why."""


@dataclass(frozen=True, slots=True)
class Rules:
    """``hosts`` (exact, or ``*.example.com``) are the only ones called, all where empty; ``networks`` may be called
    though they are not public."""

    hosts: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, hosts: str, networks: str) -> Self:
        """From two settings, with commas between. Raises :class:`SettingsError`."""
        try:
            nets = tuple(ip_network(part.strip()) for part in networks.split(",") if part.strip())
        except ValueError as error:
            raise SettingsError(f"SYNERDIFF_WEBHOOK_NETWORKS: {error}", field="webhook_networks") from None
        return cls(tuple(part.strip().lower() for part in hosts.split(",") if part.strip()), nets)

    def check(self, url: httpx.URL) -> None:
        """What can be told from the URL alone. Raises :class:`Refused`."""
        if url.scheme not in ("http", "https") or not url.host:
            raise Refused("it must be an http or https URL with a host")
        if url.userinfo:
            raise Refused("it must not hold a user or password")
        host = name_of(url)
        if self.hosts and not any(_matches(host, pattern) for pattern in self.hosts):
            raise Refused(f"{host} is not among the hosts that may be called")
        if url.port is not None and not 1 <= url.port <= MAX_PORT:
            raise Refused(f"its port must be 1 to {MAX_PORT}; it is {url.port}")
        literal = _literal(host)
        if literal is not None:
            self._check_address(host, literal)
        else:
            _check_name(host)

    def _check_address(self, host: str, address: Address) -> None:
        if not may_call(address, self.networks):
            raise Refused(f"{host} is {'' if host == str(address) else f'{address}, '}not a public address")

    async def resolve(self, url: httpx.URL) -> Address:
        """The address to call: the name is resolved once, and every address of it must be allowed.

        Raises :class:`Refused`, and ``OSError`` if the name cannot be resolved.
        """
        self.check(url)
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        loop = asyncio.get_running_loop()
        look_up = partial(socket.getaddrinfo, name_of(url), port, type=socket.SOCK_STREAM)
        found = await loop.run_in_executor(_LOOKUPS, look_up)
        addresses = list(dict.fromkeys(plain(ip_address(str(sockaddr[0]))) for *_, sockaddr in found))
        for address in addresses:
            self._check_address(name_of(url), address)
        return _first(addresses)


def name_of(url: httpx.URL) -> str:
    """The host as names and certificates are compared: lower case, ASCII, without a last dot."""
    return url.raw_host.decode("ascii").lower().rstrip(".")


def _check_name(host: str) -> None:
    if len(host) > MAX_NAME_CHARS or not all(1 <= len(label) <= MAX_LABEL_CHARS for label in host.split(".")):
        raise Refused(
            f"its host must be at most {MAX_NAME_CHARS} characters, and each part between dots 1 to {MAX_LABEL_CHARS}"
        )


def _first(addresses: Sequence[Address]) -> Address:
    return next((address for address in addresses if address.version == 4), addresses[0])


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
