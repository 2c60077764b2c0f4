"""A replicated Valkey under Valkey Sentinel: two data nodes with ACL users, three Sentinels with a password."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.exceptions import RedisError

from synerdiff.cli.acl import REPLICATION, ROLES, acl_file
from synerdiff.cli.embedded import EmbeddedRedis, Server, _redis_binary
from synerdiff.cli.ports import free_ports
from tests.support import wait_until

MASTER = "images"
SENTINEL_PASSWORD = "sentinel-test-password"
PASSWORDS = {name: f"{name}-test-password" for name in ("admin", *ROLES, *REPLICATION)}
DOWN_AFTER_MS = 2500  # a busy machine must not look like a dead one


class Node(EmbeddedRedis):
    """A data node: a master, or the replica of one."""

    def __init__(self, directory: Path, follows: int | None = None) -> None:
        super().__init__(directory)
        directory.mkdir(parents=True)
        users = directory / "users.acl"
        users.write_text(acl_file(PASSWORDS))
        config = directory / "valkey.conf"
        lines = [f"aclfile {users.resolve()}", "masteruser replica", f"masterauth {PASSWORDS['replica']}"]
        lines += ["repl-diskless-sync-delay 0"]
        lines += [f"replicaof 127.0.0.1 {follows}"] if follows else []
        config.write_text("\n".join(lines) + "\n")
        self._config = config

    def admin(self) -> redis.Redis:
        """A client that may do everything."""
        return redis.Redis(port=self.port, username="admin", password=PASSWORDS["admin"], decode_responses=True)

    def role(self) -> str:
        """``master``, ``slave``, or nothing while it does not answer."""
        try:
            with self.admin() as client:
                return str(client.info("replication")["role"])
        except RedisError:
            return ""

    def _launch(self, command: Sequence[str], ready: Callable[[], bool], env: Mapping[str, str] | None = None) -> None:
        binary, *options = command
        super()._launch([binary, str(self._config), *options], lambda: bool(self.role()), env)


class SentinelServer(Server):
    """One Sentinel that watches the master with two others."""

    def __init__(self, directory: Path, master_port: int) -> None:
        super().__init__("Sentinel", directory, free_ports(1), None)
        self._master_port = master_port

    def start(self) -> SentinelServer:
        """Start it and wait until it answers."""
        self.directory.mkdir(parents=True)
        lines = [
            f"port {self.ports[0]}",
            "bind 127.0.0.1",
            f"dir {self.directory.resolve()}",
            f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
            f"sentinel monitor {MASTER} 127.0.0.1 {self._master_port} 2",
            f"sentinel auth-user {MASTER} sentinel",
            f"sentinel auth-pass {MASTER} {PASSWORDS['sentinel']}",
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {MASTER} 4000",
        ]
        config = self.directory / "sentinel.conf"
        config.write_text("\n".join(lines) + "\n")
        self._launch([_redis_binary(), str(config), "--sentinel"], lambda: bool(self.state()))
        return self

    def state(self) -> dict[str, int]:
        """How many Sentinels and replicas it knows; empty while it does not answer."""
        try:
            with redis.Redis(port=self.ports[0], password=SENTINEL_PASSWORD, decode_responses=True) as client:
                found = client.sentinel_master(MASTER)
                return {name: int(found[name]) for name in ("num-other-sentinels", "num-slaves")}
        except RedisError:
            return {}


class Replicated:
    """The nodes and their Sentinels, all started and known to each other."""

    def __init__(self, directory: Path) -> None:
        self.master = Node(directory / "a")
        self.replica = Node(directory / "b", follows=self.master.port)
        self.sentinels = [SentinelServer(directory / f"s{index}", self.master.port) for index in range(3)]

    def url(self, role: str) -> str:
        """The address for a user of ``synerdiff acl``."""
        hosts = ",".join(f"127.0.0.1:{sentinel.ports[0]}" for sentinel in self.sentinels)
        login = f"{role}:{PASSWORDS[role]}"
        return f"sentinel://{login}@{hosts}/0?master={MASTER}&sentinel_password={SENTINEL_PASSWORD}"

    def __enter__(self) -> Self:
        try:
            self.master.start()
            self.replica.start()
            wait_until(self._followed, what="the replica")
            for sentinel in self.sentinels:
                sentinel.start()
            knows_all = {"num-other-sentinels": 2, "num-slaves": 1}
            wait_until(lambda: all(each.state() == knows_all for each in self.sentinels), 60, what="the Sentinels")
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()

    def _kill(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.kill()

    def _followed(self) -> bool:
        with self.master.admin() as client:
            return bool(client.wait(1, 100) == 1)
