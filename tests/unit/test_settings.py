"""Settings from the environment, and what the ledger makes of them."""

from __future__ import annotations

import pytest

from synerdiff.ledger import LedgerConfig
from synerdiff.protocol.errors import SettingsError
from synerdiff.settings import Settings, load


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("TENANT_WEIGHTS", "gold:3", "SYNERDIFF_TENANT_WEIGHTS: must be a JSON object; got 'gold:3'"),
        ("TENANT_WEIGHTS", "[3]", "SYNERDIFF_TENANT_WEIGHTS: input should be a valid dictionary"),
        ("TENANT_WEIGHTS", '{"gold": 0}', "SYNERDIFF_TENANT_WEIGHTS__GOLD: input should be greater than 0; got 0"),
        ("TENANT_WEIGHTS", '{"gold": NaN}', "SYNERDIFF_TENANT_WEIGHTS__GOLD: .*got nan"),
        ("LIMITS", "many", "SYNERDIFF_LIMITS: must be a JSON object; got 'many'"),
        ("TICK_S", "5", "SYNERDIFF_TICK_S: input should be less than or equal to 2; got '5'"),
        ("DTYPE", "fp8", "SYNERDIFF_DTYPE: input should be 'auto', 'float32', 'float16' or 'bfloat16'; got 'fp8'"),
        ("PROGRESS_S", "-1", "SYNERDIFF_PROGRESS_S: input should be greater than or equal to 0; got '-1'"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str) -> None:
    monkeypatch.setenv(f"SYNERDIFF_{name}", value)
    with pytest.raises(SettingsError, match=reason):
        load()


def test_the_ledger_has_every_setting_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNERDIFF_TENANT_WEIGHTS", '{"gold": 3, "trial": 0.5}')
    given = {
        "max_queue": 7,
        "max_queue_per_tenant": 3,
        "max_attempts": 2,
        "result_ttl_s": 60.0,
        "dead_ttl_s": 90.0,
    }
    config = LedgerConfig.of(load(given))
    assert {name: getattr(config, name) for name in given} == given
    assert config.tenant_weights == {"gold": 3.0, "trial": 0.5}


@pytest.mark.parametrize("tick_s", [0.2, 1.0, 2.0])
def test_a_lost_tick_is_no_gap_and_the_gap_does_not_grow_with_the_period(tick_s: float) -> None:
    config = LedgerConfig.of(load({"tick_s": tick_s}))
    assert 2 * tick_s + 1 <= config.reap_gap_s == 5.0


def test_the_defaults_of_both_are_the_same() -> None:
    assert LedgerConfig.of(Settings()) == LedgerConfig()
