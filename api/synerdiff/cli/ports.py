"""Free TCP ports on this machine."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence

from synerdiff.protocol.errors import Unavailable

LOOPBACK = "127.0.0.1"
GRPC_OFFSET = 10_000
# Both a port and its gRPC twin 10,000 above stay below the range that kernels give to outgoing connections.
LOWEST, HIGHEST = 12_000, 22_700


def is_free(port: int) -> bool:
    """Whether ``port`` can be listened on at the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Pick ``count`` different ports that are free, each with its twin 10,000 above free too."""
    found: list[int] = []
    candidates = list(range(LOWEST, HIGHEST))
    random.shuffle(candidates)
    for port in candidates:
        if len(found) == count:
            break
        if is_free(port) and is_free(port + GRPC_OFFSET):
            found.append(port)
    return found


def require_free(ports: Sequence[int]) -> None:
    """Raise :class:`Unavailable` naming the first of ``ports`` that is taken."""
    taken = next((port for port in ports if not is_free(port)), None)
    if taken is not None:
        raise Unavailable(f"port {taken} of {LOOPBACK} is already in use; stop what listens there or choose another")


def is_open(port: int, host: str = LOOPBACK, timeout_s: float = 1.0) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False
