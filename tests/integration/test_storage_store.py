"""The store against a real S3-compatible server."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock
from uuid import uuid4

import numpy as np
import pytest

from synerdiff.cli.embedded import S3Access
from synerdiff.protocol import Receipt
from synerdiff.protocol.errors import ObjectNotFound, StorageUnavailable
from synerdiff.storage import Store, StoreConfig, encode_image
from tests.support import wait_until


@pytest.fixture
def config(s3: S3Access) -> StoreConfig:
    return StoreConfig(s3.endpoint, s3.bucket, s3.access_key, s3.secret_key)


@pytest.fixture
def store(config: StoreConfig) -> Store:
    return Store(config)


@pytest.fixture
def key() -> str:
    return f"images/{uuid4().hex}/0.png"


def _png(steps: int, job_id: str = "j", prompt: str = "a fox") -> bytes:
    receipt = Receipt(job_id=job_id, steps=steps, request={"prompt": prompt})
    return encode_image(np.zeros((8, 8, 3), dtype=np.uint8), "png", receipt)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_an_image_comes_back_as_it_was_stored(store: Store, key: str) -> None:
    data = _png(3)
    stored = store.put_image(key, data, "image/png")
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert not stored.adopted
    assert store.get(key) == data
    head = store.head(key)
    assert head is not None
    assert (head.sha256, head.size) == (stored.sha256, len(data))


def test_a_second_write_adopts_the_first_and_its_receipt(store: Store, key: str) -> None:
    first, second = _png(3), _png(4)
    store.put_image(key, first, "image/png")
    stored = store.put_image(key, second, "image/png")
    assert stored.adopted
    assert stored.sha256 == hashlib.sha256(first).hexdigest()
    assert stored.size == len(first)
    assert stored.receipt == Receipt(job_id="j", steps=3, request={"prompt": "a fox"})
    assert store.get(key) == first


@pytest.mark.parametrize("old", [_png(3, prompt="another's secret"), _png(3, job_id="i"), b"no image"])
def test_an_object_of_another_request_is_replaced_and_never_adopted(store: Store, key: str, old: bytes) -> None:
    store.put_image(key, old, "image/png")
    stored = store.put_image(key, _png(4), "image/png")
    assert not stored.adopted
    assert store.get(key) == _png(4)
    late = store.put_image(key, _png(5), "image/png")  # a late writer of the same job
    assert late.adopted
    assert store.get(key) == _png(4)


def test_sixteen_writers_that_replace_an_old_object_have_one_winner(store: Store, key: str) -> None:
    store.put_image(key, _png(3, prompt="of a record that is gone"), "image/png")
    ends = _race(store, key)
    winners = [digest for adopted, digest in ends if not adopted]
    assert len(winners) == 1
    assert {digest for _, digest in ends} == set(winners)
    assert hashlib.sha256(store.get(key)).hexdigest() == winners[0]


def _race(store: Store, key: str) -> list[tuple[bool, str]]:
    """Sixteen writers of one image at once: whether each adopted, and the sum it was told."""
    images = [_png(index) for index in range(16)]
    start = threading.Barrier(len(images))

    def write(data: bytes) -> tuple[bool, str]:
        start.wait()
        stored = store.put_image(key, data, "image/png")
        return stored.adopted, stored.sha256

    with ThreadPoolExecutor(len(images)) as pool:
        return list(pool.map(write, images))


def test_sixteen_racing_writers_have_one_winner(store: Store, key: str) -> None:
    ends = _race(store, key)
    winners = [digest for adopted, digest in ends if not adopted]
    assert len(winners) == 1
    assert {digest for _, digest in ends} == set(winners)
    assert hashlib.sha256(store.get(key)).hexdigest() == winners[0]


def test_bytes_that_do_not_match_their_sum_are_refused(store: Store, key: str) -> None:
    with pytest.raises(StorageUnavailable):
        store.put_image(key, b"torn", "image/png", hashlib.sha256(b"whole").hexdigest())
    assert store.head(key) is None


def test_a_presigned_url_works_for_anybody_until_tampered_with(store: Store, key: str) -> None:
    data = _png(1)
    store.put_image(key, data, "image/png")
    url = store.presign(key, 60)
    with urllib.request.urlopen(url) as reply:
        assert reply.read() == data
        assert reply.headers["Content-Type"] == "image/png"
    assert "X-Amz-Signature" in url
    assert _status(url[:-1] + ("0" if url[-1] != "0" else "1")) == 403
    assert _status(url.replace(key, key.replace("/0.png", "/1.png"))) == 403
    assert _status(url.split("?")[0]) == 403


def test_a_presigned_url_ends(store: Store, key: str) -> None:
    store.put_image(key, _png(1), "image/png")
    short, long = store.presign(key, 1), store.presign(key, 3600)
    wait_until(lambda: _status(short) == 403, what="the URL has expired")
    assert _status(long) == 200


def test_a_missing_object_is_not_found(store: Store, key: str) -> None:
    with pytest.raises(ObjectNotFound, match=key):
        store.get(key)
    assert store.head(key) is None
    store.delete(key)


def test_a_deleted_object_is_gone(store: Store, key: str) -> None:
    store.put_image(key, _png(1), "image/png")
    store.delete(key)
    assert store.head(key) is None


def test_a_conflict_without_an_object_is_tried_again(store: Store, key: str) -> None:
    data = _png(1)
    put: Any = Store._put
    answers = iter([False, True])

    def flaky(self: Store, *given: Any, **condition: str) -> bool:
        return next(answers) and bool(put(self, *given, **condition))

    with mock.patch.object(Store, "_put", flaky):
        assert not store.put_image(key, data, "image/png").adopted
    assert store.get(key) == data


def test_check_and_ensure_bucket(config: StoreConfig) -> None:
    name = f"b-{uuid4().hex[:12]}"
    store = Store(dataclasses.replace(config, bucket=name))
    with pytest.raises(StorageUnavailable, match=f"bucket {name} does not exist.*SYNERDIFF_S3_BUCKET"):
        store.check()
    store.ensure_bucket()
    store.ensure_bucket()
    store.check()


@pytest.mark.parametrize("change", [{"secret_key": "wrong-hush"}, {"access_key": "nobody-knows"}])
def test_wrong_credentials_are_named_and_never_shown(config: StoreConfig, change: dict[str, str]) -> None:
    store = Store(dataclasses.replace(config, **change))  # type: ignore[arg-type]
    with pytest.raises(StorageUnavailable, match="SYNERDIFF_S3_ACCESS_KEY") as caught:
        store.check()
    with pytest.raises(StorageUnavailable, match="refused the credentials"):
        store.put_image("images/x/0.png", b"x", "image/png")
    for secret in ("wrong-hush", "nobody-knows", config.secret_key or "", config.access_key or ""):
        assert secret not in caught.value.message


def test_an_unreachable_endpoint_says_where_and_what_to_set() -> None:
    store = Store(StoreConfig("http://me:hush@127.0.0.1:9", "b", "key", "secret"))
    with pytest.raises(
        StorageUnavailable, match=r"http://127.0.0.1:9 cannot be reached.*SYNERDIFF_S3_ENDPOINT"
    ) as caught:
        store.check()
    assert "hush" not in caught.value.message


def test_an_endpoint_that_is_no_url_is_a_sentence_too() -> None:
    with pytest.raises(StorageUnavailable, match="SYNERDIFF_S3_ENDPOINT"):
        Store(StoreConfig("nonsense", "b", "key", "secret")).check()


def test_no_credentials_at_all_is_a_sentence(config: StoreConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    store = Store(dataclasses.replace(config, access_key=None, secret_key=None))
    with pytest.raises(StorageUnavailable, match="no credentials"):
        store.check()


def test_the_default_credential_chain_is_used_when_no_keys_are_given(
    config: StoreConfig, store: Store, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", config.access_key or "")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", config.secret_key or "")
    Store(dataclasses.replace(config, access_key=None, secret_key=None)).put_image(key, _png(1), "image/png")
    assert store.get(key) == _png(1)
