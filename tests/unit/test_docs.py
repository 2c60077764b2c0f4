"""The pages: links lead somewhere, what they name exists, the API reference is that of the code."""

from __future__ import annotations

import importlib.util
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import typer

from synerdiff.cli.main import app
from synerdiff.protocol import Limits
from synerdiff.settings import Settings
from tests.markdown import ROOT, Code, anchors, code, links, pages
from tools import api_reference

PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))


@PAGES
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for line, target in links(page):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        inside = file.is_relative_to(ROOT) and file.exists()
        if not inside or (parts.fragment and file.suffix == ".md" and unquote(parts.fragment) not in anchors(file)):
            broken.append(f"{page.name}:{line}: {target}")
    assert broken == []


@cache
def root() -> Any:
    """The whole command line."""
    return typer.main.get_command(app)


def commands_in(text: str) -> list[list[str]]:
    """Every ``synerdiff ...`` and ``python -m benchmarks...`` of a piece of code, as words."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        bare = line.split(" #")[0].strip().removeprefix("$ ")
        for part in re.split(r"\s(?:&&|\||;|>)\s?|\$\(|\)", bare):
            try:
                words = shlex.split(part.strip().strip("`"))
            except ValueError:
                continue
            while words and re.fullmatch(r"[A-Z_0-9]+=.*", words[0]):
                words.pop(0)
            found.append(words)
    return [words for words in found if words]


def what_is_wrong(words: list[str]) -> str | None:
    """Why a ``synerdiff`` command line cannot be meant, None if it can."""
    command: Any = root()
    rest = list(words[1:])
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name in ("...", "X") or name not in command.commands:
            return None if name == "..." else f"there is no command {name!r}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "-h"}
    unknown = [word for word in rest if re.match(r"--?[a-z]", word) and word.split("=")[0] not in known]
    return f"{' '.join(words[:2])} has no {unknown[0]}" if unknown else None


def spoken(piece: Code) -> bool:
    """Whether a piece of code is one that a shell would be given (or text without a language)."""
    return piece.info.split(" ")[0] in ("", "sh", "bash", "shell", "console")


@PAGES
def test_every_command_and_option_that_is_shown_exists(page: Path) -> None:
    wrong = []
    for piece in filter(spoken, code(page)):
        for words in commands_in(piece.text):
            name = Path(words[0]).name
            if name == "synerdiff" and len(words) > 1 and (why := what_is_wrong(words)):
                wrong.append(f"{piece.where}: {why}")
            if name.startswith("python") and words[1:2] == ["-m"] and (why := _module(words[2:])):
                wrong.append(f"{piece.where}: {why}")
    assert wrong == []


def _module(words: list[str]) -> str | None:
    """Why ``python -m words`` cannot be meant: our module is not there, or does not know an option."""
    if not words or words[0].split(".")[0] not in ("benchmarks", "tools", "tests"):
        return None
    spec = importlib.util.find_spec(words[0])
    if spec is None or spec.origin is None:
        return f"there is no module {words[0]}"
    file = Path(spec.origin)
    source = "".join(path.read_text() for path in (file.parent.glob("*.py") if file.stem == "__init__" else [file]))
    unknown = [word for word in words[1:] if word.startswith("--") and f'"{word.split("=")[0]}"' not in source]
    return f"{words[0]} has no {unknown[0]}" if unknown else None


@PAGES
def test_every_setting_that_is_named_exists(page: Path) -> None:
    known = {f"SYNERDIFF_{name.upper()}" for name in Settings.model_fields}
    known |= {f"SYNERDIFF_LIMITS__{name.upper()}" for name in Limits.model_fields}
    named = set(re.findall(r"\bSYNERDIFF_[A-Z0-9]+(?:_+[A-Z0-9]+)*\b", page.read_text(encoding="utf-8")))
    assert {name for name in named if not name.startswith("SYNERDIFF_TEST_")} <= known


@PAGES
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        words[1]
        for piece in filter(spoken, code(page))
        for words in commands_in(piece.text)
        if words[0] == "make" and len(words) > 1 and re.fullmatch(r"[a-z-]+", words[1])
    }
    assert named <= targets


def test_every_alert_has_something_to_do() -> None:
    rules = (ROOT / "helm/synerdiff/files/alerts.yaml").read_text()
    alerts = set(re.findall(r"alert: (\w+)", rules))
    explained = set(re.findall(r"^\| `(SynerDiff\w+)` \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE))
    assert alerts
    assert alerts == explained


def test_the_api_reference_is_current() -> None:
    assert api_reference.PATH.read_text(encoding="utf-8") == api_reference.page(), "run `make docs`"


def test_a_wrong_option_would_be_found() -> None:
    for line, why in (
        ("synerdiff generate 'a cat' --nowhere x", "has no --nowhere"),
        ("synerdiff nothing", "there is no command 'nothing'"),
        ("A=1 synerdiff jobs lst", "there is no command 'lst'"),
    ):
        [words] = commands_in(line)
        assert why in (what_is_wrong(words) or "")
    assert what_is_wrong(commands_in("synerdiff jobs list --limit 5")[0]) is None
    assert _module(["benchmarks.nothing"]) is not None
