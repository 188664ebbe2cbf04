"""`onehop agent`: read how to start, see whether this host can, start; say in a sentence what is wrong."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from onehop import logs
from onehop.agent.settings import Refused, Settings

STATE, BPFFS = "/var/lib/onehop-agent", "/sys/fs/bpf/onehop"

DESCRIPTION = """\
Run this host's agent: join the cloud, follow its topology, and forward.

The agent needs root, Linux 6.1 or later, and an address on an underlay that other hosts reach. An
administrator makes the host and a join token first:

    onehop host create h1 --address underlay=dc1,ip=192.0.2.1
    onehop host join-token h1 > h1.token

Ending the agent does not end forwarding: what it has put into the kernel stays, and the next agent goes on
with it."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        settings = settings_of(arguments)
        logs.set_up(arguments)
        return _run(settings)
    except (Refused, OSError, ImportError) as error:
        print(f"onehop agent: {error}", file=sys.stderr)
        return 1


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings, once they are known to make sense."""
    for url in arguments.controller:
        parts = urlsplit(url)
        is_loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.path not in ("", "/"):
            raise Refused(f"{url!r} is no controller; write https://HOST:PORT")
        if parts.scheme == "http" and not is_loopback:
            raise Refused(f"{url} would send this host's credential in the clear; use https")
    return Settings(
        state=Path(arguments.state).expanduser().resolve(),
        bpffs=Path(arguments.bpffs).resolve(),
        controllers=tuple(arguments.controller),
        underlay=tuple(arguments.underlay),
        ca=arguments.ca,
        join_token=arguments.join_token_file,
    )


def _run(settings: Settings) -> int:
    # Loading these needs libbpf, which `--help` does not.
    from onehop.agent.core import Agent
    from onehop.agent.join import credential
    from onehop.agent.state import Lock
    from onehop.datapath.features import probe

    features = probe()
    if features.missing:
        raise Refused("this host cannot run the datapath: " + " ".join(features.missing))
    lock = Lock(settings.state)
    agent = Agent(settings, credential(settings), features)
    try:
        agent.prepare()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(agent.run())
    finally:
        agent.close()
        lock.release()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "onehop agent", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option(
        "--controller",
        action="append",
        required=True,
        metavar="URL",
        help="where a controller is, https://HOST:PORT; repeatable: any will do",
    )
    option("--ca", type=Path, help="the controllers' CA certificate (PEM); no other is trusted")
    option(
        "--join-token-file",
        type=Path,
        metavar="FILE",
        help="a join token, for the first start; later starts use the credential that it bought",
    )
    option(
        "--underlay",
        action="append",
        default=[],
        metavar="INTERFACE",
        help="an interface that leads to other hosts; repeatable (default: those with the host's addresses)",
    )
    option("--state", default=STATE, metavar="DIR", help="what is kept on disk (default: %(default)s)")
    option(
        "--bpffs",
        default=BPFFS,
        metavar="DIR",
        help="where programs and tables are pinned; a BPF filesystem is mounted there if it is not on one "
        "(default: %(default)s)",
    )
    logs.add_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
