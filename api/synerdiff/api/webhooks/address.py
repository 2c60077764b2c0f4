"""Which addresses the gateway may call on behalf of a producer: public ones, and networks that a setting allows."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Ranges that carry an IPv4 address inside; a gateway on the way could send such a packet on to a private one.
_CARRIERS = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))
_UNICAST = IPv6Network("2000::/3")  # all that is assigned for global use; NAT64 and site-local prefixes lie outside


def plain(address: Address) -> Address:
    """An IPv4 address written as IPv6 (``::ffff:10.0.0.1``) as itself; others as they are."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def may_call(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """Whether an address may be called: it is in one of ``allowed``, or it is a public unicast address."""
    found = plain(address)
    if any(found in network for network in allowed if network.version == found.version):
        return True
    if isinstance(found, IPv6Address) and (found not in _UNICAST or any(found in carrier for carrier in _CARRIERS)):
        return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)
