"""An object store behind a certificate that a private authority signed, and hubs that must not be asked."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from synerdiff.cli.embedded import S3Access
from synerdiff.protocol.errors import StorageUnavailable
from synerdiff.settings import Settings
from synerdiff.storage import Store, StoreConfig
from synerdiff.workers.main import hub_environment


def _certificate(path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store")])
    now = datetime.datetime.now(tz=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


class TlsFront:
    """Speaks TLS in front of a plain server, byte for byte."""

    def __init__(self, certificate: Path, target: tuple[str, int]) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=10)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(plain,), daemon=True).start()

    def _join(self, plain: socket.socket) -> None:
        with (
            suppress(OSError),
            self._context.wrap_socket(plain, server_side=True) as outer,
            socket.create_connection(self._target) as inner,
        ):
            back = threading.Thread(target=_pump, args=(inner, outer), daemon=True)
            back.start()
            _pump(outer, inner)
            back.join(timeout=10)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return _certificate(tmp_path / "authority.pem")


@pytest.fixture
def front(authority: Path, s3: S3Access) -> Iterator[TlsFront]:
    parts = urlsplit(s3.endpoint)
    front = TlsFront(authority, (str(parts.hostname), int(parts.port or 0)))
    yield front
    front.close()


def _store(s3: S3Access, url: str, ca_file: str | None) -> Store:
    given = {
        "s3_endpoint": url,
        "s3_bucket": s3.bucket,
        "s3_access_key": s3.access_key,
        "s3_secret_key": s3.secret_key,
        "ca_file": ca_file,
    }
    return Store(StoreConfig.of(Settings.model_validate(given)))


def test_images_are_stored_and_read_under_a_private_authority(front: TlsFront, s3: S3Access, authority: Path) -> None:
    store = _store(s3, front.url, str(authority))
    store.check()
    stored = store.put_image("images/a/0.png", b"pixels", "image/png")
    assert store.get(stored.key) == b"pixels"
    context = ssl.create_default_context(cafile=str(authority))
    assert httpx.get(store.presign(stored.key, 60), verify=context).content == b"pixels"


def test_without_the_authority_the_store_is_not_trusted(front: TlsFront, s3: S3Access) -> None:
    with pytest.raises(StorageUnavailable, match="SSLError"):
        _store(s3, front.url, None).check()


def test_an_authority_that_is_not_there_is_said_in_a_sentence(front: TlsFront, s3: S3Access) -> None:
    with pytest.raises(StorageUnavailable):
        _store(s3, front.url, "/nowhere/authority.pem").check()


def test_offline_asks_no_hub(tmp_path: Path) -> None:
    """In a process of its own: the hub's library reads its environment when it is imported."""
    script = (
        "from synerdiff.engine.model import resolve\n"
        "from synerdiff.protocol.errors import ModelError\n"
        "try:\n"
        "    resolve('someone/some-model', '0' * 40)\n"
        "except ModelError as error:\n"
        "    print(error.message)\n"
    )
    settings = Settings.model_validate({"offline": True, "ca_file": "/etc/ssl/own.pem"})
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    found = hub_environment(settings)
    assert found["SSL_CERT_FILE"] == found["REQUESTS_CA_BUNDLE"] == "/etc/ssl/own.pem"
    environment |= {"HF_HUB_OFFLINE": found["HF_HUB_OFFLINE"], "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert "someone/some-model" in done.stdout
    assert "cannot be fetched" in done.stdout
    assert hub_environment(Settings.model_validate({})) == {}
