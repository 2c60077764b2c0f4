"""Writes docs/api.md from the docstrings: ``python -m tools.api_reference`` (``--check`` only compares)."""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

PATH = Path(__file__).parents[1] / "docs" / "api.md"
MODULES = ("synerdiff.client", "synerdiff.protocol", "synerdiff.ledger", "synerdiff.settings")
HEAD = """# Python API

Made from the docstrings by `python -m tools.api_reference`; `synerdiff.client` is what producers import, the others are
for whoever builds services of their own. Times are seconds, sizes bytes. [client.md](client.md) shows it in use, and
[http-api.md](http-api.md) is the same over HTTP.
"""


def prose(documented: Any) -> str:
    """A docstring as Markdown: roles and double backticks become code."""
    text = inspect.cleandoc(documented.__doc__ or "")
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)


class Written:
    """An annotation that is shown as the source has it."""

    def __init__(self, text: object) -> None:
        self._text = str(text)

    def __repr__(self) -> str:
        return self._text


def signature(name: str, function: Any) -> str:
    """``name(arguments) -> result`` as the source writes it."""
    found = inspect.signature(function)
    arguments = [
        each.replace(annotation=Written(each.annotation))
        for each in found.parameters.values()
        if each.name not in ("self", "cls")
    ]
    return f"{name}{found.replace(parameters=arguments, return_annotation=Written(found.return_annotation))}"


def fields(model: type[BaseModel]) -> list[str]:
    """A table of a model's fields."""
    described = any(field.description for field in model.model_fields.values())
    rows = ["| Field | Type | Default |" + (" Meaning |" if described else ""), "|---|---|---|" + "---|" * described]
    for name, field in model.model_fields.items():
        kind = re.sub(r"Optional\[Annotated\[(\w+), .*", r"\1 | None", inspect.formatannotation(field.annotation))
        kind = re.sub(r"[a-z_]+[.]", "", kind).replace("|", "\\|")
        if field.default_factory is not None:
            default = "made when absent"
        elif field.default is PydanticUndefined:
            default = "required"
        else:
            default = "" if field.default is None else f"`{field.default!r}`".replace("|", "\\|")
        meaning = f" {field.description or ''} |" if described else ""
        rows.append(f"| `{name}` | {kind} | {default} |{meaning}")
    return rows


def own_members(kind: type) -> list[tuple[str, Any]]:
    """The public methods and properties that a class, or a base of ours, documents."""
    found = [
        (name, member)
        for base in reversed(kind.__mro__)
        if base.__module__.startswith("synerdiff") and base.__module__ != "synerdiff.ledger.base"
        for name, member in vars(base).items()
    ]
    public = {name: member for name, member in found if not name.startswith("_")}
    return [(name, member) for name, member in public.items() if getattr(member, "__doc__", None)]


def members(kind: type) -> list[str]:
    """A line for each method and property."""
    lines = []
    for name, member in own_members(kind):
        if isinstance(member, property):
            lines.append(f"- **`{name}`**: {one_line(member)}")
        elif isinstance(member, classmethod | staticmethod) or inspect.isfunction(member):
            function = getattr(member, "__func__", member)
            lines.append(f"- **`{signature(name, function)}`**: {one_line(function)}")
    return lines


def one_line(documented: Any) -> str:
    """A docstring on one line of a list."""
    return " ".join(prose(documented).split())


def section(name: str, member: Any) -> list[str]:
    """The part of the page about one public name."""
    if not inspect.isclass(member):
        if inspect.isfunction(member):
            return [f"### {name}", "", f"`{signature(name, member)}`", "", prose(member), ""]
        return [f"### {name}", "", f"`{member}`".replace("typing.", ""), ""]
    lines = [f"### {name}", "", prose(member), ""]
    if issubclass(member, Enum):
        lines += [", ".join(f"`{each.value}`" for each in member), ""]
    if is_dataclass(member):
        lines += [f"`{signature(name, member).removesuffix(' -> None')}`", ""]
    if issubclass(member, BaseModel):
        lines += [*fields(member), ""]
    if issubclass(member, Exception):
        code, status = getattr(member, "code", ""), getattr(member, "http_status", "")
        return [*lines, f"Code `{code}`, HTTP {status}.", ""] if code else lines
    listed = members(member)
    return [*lines, *listed, ""] if listed else lines


def page() -> str:
    """The whole page."""
    lines, seen = [HEAD], set[int]()
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        lines += [f"## {module_name}", "", prose(module), ""]
        for name in module.__all__:
            member = getattr(module, name)
            if id(member) not in seen:
                seen.add(id(member))
                lines += section(name, member)
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write the page, or say whether it is current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    made = page()
    if parser.parse_args().check:
        current = PATH.is_file() and PATH.read_text(encoding="utf-8") == made
        if not current:
            print("docs/api.md is not current: run `python -m tools.api_reference`")
        return 0 if current else 1
    PATH.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
