"""The embedded Redis and S3 are real servers that keep what they were given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
import redis
from botocore.config import Config
from botocore.exceptions import ClientError

from synerdiff.cli.embedded import EmbeddedRedis, EmbeddedS3, S3Access
from synerdiff.protocol.errors import Unavailable
from tests.support import wait_until


def s3_client(access: S3Access) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=access.endpoint,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        region_name="us-east-1",
        config=Config(signature_version="s3v4"),
    )


def test_each_test_gets_an_empty_redis(redis_client: redis.Redis) -> None:
    assert redis_client.dbsize() == 0
    redis_client.set("left", "behind")


def test_each_test_gets_an_empty_redis_again(redis_client: redis.Redis) -> None:
    assert redis_client.dbsize() == 0


def test_redis_never_evicts(redis_client: redis.Redis) -> None:
    assert redis_client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_redis_keeps_its_data_over_a_kill(own_redis: EmbeddedRedis) -> None:
    client = redis.Redis.from_url(own_redis.url, decode_responses=True)
    client.set("kept", "yes")
    # The append-only file is synced once a second.
    wait_until(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0, what="the append-only file's sync")
    own_redis.kill()
    assert not own_redis.alive
    own_redis.start()
    assert client.get("kept") == "yes"
    client.close()


def test_s3_has_an_empty_bucket_for_each_test(s3: S3Access) -> None:
    client = s3_client(s3)
    assert client.list_objects_v2(Bucket=s3.bucket)["KeyCount"] == 0


def test_s3_refuses_a_wrong_secret(s3: S3Access) -> None:
    client = s3_client(S3Access(s3.endpoint, s3.bucket, s3.access_key, "wrong"))
    with pytest.raises(ClientError, match=r"403|SignatureDoesNotMatch"):
        client.list_objects_v2(Bucket=s3.bucket)


def test_s3_keeps_objects_over_a_kill(own_s3: EmbeddedS3) -> None:
    client = s3_client(own_s3.access)
    client.put_object(Bucket=own_s3.access.bucket, Key="kept", Body=b"yes")
    own_s3.kill()
    own_s3.start()

    def kept() -> bytes | None:
        try:
            return bytes(client.get_object(Bucket=own_s3.access.bucket, Key="kept")["Body"].read())
        except ClientError:  # its parts find each other a moment after it listens
            return None

    wait_until(lambda: kept() is not None, what="the object")
    assert kept() == b"yes"


def test_s3_keeps_objects_when_it_comes_back_on_other_ports(own_s3: EmbeddedS3) -> None:
    s3_client(own_s3.access).put_object(Bucket=own_s3.access.bucket, Key="kept", Body=b"yes")
    own_s3.stop()
    keys = (own_s3.access.access_key, own_s3.access.secret_key)
    again = EmbeddedS3(own_s3.directory, keys, bucket=own_s3.access.bucket).start()
    try:
        client = s3_client(again.access)
        assert client.get_object(Bucket=again.access.bucket, Key="kept")["Body"].read() == b"yes"
        client.put_object(Bucket=again.access.bucket, Key="more", Body=b"too")
        assert client.get_object(Bucket=again.access.bucket, Key="more")["Body"].read() == b"too"
    finally:
        again.kill()


def test_a_taken_port_is_named(own_redis: EmbeddedRedis) -> None:
    second = EmbeddedRedis(own_redis.directory.parent / "second", port=own_redis.port)
    with pytest.raises(Unavailable, match=f"port {own_redis.port} of 127.0.0.1 is already in use"):
        second.start()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("not a directory")
    server = EmbeddedRedis(tmp_path)
    with pytest.raises(Unavailable, match=r"(?s)Redis stopped with code \d+ while starting; .*appendonlydir"):
        server.start()
