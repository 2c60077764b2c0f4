"""``synerdiff acl``: users for Redis, one for each part of the fleet."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

EPILOG = """
[bold]Examples[/bold]

  synerdiff acl --out users.acl          then `aclfile /etc/redis/users.acl` in redis.conf
  synerdiff acl --out users.acl --json   passwords by user, for a secret store
  synerdiff acl --out users.acl --sentinel   also users for Redis Sentinel and replicas

The file holds SHA-256 sums; the passwords are printed once. A part gets its user by its address:
SYNERDIFF_REDIS_URL=redis://worker:PASSWORD@HOST:6379/0
"""


def acl(
    path: Annotated[Path, typer.Option("--out", help="file to write; must not exist")],
    db: Annotated[int, typer.Option(min=0, help="number of the database in SYNERDIFF_REDIS_URL")] = 0,
    sentinel: Annotated[bool, typer.Option("--sentinel", help="also users for Redis Sentinel and replicas")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the passwords as one JSON object")] = False,
) -> None:
    """Write a Redis ACL file with a user for each part of the fleet, and print the passwords."""
    from synerdiff.cli.acl import REPLICATION, ROLES, acl_file
    from synerdiff.cli.console import out, print_json
    from synerdiff.cli.state import write_private
    from synerdiff.protocol.errors import SettingsError

    if path.exists():
        raise SettingsError(f"--out {path} exists; give another name or remove it", field="out")
    names = ("admin", *ROLES, *(REPLICATION if sentinel else ()))
    passwords = {name: secrets.token_urlsafe(24) for name in names}
    try:
        write_private(path, acl_file(passwords, db))
    except OSError as error:
        raise SettingsError(f"--out {path} cannot be written: {error.strerror}", field="out") from None
    if as_json:
        print_json(passwords)
        return
    purposes = {
        "admin": "for people: everything",
        **{name: role.purpose for name, role in ROLES.items()},
        **{name: purpose for name, (purpose, _) in REPLICATION.items()},
    }
    for name, password in passwords.items():
        sys.stdout.write(f"{name:10} {password}  {purposes[name]}\n")
    out.print(f"\n{path}: `aclfile` in redis.conf takes it; the default user is off in it", highlight=False)
