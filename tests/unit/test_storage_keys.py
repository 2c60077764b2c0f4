"""Keys follow from the job alone; the configuration never shows its secret."""

from __future__ import annotations

import subprocess
import sys

import pytest

from synerdiff.protocol.job import ImageFormat, Job
from synerdiff.settings import Settings
from synerdiff.storage import StoreConfig, content_type, image_key


@pytest.mark.parametrize(
    ("kind", "key", "media_type"),
    [
        ("png", "images/01J/2.png", "image/png"),
        ("webp", "images/01J/2.webp", "image/webp"),
        ("jpeg", "images/01J/2.jpg", "image/jpeg"),
    ],
)
def test_a_key_is_made_from_the_job(kind: ImageFormat, key: str, media_type: str) -> None:
    assert image_key("images/", Job(id="01J", prompt="p", format=kind), 2) == key
    assert content_type(kind) == media_type


@pytest.mark.parametrize(
    ("tenant", "key"),
    [
        ("default", "images/01J/0.png"),
        ("red", "images/red/01J/0.png"),
        ("r.e-d_", "images/r.e-d_/01J/0.png"),
        (".", "images/%2E/01J/0.png"),
        ("..", "images/%2E%2E/01J/0.png"),
    ],
)
def test_tenants_with_the_same_id_have_keys_of_their_own(tenant: str, key: str) -> None:
    assert image_key("images/", Job(id="01J", prompt="p", tenant=tenant), 0) == key


def test_settings_name_the_store() -> None:
    settings = Settings(s3_endpoint="http://s3:8333", s3_access_key="me", s3_secret_key="hush", s3_bucket="b")
    config = StoreConfig.of(settings)
    assert (config.endpoint, config.bucket, config.access_key, config.secret_key) == (
        "http://s3:8333",
        "b",
        "me",
        "hush",
    )
    assert "hush" not in repr(config)


def test_no_keys_and_no_endpoint_mean_aws_and_its_credential_chain() -> None:
    config = StoreConfig.of(Settings(s3_endpoint=""))
    assert config.endpoint is None
    assert config.access_key is None
    assert config.secret_key is None
    assert config.where == "AWS S3 (us-east-1)"


def test_an_endpoint_is_shown_without_its_credentials() -> None:
    assert StoreConfig(endpoint="http://me:hush@s3:8333").where == "http://s3:8333"


def test_importing_storage_loads_neither_boto3_nor_pillow() -> None:
    check = "import sys, synerdiff.storage; sys.exit(sum(m in sys.modules for m in ('boto3', 'PIL', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
