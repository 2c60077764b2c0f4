"""Write the Helm chart's README from its values: ``python -m tools.chart_readme``.

A value is documented by the comment ``# -- ...`` above it, as helm-docs has it; a section's comment becomes its
paragraph. A test holds that the README is current.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[1] / "helm" / "synerdiff"
KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9]*):")

HEAD = """# {name}

{description}. Version {version}.

<!-- Written by `python -m tools.chart_readme` from Chart.yaml and values.yaml: change those. -->

```sh
helm install {name} helm/synerdiff                       # a trial: one CPU pool, bundled Valkey and SeaweedFS
helm install {name} helm/synerdiff -f my-values.yaml     # see ci/ for pools with GPUs, external Redis and S3
helm test {name}
```

[docs/kubernetes.md](../../docs/kubernetes.md) says how the parts fit together, and what was checked with which tool.

## Values

| Value | Default | Meaning |
|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One documented value."""

    path: str
    meaning: str


def rows(text: str) -> list[Row]:
    """The documented values of a values file, in its order."""
    found: list[Row] = []
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            comment = [stripped[5:]]
        elif stripped.startswith("#"):
            comment += [stripped[1:].strip()] if comment else []
        else:
            match = KEY.match(line)
            if match:
                indent = len(match.group(1))
                path = [part for part in path if part[0] < indent] + [(indent, match.group(2))]
                if comment:
                    found.append(Row(".".join(name for _, name in path), " ".join(comment)))
            comment = []
    return found


def default_of(values: dict[str, Any], path: str) -> str:
    """The default as JSON, short enough for a table."""
    value: Any = values
    for name in path.split("."):
        value = value[name]
    return json.dumps(value).replace("|", "\\|")


def readme(chart: Path) -> str:
    """The README's text."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    text = (chart / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    lines = [
        f"| `{row.path}` | `{default_of(values, row.path)}` | {row.meaning.replace('|', chr(92) + '|')} |\n"
        for row in rows(text)
    ]
    head = HEAD.format(name=about["name"], description=about["description"], version=about["version"])
    return head + "".join(lines)


if __name__ == "__main__":
    (CHART / "README.md").write_text(readme(CHART), encoding="utf-8")
    sys.stdout.write(f"{CHART / 'README.md'}\n")
