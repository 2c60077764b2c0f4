"""No output holds a credential or a prompt, no line can be forged, and nothing but JSON is read from the queue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from synerdiff.cli.embedded import EmbeddedRedis, EmbeddedS3, S3Access
from synerdiff.dispatch import celery_app
from synerdiff.protocol import JobState
from synerdiff.protocol.errors import StorageUnavailable
from synerdiff.storage import Store, StoreConfig
from tests.support import wait_until
from tests.worker_stack import WorkerStack

WRONG_SECRET = "wrong-secret-0451"
PASSWORD = "redis-password-1729"
FORGED = 'cat\n{"event": "job left", "state": "FORGED"}\r\x1b[2J2026-01-01 [info] FORGED\u2028FORGED'


def output_of(*arguments: str, **settings: str) -> str:
    """All that a command prints, whatever its exit code."""
    environment = {**os.environ, **{f"SYNERDIFF_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "synerdiff.cli", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def test_services_accept_json_alone() -> None:
    conf = celery_app("redis://127.0.0.1:1/0").conf
    assert conf.accept_content == ["json"]
    assert (conf.task_serializer, conf.event_serializer) == ("json", "json")
    assert conf.result_backend is None


def test_no_output_holds_a_credential_while_s3_fails(own_s3: EmbeddedS3, redis_url: str, tmp_path: Path) -> None:
    access = own_s3.access
    with WorkerStack(redis_url, access, tmp_path, model="fake") as stack:
        worker = stack.start(log_level="DEBUG")
        stack.ended(stack.submit("a cat"))
        own_s3.kill()
        [job_id] = stack.submit("xylophone")
        wait_until(lambda: "image not stored yet" in worker.log, what="a failed upload")
        own_s3.start()
        stack.ended([job_id], timeout_s=90)
        refused = stack.launch(log_level="DEBUG", s3_secret_key=WRONG_SECRET)
        assert refused.wait() == 2
        written = [worker.log, refused.log, stack.view(job_id).model_dump_json()]
        written += [event.model_dump_json() for event in stack.ledger.events(job_id)]
        written.append(repr(stack.ledger.dead_letters(100)))
    settings = {
        "REDIS_URL": redis_url,
        "S3_ENDPOINT": access.endpoint,
        "S3_BUCKET": access.bucket,
        "S3_ACCESS_KEY": access.access_key,
        "S3_SECRET_KEY": WRONG_SECRET,
        "MODEL": "fake",
    }
    written += [
        output_of(*words, **settings) for words in (("doctor",), ("doctor", "--json"), ("doctor", "--settings"))
    ]
    written += [output_of("jobs", "show", job_id, "--urls", **settings), str(_refusal(access))]
    assert "refused the credentials" in refused.log
    for text in written:
        assert access.secret_key not in text
        assert WRONG_SECRET not in text
    assert "xylophone" not in worker.log


def _refusal(access: S3Access) -> StorageUnavailable:
    with pytest.raises(StorageUnavailable) as caught:
        Store(StoreConfig(access.endpoint, access.bucket, access.access_key, WRONG_SECRET)).check()
    return caught.value


def test_no_output_holds_the_password_of_redis(own_redis: EmbeddedRedis, s3: S3Access, tmp_path: Path) -> None:
    url = f"redis://:{PASSWORD}@127.0.0.1:{own_redis.port}/0"
    with WorkerStack(own_redis.url, s3, tmp_path, model="fake") as stack:
        stack.ledger.client.config_set("requirepass", "another-password")
        worker = stack.launch(redis_url=url, log_level="DEBUG")
        assert worker.wait() == 2
        stack.ledger.client.config_set("requirepass", PASSWORD)
        good = stack.launch(redis_url=url, log_level="DEBUG")
        wait_until(lambda: "ready." in good.log, 90, what="the worker")
        own_redis.kill()
        wait_until(lambda: "does not work for now" in good.log, 60, what="the outage to be noticed")
        written = [worker.log, good.log, output_of("jobs", "list", REDIS_URL=url)]
    assert "cannot start" in worker.log
    assert not [text[-500:] for text in written if PASSWORD in text]


def test_what_a_producer_sends_forges_no_line(redis_url: str, s3: S3Access, tmp_path: Path) -> None:
    with WorkerStack(redis_url, s3, tmp_path, model="fake") as stack:
        worker = stack.start(log_level="DEBUG")
        ids = stack.submit(FORGED, negative_prompt=FORGED, metadata={"note": FORGED, FORGED[:20]: "x"})
        ids += stack.submit(f"fails {FORGED}")
        stack.push(json.dumps({"headers": FORGED}).encode())
        stack.push(FORGED.encode())
        assert [view.state for view in stack.ended(ids)] == [JobState.SUCCEEDED, JobState.FAILED]
        wait_until(lambda: "malformed message" in worker.log, what="the malformed message to be logged")
        text = worker.log
    assert "FORGED" not in text
    assert "\x1b" not in text
    assert all(isinstance(json.loads(line), dict) for line in text.splitlines() if line)
