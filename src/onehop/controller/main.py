"""`onehop controller`: read what to do, do it, and say in a sentence what went wrong if it did."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import uvloop

from onehop import logs
from onehop.controller import keeping
from onehop.controller.server import Settings, serve
from onehop.store import StoreError

LISTEN = "127.0.0.1:9595"


class Refused(Exception):
    """The controller does not start like this."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    logs.set_up(arguments)
    try:
        if arguments.command is not None:
            keeping.run(arguments, _store(arguments))
            return 0
        settings = settings_of(arguments)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except (Refused, StoreError, ValueError) as error:
        print(f"onehop controller: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"onehop controller: {_told(error, arguments)}", file=sys.stderr)
        return 1
    return 0


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings, once they are known to be safe."""
    host, port = _address(arguments.listen)
    directory = Path(arguments.state).expanduser().resolve()
    settings = Settings(
        store=_store(arguments),
        host=host,
        port=port,
        directory=directory,
        insecure=arguments.insecure_http,
        names=tuple(arguments.name),
        certificate=arguments.tls_cert,
        key=arguments.tls_key,
        listen_fds=tuple(arguments.listen_fd),
    )
    if not settings.is_loopback and not arguments.public:
        raise Refused(f"other machines reach {host}; add --public if that is wanted, or listen on 127.0.0.1")
    if settings.insecure and not settings.is_loopback:
        raise Refused("--insecure-http sends tokens in the clear; it is for loopback only")
    if (settings.certificate is None) != (settings.key is None):
        raise Refused("a certificate needs both --tls-cert and --tls-key")
    return settings


def _store(arguments: argparse.Namespace) -> str:
    directory = Path(arguments.state).expanduser().resolve()
    return arguments.store or f"sqlite://{quote(str(directory / 'store.db'))}"


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        if host != "localhost":
            host = str(ipaddress.ip_address(host))
    except ValueError:
        raise Refused(f"{text!r} is not ADDRESS:PORT, such as {LISTEN} or [::1]:9595") from None
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise Refused(f"{port!r} is not a port (0 takes a free one)")
    return ("127.0.0.1" if host == "localhost" else host), int(port)


def _told(error: OSError, arguments: argparse.Namespace) -> str:
    if arguments.command is not None:
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if error.filename is None:
        return f"cannot listen on {arguments.listen}: {error.strerror}; choose another with --listen"
    return f"{error.filename}: {error.strerror}; choose another directory with --state"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("onehop controller", description="Run a controller, or see to its store.")
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    default = "/var/lib/onehop" if os.geteuid() == 0 else f"{state}/onehop"
    option = made.add_argument
    option(
        "--store",
        help="sqlite:///FILE, or etcd://HOST:PORT,... (default: a file in the state directory)",
    )
    option("--listen", default=LISTEN, help="address and port (default: %(default)s)")
    option(
        "--listen-fd",
        type=int,
        action="append",
        default=[],
        metavar="FD",
        help="also listen on a socket that is passed on; repeatable",
    )
    option(
        "--state",
        default=default,
        help="directory of certificates and the admin token (default: %(default)s)",
    )
    option("--public", action="store_true", help="allow an address that other machines reach")
    option(
        "--name", action="append", default=[], help="a host name or address for the certificate; repeatable"
    )
    option("--tls-cert", type=Path, help="a certificate (chain) of yours, as PEM")
    option("--tls-key", type=Path, help="its key, as PEM")
    option("--insecure-http", action="store_true", help="no TLS; on loopback only")
    logs.add_options(made)
    keeping.add_commands(made)
    return made


if __name__ == "__main__":
    sys.exit(main())
