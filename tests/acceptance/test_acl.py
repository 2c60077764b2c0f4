"""Every part of the fleet under a Redis user of its own: what it needs works, what it does not need is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
import redis
from redis.exceptions import NoPermissionError

from synerdiff.cli.acl import ROLES
from synerdiff.cli.embedded import EmbeddedRedis, S3Access
from synerdiff.cli.ports import free_ports
from synerdiff.client import Client
from synerdiff.ledger import Ledger
from synerdiff.protocol import JobState
from synerdiff.settings import load
from tests.support import wait_until

ROOT = Path(__file__).parents[2]


class GuardedRedis(EmbeddedRedis):
    """A Valkey with an ACL file, as ``synerdiff acl`` writes it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        directory.mkdir(parents=True)
        self.acl_file = directory.resolve() / "users.acl"
        command = [sys.executable, "-m", "synerdiff.cli", "acl", "--out", str(self.acl_file), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        self.passwords: dict[str, str] = json.loads(done.stdout)

    def url_of(self, role: str) -> str:
        return f"redis://{role}:{self.passwords[role]}@127.0.0.1:{self.port}/0"

    def client(self, role: str) -> redis.Redis:
        return redis.Redis.from_url(self.url_of(role), decode_responses=True)

    def _launch(self, command: Sequence[str], ready: Callable[[], bool], env: Mapping[str, str] | None = None) -> None:
        super()._launch([*command, "--aclfile", str(self.acl_file)], self._answers, env)

    def _answers(self) -> bool:
        try:
            with self.client("admin") as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedRedis]:
    server = GuardedRedis(tmp_path_factory.mktemp("guarded") / "redis")
    server.start()
    yield server
    server.kill()


def test_the_file_keeps_no_password_and_is_its_owners_alone(guarded: GuardedRedis) -> None:
    text = guarded.acl_file.read_text()
    assert not [role for role, password in guarded.passwords.items() if password in text]
    assert guarded.acl_file.stat().st_mode & 0o077 == 0


def test_an_existing_file_is_not_overwritten(guarded: GuardedRedis) -> None:
    command = [sys.executable, "-m", "synerdiff.cli", "acl", "--out", str(guarded.acl_file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "--out" in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_gets_in_without_a_user(guarded: GuardedRedis) -> None:
    with redis.Redis(port=guarded.port) as client, pytest.raises(redis.AuthenticationError):
        client.get("synerdiff:catalogue")


FORBIDDEN = (
    "FLUSHALL",
    "FLUSHDB",
    "CONFIG GET *",
    "CONFIG SET maxmemory 1",
    "KEYS *",
    "SCAN 0",
    "RANDOMKEY",
    "SHUTDOWN",
    "DEBUG SLEEP 0",
    "ACL LIST",
    "CLIENT KILL TYPE normal",
    "MONITOR",
    "SWAPDB 0 1",
    "REPLICAOF 127.0.0.1 1",
    "SCRIPT FLUSH",
    "FUNCTION LIST",
    "SAVE",
    "GET other-application",
    "SET other-application x",
    "DEL other-application",
    "RENAME other-application synerdiff:job:x",
    "PUBLISH other-channel x",
    "EVAL return\x20redis.call('GET','other-application') 0",
    "EVAL return\x20redis.call('FLUSHALL') 0",
)


@pytest.mark.parametrize("role", sorted(ROLES))
def test_no_role_can_harm_the_server_or_see_foreign_keys(guarded: GuardedRedis, role: str) -> None:
    with guarded.client("admin") as admin:
        admin.set("other-application", "secret")
    with guarded.client(role) as client:
        for command in FORBIDDEN:
            words = command.split(" ") if not command.startswith("EVAL") else _eval_words(command)
            with pytest.raises(
                (NoPermissionError, redis.ResponseError), match=r"(?i)no permissions|can't access|NOPERM|not allowed"
            ):
                client.execute_command(*words)
    with guarded.client("admin") as admin:
        assert admin.get("other-application") == "secret"


def _eval_words(command: str) -> list[str]:
    body, _, count = command.removeprefix("EVAL ").rpartition(" ")
    return ["EVAL", body, count]


REFUSED = {
    "producer": ("HSET synerdiff:plan:p:q version 1", "DEL synerdiff:worker:w", "HSET synerdiff:catalogue m x"),
    "gateway": ("HSET synerdiff:plan:p:q version 1", "HSET synerdiff:leader:scheduler holder me"),
    "worker": (
        "HSET synerdiff:plan:p:q version 1",
        "HSET synerdiff:leader:scheduler holder me",
        "GET synerdiff:idem:t:k",
    ),
    "scheduler": ("GET unacked", "PUBLISH /0.celery.pidbox x"),
    "flower": ("HGETALL synerdiff:job:a", "LPUSH synerdiff.tiny-emoji x", "HGETALL synerdiff:worker:w"),
}


@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_role_cannot_do_what_another_is_for(guarded: GuardedRedis, role: str) -> None:
    with guarded.client(role) as client:
        for command in REFUSED[role]:
            with pytest.raises(NoPermissionError):
                client.execute_command(*command.split(" "))


def test_every_key_of_the_ledger_is_somebodys() -> None:
    text = files("synerdiff.ledger").joinpath("lua", "keys.lua").read_text()
    names = re.findall(r"^-- ([a-z_]+(?::\S+)?) +(?:hash|stream|zset|string|set|list)\b", text, re.MULTILINE)
    assert len(names) > 20
    given = {pattern for role in ROLES.values() if role.name != "scheduler" for pattern in role.ledger}
    scheduler_only = {"leader", "plan", "table"}
    for name in names:
        key = re.sub(r"\{[^}]*\}", "x", name)
        if name.split(":")[0] not in scheduler_only:
            assert any(fnmatchcase(key, pattern) for pattern in given), f"no role but the scheduler may use {name}"


def test_a_job_goes_through_with_every_part_under_its_user(guarded: GuardedRedis, s3: S3Access, tmp_path: Path) -> None:
    gateway_port, flower_port = free_ports(2)
    common = {
        **os.environ,
        "SYNERDIFF_S3_ENDPOINT": s3.endpoint,
        "SYNERDIFF_S3_BUCKET": s3.bucket,
        "SYNERDIFF_S3_ACCESS_KEY": s3.access_key,
        "SYNERDIFF_S3_SECRET_KEY": s3.secret_key,
        "SYNERDIFF_MODEL": "fake",
        "SYNERDIFF_DEVICE": "cpu",
        "SYNERDIFF_GATEWAY_PORT": str(gateway_port),
        "SYNERDIFF_FLOWER_PORT": str(flower_port),
    }
    commands = {
        "scheduler": ["synerdiff.cli", "scheduler"],
        "worker": ["tests.worker_stack", "fake"],
        "gateway": ["synerdiff.cli", "gateway"],
        "flower": ["synerdiff.cli", "flower"],
    }
    parts: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for role, words in commands.items():
            with (tmp_path / f"{role}.log").open("wb") as log:
                environment = {**common, "SYNERDIFF_REDIS_URL": guarded.url_of(role)}
                command = [sys.executable, "-m", *words]
                parts[role] = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        _use(guarded, s3, f"http://127.0.0.1:{gateway_port}", f"http://127.0.0.1:{flower_port}")
    finally:
        for part in parts.values():
            part.terminate()
        codes = {role: part.wait(60) for role, part in parts.items()}
    with guarded.client("admin") as admin:
        refused = [(item["username"], item["reason"], item["object"]) for item in admin.acl_log()]
    # A worker tries CONFIG GET first and reads INFO instead, as on managed services.
    assert [item for item in refused if item[2] != "config|get"] == [], refused
    logs = {role: (tmp_path / f"{role}.log").read_text() for role in parts}
    assert not [role for role, text in logs.items() if any(word in text for word in guarded.passwords.values())]
    assert {codes[role] for role in ("scheduler", "worker", "gateway")} == {0}, logs


def _use(guarded: GuardedRedis, s3: S3Access, gateway: str, flower: str) -> None:
    ledger = Ledger.connect(guarded.url_of("gateway"))
    wait_until(lambda: ledger.workers("fake"), 120, what="a worker")
    with guarded.client("admin") as admin:
        admin.acl_log_reset()
    access = {"s3_endpoint": s3.endpoint, "s3_bucket": s3.bucket, "s3_access_key": s3.access_key}
    given = {"redis_url": guarded.url_of("producer"), "model": "fake", **access, "s3_secret_key": s3.secret_key}
    with Client(load(given)) as client:
        fields = {"width": 64, "height": 64, "steps": 50, "sampler": "ddim"}
        done = client.submit("a cat", idempotency_key="once", **fields)  # type: ignore[arg-type]
        long = client.submit("a dog", **{**fields, "steps": 100})  # type: ignore[arg-type]
        client.cancel(long)
        assert client.wait(done, timeout_s=60).state is JobState.SUCCEEDED
        assert client.get(long).state in (JobState.CANCELLED, JobState.SUCCEEDED)
        assert [event.kind for event in client.events(done)][-1] == "succeeded"
    wait_until(lambda: _up(f"{gateway}/readyz"), 120, what="the gateway")
    body = {"prompt": "a bird", "width": 64, "height": 64, "steps": 5, "sampler": "ddim"}
    job_id = httpx.post(f"{gateway}/v1/jobs", json=body, timeout=30).raise_for_status().json()["id"]
    wait_until(
        lambda: httpx.get(f"{gateway}/v1/jobs/{job_id}", timeout=30).json()["state"] == "succeeded", 120, what="the job"
    )
    for path in ("/metrics", "/v1/models", f"/v1/jobs/{job_id}/events", "/healthz"):
        assert httpx.get(f"{gateway}{path}", timeout=30).status_code == 200, path
    wait_until(lambda: _up(f"{flower}/healthcheck"), 120, what="Flower")
    wait_until(
        lambda: "celery@" in httpx.get(f"{flower}/metrics", timeout=30).text, 60, what="Flower to see the worker"
    )
    with guarded.client("admin") as admin:
        wait_until(lambda: admin.exists("synerdiff:leader:scheduler"), 60, what="the scheduler to lead")
    ledger.close()


def _up(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False
