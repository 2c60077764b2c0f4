"""Weights from a real S3 into a directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from moto import mock_aws
from typer.testing import CliRunner

from synerdiff.cli.embedded import S3Access
from synerdiff.cli.main import app
from synerdiff.engine.checkpoint import inspect
from synerdiff.engine.model import shipped_path
from synerdiff.protocol.errors import ModelError, StorageUnavailable
from synerdiff.storage import Store, StoreConfig, fetch_weights


@pytest.fixture
def config(s3: S3Access) -> StoreConfig:
    """A store whose bucket holds the shipped checkpoint below ``models/tiny/``, and files that nobody needs."""
    found = StoreConfig(s3.endpoint, s3.bucket, s3.access_key, s3.secret_key)
    client = Store(found).client
    for file in shipped_path().rglob("*"):
        if file.is_file():
            client.upload_file(str(file), s3.bucket, f"models/tiny/{file.relative_to(shipped_path()).as_posix()}")
    client.put_object(Bucket=s3.bucket, Key="models/tiny/unet/diffusion_pytorch_model.bin", Body=b"a pickle")
    client.put_object(Bucket=s3.bucket, Key="models/tiny-two/model_index.json", Body=b"{}")
    return found


def test_what_arrives_is_the_checkpoint(config: StoreConfig, tmp_path: Path) -> None:
    done = fetch_weights(f"s3://{config.bucket}/models/tiny", tmp_path, config)
    assert inspect(tmp_path).hash() == inspect(shipped_path()).hash()
    assert (done.kept, done.bytes > 5_000_000) == (0, True)
    assert not list(tmp_path.rglob("*.bin")) + list(tmp_path.rglob("*.part"))


def test_a_second_fetch_takes_what_changed_alone(config: StoreConfig, tmp_path: Path) -> None:
    uri = f"s3://{config.bucket}/models/tiny/"
    first = fetch_weights(uri, tmp_path, config)
    again = fetch_weights(uri, tmp_path, config)
    assert (again.fetched, again.kept, again.bytes) == (0, first.fetched, 0)
    index = json.dumps({"changed": True}).encode()
    Store(config).client.put_object(Bucket=config.bucket, Key="models/tiny/model_index.json", Body=index)
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])  # as after a full disk
    assert fetch_weights(uri, tmp_path, config).fetched == 2
    assert (tmp_path / "model_index.json").read_bytes() == index
    assert weights.stat().st_size == (shipped_path() / "unet" / weights.name).stat().st_size


@pytest.mark.parametrize("uri", ["models/tiny", "s3://", "s3://bucket", "s3://bucket/", "https://host/models"])
def test_a_wrong_address_is_named(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="weights come from s3://bucket/prefix") as refused:
        fetch_weights(uri, tmp_path, StoreConfig())
    assert repr(uri) in refused.value.message


def test_nothing_there_and_no_bucket(config: StoreConfig, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no weights"):
        fetch_weights(f"s3://{config.bucket}/models/none", tmp_path, config)
    with pytest.raises(StorageUnavailable, match="bucket nowhere-at-all does not exist"):
        fetch_weights("s3://nowhere-at-all/models", tmp_path, config)


def test_a_key_that_climbs_out_is_refused(tmp_path: Path) -> None:
    with mock_aws():
        store = Store(StoreConfig(bucket="weights", access_key="a", secret_key="b"))
        store.ensure_bucket()
        store.client.put_object(Bucket="weights", Key="tiny/../../x.json", Body=b"{}")
        with pytest.raises(ModelError, match="would be written outside"):
            fetch_weights("s3://weights/tiny", tmp_path / "inside", store.config)
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_it_did(config: StoreConfig, tmp_path: Path) -> None:
    variables = {
        "SYNERDIFF_S3_ACCESS_KEY": config.access_key,
        "SYNERDIFF_S3_SECRET_KEY": config.secret_key,
        "SYNERDIFF_S3_ENDPOINT": "http://127.0.0.1:1",  # the images' store, not the weights'
    }
    uri = f"s3://{config.bucket}/models/tiny-two"
    options = ["weights", uri, str(tmp_path), "--endpoint", str(config.endpoint), "--json"]
    ran = CliRunner().invoke(app, options, env=variables)
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout) == {"directory": str(tmp_path.resolve()), "fetched": 1, "kept": 0, "bytes": 2}
