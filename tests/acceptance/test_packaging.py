"""What a wheel holds, what it asks for, and what importing the client brings in."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PORTIONS = (
    "protocol", "policy", "ledger", "storage", "engine", "dispatch", "settings", "telemetry",
    "workers", "scheduler", "client", "api", "cli",
)  # fmt: skip
HEAVY = {"torch", "diffusers", "transformers", "numpy", "pillow", "fastapi", "uvicorn", "flower", "matplotlib"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=240)
    return zipfile.ZipFile(next(target.glob("*.whl")))


def required(wheel: zipfile.ZipFile) -> set[str]:
    """The packages that an install without extras brings in."""
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    lines = message_from_string(wheel.read(name).decode()).get_all("Requires-Dist") or []
    return {re.split(r"[^A-Za-z0-9_.-]", line)[0].lower() for line in lines if "extra ==" not in line}


def test_every_portion_is_there_and_typed(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for portion in PORTIONS:
        assert {f"synerdiff/{portion}/__init__.py", f"synerdiff/{portion}/py.typed"} <= names
    assert "synerdiff/__init__.py" not in names


def test_data_travels_with_the_code(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    shipped = "synerdiff/engine/shipped/tiny-emoji/"
    assert shipped + "model_index.json" in names
    assert any(name.endswith(".lua") for name in names)
    assert any(name.startswith("synerdiff/api/page/") for name in names)
    weights = sum(info.file_size for info in wheel.infolist() if info.filename.startswith(shipped))
    assert weights <= 14 * 2**20


def test_nothing_else_travels(wheel: zipfile.ZipFile) -> None:
    strays = [name for name in wheel.namelist() if not name.startswith("synerdiff")]
    assert strays == []


def test_a_producer_needs_nothing_heavy(wheel: zipfile.ZipFile) -> None:
    assert required(wheel) & HEAVY == set()
    assert {"celery", "redis", "boto3", "pydantic"} <= required(wheel)


def test_the_client_imports_nothing_heavy() -> None:
    code = (
        "import sys, synerdiff.client\n"
        "from synerdiff.client import Client, AsyncClient\n"
        "heavy = {'torch', 'numpy', 'PIL', 'fastapi', 'boto3', 'celery'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
