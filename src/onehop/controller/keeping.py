"""`onehop controller backup`, `restore` and `mark-restored`: what an operator does to a store as a whole.

An SQLite store is one file, and these commands know it. An etcd cluster has tools of its own for the first
two, which the refusals name.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from onehop.store import StoreError, new_incarnation, sqlite_path
from onehop.store.backup import back_up, restore

INSTEAD = {
    "backup": "`etcdctl snapshot save FILE` copies an etcd store",
    "restore": "`etcdctl snapshot restore` brings an etcd store back; then run "
    "`onehop controller mark-restored`",
}


def run(arguments: argparse.Namespace, store: str) -> None:
    """Do what the command says, and tell what was done. Raises StoreError, ValueError, OSError."""
    if arguments.command == "mark-restored":
        asyncio.run(new_incarnation(store))
        print("Marked: controllers and hosts compare what they hold with this store when they see it next")
        return
    path = sqlite_path(store)
    if path is None:
        raise StoreError(INSTEAD[arguments.command])
    if arguments.command == "backup":
        back_up(path, arguments.file)
        print(f"Copied {path} to {arguments.file}")
        return
    kept = restore(arguments.file, path)
    print(f"Restored {path} from {arguments.file}")
    if kept is not None:
        print(f"What was there before is in {kept}")


def add_commands(parser: argparse.ArgumentParser) -> None:
    """The commands. `--store` and `--state` may stand behind them as well as before."""
    which = argparse.ArgumentParser(add_help=False)
    for option in ("--store", "--state"):
        which.add_argument(option, default=argparse.SUPPRESS, help="as for running a controller")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="instead of running")
    for name, doc, file in (
        ("backup", "copy an SQLite store, in use or not, to a new file", "the copy; must not exist yet"),
        ("restore", "put a backup in the place of an SQLite store", "what `backup` made"),
        ("mark-restored", "say that a store was brought back by other means, such as etcdctl", None),
    ):
        command = commands.add_parser(name, help=doc, description=doc.capitalize() + ".", parents=[which])
        if file is not None:
            command.add_argument("file", type=Path, metavar="FILE", help=file)
