"""What a worker's parts are told of its settings."""

from __future__ import annotations

from typing import Any, cast

import pytest

from synerdiff.settings import Settings
from synerdiff.workers.bridge import BridgeConfig
from synerdiff.workers.reports import StepReports, Tell
from synerdiff.workers.worker import GpuWorker, engine_spec, warn_of_model


def test_reports_and_the_bridge_hear_how_often_to_report_and_when_to_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BridgeConfig] = []

    def bridge(spec: Any, config: BridgeConfig, **_: Any) -> Any:
        told.append(config)

    paces: list[float] = []

    class Reports(StepReports):
        def __init__(self, tell: Tell, news_s: float) -> None:
            super().__init__(tell, news_s)
            paces.append(news_s)

    monkeypatch.setattr("synerdiff.workers.worker.Bridge", bridge)
    monkeypatch.setattr("synerdiff.workers.worker.StepReports", Reports)
    settings = Settings(progress_s=2.5, hang_s=7.0)
    nothing = cast(Any, None)
    GpuWorker(
        settings,
        name="w",
        capacity=1,
        ledger=nothing,
        store=nothing,
        spec=engine_spec(settings),
        send_hints=nothing,
        on_failing=nothing,
    )
    assert (paces, told[0].hang_s) == ([2.5], 7.0)


def test_a_worker_says_that_the_shipped_checkpoint_serves_another_model(capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_model(Settings(model="sdxl"))
    assert "SYNERDIFF_MODEL_PATH" in capsys.readouterr().out
    warn_of_model(Settings())
    warn_of_model(Settings(model="sdxl", model_path="/models/sdxl"))
    assert capsys.readouterr().out == ""
