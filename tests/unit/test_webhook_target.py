"""Which addresses webhooks may go to, and that the checked address is the one that is called."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synerdiff.api.webhooks.address import may_call, plain
from synerdiff.api.webhooks.delivery import deliver
from synerdiff.api.webhooks.message import Secrets
from synerdiff.api.webhooks.service import retry_after
from synerdiff.api.webhooks.target import Refused, Rules
from synerdiff.protocol.errors import SettingsError

PRIVATE = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::1/128",
    "::/128",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
)
private_v4 = st.one_of([st.ip_addresses(network=net) for net in PRIVATE if "." in net])
private = st.one_of([st.ip_addresses(network=net) for net in PRIVATE])


@given(private)
def test_no_private_address_may_be_called(address: IPv4Address | IPv6Address) -> None:
    assert not may_call(address)


@given(private_v4, st.sampled_from(["::ffff:0:0", "64:ff9b::", "2002::", "::"]))
def test_nor_one_inside_an_ipv6_address(address: IPv4Address, carrier: str) -> None:
    shift = 80 if carrier == "2002::" else 0
    assert not may_call(IPv6Address(int(IPv6Address(carrier)) | int(address) << shift))


@given(st.ip_addresses(v=4))
def test_ipv4_may_be_called_exactly_where_python_calls_it_global(address: IPv4Address) -> None:
    assert may_call(address) == (address.is_global and not address.is_multicast and not address.is_reserved)
    assert may_call(IPv6Address(f"::ffff:{address}")) == may_call(address)
    assert plain(IPv6Address(f"::ffff:{address}")) == address


@given(private)
def test_an_allowed_network_is_allowed_and_no_other(address: IPv4Address | IPv6Address) -> None:
    own = ip_network(f"{address}/{address.max_prefixlen}")
    assert may_call(address, [own])
    other = ip_network("10.9.8.7/32")
    assert may_call(address, [other]) == (plain(address) == ip_address("10.9.8.7"))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
def test_public_addresses_may_be_called(address: str) -> None:
    assert may_call(ip_address(address))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1/", "not a public address"),
        ("http://[::1]:80/", "not a public address"),
        ("http://[::ffff:10.0.0.1]/", "not a public address"),
        ("http://user:pass@example.com/", "user or password"),
        ("ftp://example.com/", "http or https"),
        ("http://elsewhere.org/", "not among the hosts"),
        ("http://example.com.evil.org/", "not among the hosts"),
    ],
)
def test_what_a_url_alone_tells(url: str, why: str) -> None:
    hosts = "" if "://[" in url or "127" in url else "example.com,*.example.net"
    with pytest.raises(Refused, match=why):
        Rules.parse(hosts, "").check(httpx.URL(url))


def test_hosts_match_whole_names() -> None:
    rules = Rules.parse("example.com,*.example.net", "")
    for host in ("example.com", "EXAMPLE.com.", "a.example.net"):
        rules.check(httpx.URL(f"https://{host}/hook"))
    with pytest.raises(Refused):
        rules.check(httpx.URL("https://example.net/"))


@pytest.mark.parametrize("host", ["localhost", "0x7f.1", "2130706433", "127.1"])
def test_a_name_of_this_machine_is_refused_when_it_is_resolved(host: str) -> None:
    with pytest.raises(Refused, match=r"127\.0\.0\.1, not a public|::1, not a public"):
        asyncio.run(Rules().resolve(httpx.URL(f"http://{host}/")))


def test_one_bad_address_among_many_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolve_to(monkeypatch, ["93.184.216.34", "10.0.0.7"])
    with pytest.raises(Refused, match=r"10\.0\.0\.7"):
        asyncio.run(Rules().resolve(httpx.URL("http://example.com/")))


def test_the_name_is_resolved_once_and_the_address_is_the_one_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public at the check and private at the connection would be called at the public address."""
    asked = _resolve_to(monkeypatch, ["192.0.2.7"])
    rules = Rules.parse("", "192.0.2.0/24")  # for documentation: nobody is there, so the attempt must fail
    answer = asyncio.run(deliver("http://rebinding.example/", "{}", {}, rules, timeout_s=0.3))
    assert not answer.delivered
    assert asked.count("rebinding.example") == 1
    assert set(asked) <= {"rebinding.example", "192.0.2.7"}


def _resolve_to(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> list[str]:
    asked: list[str] = []

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        asked.append(name)
        found = [name] if name[0].isdigit() else addresses
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_retries_back_off_and_end() -> None:
    waits = [retry_after(attempts, 8) for attempts in range(1, 9)]
    assert waits[-1] is None
    seconds = [wait for wait in waits if wait is not None]
    assert seconds == sorted(seconds)
    assert 4 < seconds[0] < 6
    assert 3600 < seconds[-1] <= 4 * 3600 * 1.1


@pytest.mark.parametrize("pairs", ["red", "red:", ":whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "*:whsec_c2hvcnQ=", "a:b"])
def test_wrong_secrets_stop_the_start_and_are_not_shown(pairs: str) -> None:
    with pytest.raises(SettingsError, match="SYNERDIFF_WEBHOOK_SECRETS") as caught:
        Secrets(pairs)
    assert "c2hvcnQ" not in caught.value.message


def test_wrong_networks_stop_the_start() -> None:
    with pytest.raises(SettingsError, match="SYNERDIFF_WEBHOOK_NETWORKS"):
        Rules.parse("", "10.0.0.1/8")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"https://{'a' * 64}.example/", "each part between dots 1 to 63"),
        ("https://a..example.com/", "each part between dots 1 to 63"),
        ("https://./", "each part between dots 1 to 63"),
        (f"https://{'.'.join(['a' * 60] * 5)}/", "at most 253 characters"),
        ("https://example.com:99999/", "port must be 1 to 65535; it is 99999"),
        ("https://example.com:0/", "port must be 1 to 65535; it is 0"),
    ],
)
def test_a_name_or_port_that_cannot_be_is_refused(url: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        Rules().check(httpx.URL(url))


@pytest.mark.parametrize(
    ("url", "name", "port"),
    [
        (f"https://{'a' * 63}.example/", f"{'a' * 63}.example", 443),
        ("https://example.com.:65535/", "example.com", 65535),
        ("https://[2606::1]:1/", "2606::1", 1),
    ],
)
def test_the_longest_label_a_last_dot_and_a_literal_are_looked_up(
    monkeypatch: pytest.MonkeyPatch, url: str, name: str, port: int
) -> None:
    asked = []

    def getaddrinfo(*args: Any, **kwargs: Any) -> list[Any]:
        asked.append(args)
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606::1", port, 0, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert str(asyncio.run(Rules().resolve(httpx.URL(url)))) == "2606::1"
    assert asked == [(name, port)]


@pytest.mark.parametrize(
    ("error", "final", "words"),
    [
        (UnicodeError("label empty or too long"), True, "not called: the address is not valid"),
        (OverflowError("port"), True, "not called: the address is not valid"),
        (RuntimeError("a bug"), False, "RuntimeError: a bug"),
    ],
)
def test_an_attempt_never_raises(monkeypatch: pytest.MonkeyPatch, error: Exception, final: bool, words: str) -> None:
    def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    answer = asyncio.run(deliver("https://example.com/", "{}", {}, Rules(), timeout_s=5))
    assert (answer.status, answer.final, answer.reason) == (None, final, words)
