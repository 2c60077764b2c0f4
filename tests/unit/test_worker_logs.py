"""Log lines: one event a line, no prompt in them, none forged."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from synerdiff.telemetry import configure_logging, get_logger, job_context
from synerdiff.telemetry.logs import LogFormat

FORGED = 'cat\n2026-01-01 [error] job ended job_id=FORGED\r\x1b[31m"}\n{"event": "forged"}\u2028end'


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(log_format: LogFormat) -> tuple[io.StringIO, structlog.stdlib.BoundLogger]:
    stream = io.StringIO()
    configure_logging("INFO", log_format, stream)
    return stream, get_logger("synerdiff.test")


def test_json_line_carries_event_fields_and_job_id() -> None:
    stream, log = lines("json")
    with job_context("01J"):
        log.info("job ended", state="failed")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["state"], line["job_id"], line["level"]) == ("job ended", "failed", "01J", "info")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_value_cannot_forge_a_line(log_format: LogFormat) -> None:
    stream, log = lines(log_format)
    log.warning("refused", reason=FORGED)
    logging.getLogger("celery.worker").warning("message %s", FORGED)
    written = stream.getvalue()
    assert len(written.splitlines()) == 2
    assert "\x1b" not in written


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_prompts_and_secrets_are_replaced_by_their_length(log_format: LogFormat) -> None:
    stream, log = lines(log_format)
    log.info("admitted", prompt="a red fox", job={"negative_prompt": "blurry", "steps": 4}, secret_key="hunter2")
    written = stream.getvalue()
    assert "fox" not in written
    assert "blurry" not in written
    assert "hunter2" not in written
    assert "[9 characters]" in written


def test_a_traceback_cannot_forge_a_console_line() -> None:
    stream, log = lines("console")
    try:
        raise ValueError(FORGED)
    except ValueError:
        log.exception("upload failed")
    body = stream.getvalue().splitlines()[1:]
    assert body
    assert all(line.startswith("  | ") for line in body if line.strip())


def test_lines_below_the_level_are_dropped() -> None:
    stream, log = lines("json")
    log.debug("slot")
    assert stream.getvalue() == ""
