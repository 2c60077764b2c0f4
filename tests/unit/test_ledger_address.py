"""Addresses of Redis: what Sentinel's form gives to redis-py and to kombu, and what is refused."""

from __future__ import annotations

import pytest
from redis.sentinel import SentinelConnectionPool

from synerdiff.dispatch import celery_app
from synerdiff.ledger import open_client, sentinel_address, shown
from synerdiff.ledger.address import where
from synerdiff.protocol.errors import LedgerUnavailable

FULL = (
    "sentinels://worker:pass%40word@a.example:26380,b.example,[::1]:5/2?master=images&sentinel_username=s"
    "&sentinel_password=hid%26den&ssl_ca_certs=/ca.crt&ssl_check_hostname=false"
)
PLAIN = "sentinel://:secret@a,b:7?master=m"


def test_all_of_it_is_understood() -> None:
    found = sentinel_address(FULL)
    assert found is not None
    assert found.hosts == (("a.example", 26380), ("b.example", 26379), ("::1", 5))
    assert (found.master, found.db, found.user) == ("images", 2, {"username": "worker", "password": "pass@word"})
    assert found.tls == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.crt", "ssl_check_hostname": False}
    options = found.sentinel_options
    assert (options["username"], options["password"], options["ssl"]) == ("s", "hid&den", True)
    assert options["retry"].get_retries() == 0  # else a Sentinel that is away costs seconds before the next is asked
    assert sentinel_address("redis://a/0") is None


def test_a_client_asks_the_sentinels_for_the_master() -> None:
    client = open_client(FULL, decode_responses=True)
    pool = client.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "images"
    given = {
        "db": 2,
        "username": "worker",
        "password": "pass@word",
        "ssl_ca_certs": "/ca.crt",
        "decode_responses": True,
    }
    assert given.items() <= pool.connection_kwargs.items()
    assert "SSL" in pool.connection_class.__name__
    assert "SSL" not in open_client(PLAIN).connection_pool.connection_class.__name__
    asked = [sentinel.connection_pool for sentinel in pool.sentinel_manager.sentinels]
    assert [each.connection_kwargs["host"] for each in asked] == ["a.example", "b.example", "::1"]
    assert all("SSL" in each.connection_class.__name__ for each in asked)


def test_celery_gets_it_in_kombus_words() -> None:
    app = celery_app(FULL)
    with app.connection() as connection:
        login = "worker:pass%40word"
        hosts = ("a.example:26380", "b.example:26379", "[::1]:5")
        assert connection.alt == [f"sentinel://{login}@{host}/2" for host in hosts]
        for address in connection.alt:  # kombu goes over to the next by its URL alone
            connection.switch(address)
            assert (connection.userid, connection.password, connection.virtual_host) == ("worker", "pass@word", "2")
            assert connection.ssl["ssl_ca_certs"] == "/ca.crt"
        assert connection.transport_options["master_name"] == "images"
        assert connection.transport_options["sentinel_kwargs"]["password"] == "hid&den"
    plain = celery_app(PLAIN)
    assert plain.conf.broker_url == "sentinel://:secret@a:26379/0;sentinel://:secret@b:7/0"
    assert plain.conf.broker_use_ssl is None


@pytest.mark.parametrize("url", [FULL, PLAIN])
def test_no_secret_is_shown(url: str) -> None:
    for text in (shown(url), where(open_client(url)), repr(sentinel_address(url)), str(sentinel_address(url))):
        assert not [secret for secret in ("pass", "secret", "hid") if secret in text]
    assert shown("rediss://user:pass@h:1/0?ssl_ca_certs=/x") == "rediss://h:1/0"
    assert shown("sentinel://user:pass@h") == "sentinel://..."


WRONG = {
    "sentinel://a,b/0": "names no master; add ?master=NAME",
    "sentinel://a:port/0?master=m": "HOST:PORT, ports 1 to 65535, several with commas; got 'a:port'",
    "sentinel://a:70000/0?master=m": "got 'a:70000'",
    "sentinel://a,,b/0?master=m": "got ''",
    "sentinel:///0?master=m": "got ''",
    "sentinel://a/zero?master=m": "a number of 0 or more; got 'zero'",
    "sentinel://a/0?master=m&sentinal_password=x": "'sentinal_password' is no option of it; known: master",
    "sentinel://a/0?master=m&ssl_ca_certs=/x": "ssl_ca_certs needs TLS; write sentinels://",
    "sentinels://a/0?master=m&ssl_cert_reqs=maybe": "one of none, optional, required; got 'maybe'",
    "sentinels://a/0?master=m&ssl_check_hostname=perhaps": "true or false; got 'perhaps'",
    "http://a": "give redis://host:port/db",
}


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_address_is_a_sentence(url: str) -> None:
    with pytest.raises(LedgerUnavailable, match="SYNERDIFF_REDIS_URL is no address of Redis: ") as refused:
        open_client(url)
    assert WRONG[url] in refused.value.message
    assert "\n" not in refused.value.message
