"""`onehop lab`: a data centre in network namespaces on this machine."""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from onehop.client import ClientError
from onehop.client.errors import explained
from onehop.lab.lab import Lab, require_root
from onehop.lab.ledger import Ledger, names
from onehop.lab.spec import LabError, load, vm
from onehop.lab.teardown import down

Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parse(list(sys.argv[1:] if argv is None else argv))
    run: Callable[[Arguments], int] = arguments.run
    try:
        require_root()
        return run(arguments)
    except (LabError, OSError, RuntimeError) as error:
        print(f"onehop lab: {error}", file=sys.stderr)
        return 1
    except ClientError as error:
        print(f"onehop lab: {explained(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _parse(words: list[str]) -> Arguments:
    """The arguments; what stands behind `--` is not ours, and argparse would mistake it."""
    cut = words.index("--") if "--" in words else len(words)
    arguments = _parser().parse_args(words[:cut])
    arguments.rest = words[cut + 1 :]
    return arguments


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _up(arguments: Arguments) -> int:
    spec = load(arguments.file)
    print(f"Lab {spec.name}: {len(spec.hosts)} hosts, {len(spec.vms)} machines", file=sys.stderr)
    lab = Lab.up(spec, _say)
    print(f"Lab {spec.name} is up. To use the CLI with it:")
    for name, value in lab.environment().items():
        print(f"  export {name}={value}")
    return 0


def _down(arguments: Arguments) -> int:
    wanted = list(names()) if arguments.all else arguments.names or [Lab.open().spec.name]
    for name in wanted:
        ledger = Ledger.open(name)
        print(f"Lab {name}: taking it down", file=sys.stderr)
        down(ledger, _say)
    return 0


def _status(arguments: Arguments) -> int:
    status = Lab.open(arguments.lab).status()
    if arguments.output == "json":
        print(json.dumps(status, indent=2))
        return 0
    print(f"Lab {status['name']} in {status['folder']}")
    for name, url in status["controllers"].items():
        print(f"  controller {name:<16} {url}")
    for name, address in status["hosts"].items():
        print(f"  host       {name:<16} {address}")
    for name, uplink in status["uplinks"].items():
        state = "announced" if uplink["announced"] else "withdrawn"
        print(f"  uplink     {name:<16} on {uplink['host']}, {state}: {', '.join(uplink['addresses'])}")
    for name, addresses in status["outside"].items():
        print(f"  outside    {name:<16} {', '.join(addresses)}")
    for name, program in status["programs"].items():
        print(
            f"  program    {name:<16} {'running' if program['running'] else 'ENDED'} (pid {program['pid']})"
        )
    for name, machine in status["vms"].items():
        state = (machine["status"] or {}).get("state", "unknown")
        print(f"  machine    {name:<16} on {machine['host']}, {state}: {', '.join(machine['addresses'])}")
    return 0


def _list(_: Arguments) -> int:
    print("\n".join(names()))
    return 0


def _exec(arguments: Arguments) -> int:
    argv = [*arguments.argv, *arguments.rest]
    if not argv:
        raise LabError("what should be run there? onehop lab exec web-1 -- ping 10.0.1.1")
    return _run(Lab.open(arguments.lab).command(arguments.where, argv))


def _pcap(arguments: Arguments) -> int:
    lab = Lab.open(arguments.lab)
    options = ["-w", str(arguments.write)] if arguments.write else ["-l"]
    argv = ["tcpdump", "-n", "-i", arguments.interface, *options, *arguments.filter, *arguments.rest]
    return _run(lab.command(arguments.where, argv))


def _run(argv: list[str]) -> int:
    """The command's status, as shells tell it. An interrupt is the command's to handle."""
    with subprocess.Popen(argv) as process:
        while True:
            with contextlib.suppress(KeyboardInterrupt):
                status = process.wait()
                return status if status >= 0 else 128 - status


def _host_stop(arguments: Arguments) -> int:
    Lab.open(arguments.lab).stop_host(arguments.host)
    return 0


def _host_start(arguments: Arguments) -> int:
    Lab.open(arguments.lab).start_host(arguments.host)
    return 0


def _uplink_withdraw(arguments: Arguments) -> int:
    Lab.open(arguments.lab).announce(arguments.uplink, False)
    return 0


def _uplink_announce(arguments: Arguments) -> int:
    Lab.open(arguments.lab).announce(arguments.uplink)
    return 0


def _vm_add(arguments: Arguments) -> int:
    lab = Lab.open(arguments.lab)
    body = {"port": arguments.port} | ({"host": arguments.host} if arguments.host else {})
    lab.add_vm(vm(arguments.name, body, lab.spec.hosts))
    return 0


def _vm_move(arguments: Arguments) -> int:
    Lab.open(arguments.lab).move_vm(arguments.name, arguments.host)
    return 0


def _vm_remove(arguments: Arguments) -> int:
    Lab.open(arguments.lab).remove_vm(arguments.name)
    return 0


def _restart(arguments: Arguments) -> int:
    Lab.open(arguments.lab).restart(arguments.program)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "onehop lab", description="A data centre on this machine, in namespaces."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[Arguments], int], help: str) -> argparse.ArgumentParser:
        return _command(commands, name, run, help)

    command("up", _up, "Build a lab from a file.").add_argument("file", type=Path)
    one = command("down", _down, "Take labs down, also after a crash.")
    one.add_argument("names", nargs="*", help="the only lab, if left out")
    one.add_argument("--all", action="store_true", help="every lab")
    command("list", _list, "List the labs.")
    one = command("status", _status, "Show what a lab is made of, and how it is.")
    one.add_argument("-o", "--output", choices=("text", "json"), default="text")
    one = command("exec", _exec, "Run a command in a machine, a host or a controller.")
    one.add_argument("where")
    one.add_argument("argv", nargs="*", metavar="-- COMMAND ...")
    one = command("pcap", _pcap, "Watch packets in a machine or a host, with tcpdump.")
    one.add_argument("where")
    one.add_argument("-i", "--interface", default="any")
    one.add_argument("-w", "--write", type=Path, metavar="FILE")
    one.add_argument("filter", nargs="*", help="a filter as tcpdump takes it")
    one = command("restart", _restart, "Start a program of the lab again: c1, agent-h1.")
    one.add_argument("program")
    one = commands.add_parser("vm", help="Add, move or remove machines.")
    _vm_commands(one.add_subparsers(required=True, metavar="COMMAND"))
    one = commands.add_parser("host", help="Take a host's power away, and give it back.")
    _host_commands(one.add_subparsers(required=True, metavar="COMMAND"))
    one = commands.add_parser(
        "uplink", help="Take the outside's routes by an uplink away, and give them back."
    )
    _uplink_commands(one.add_subparsers(required=True, metavar="COMMAND"))
    return parser


def _vm_commands(commands: Any) -> None:
    one = _command(commands, "add", _vm_add, "Plug a new machine into a port.")
    one.add_argument("name")
    one.add_argument("--port", required=True, help="such as web/web-1")
    one.add_argument("--host")
    one = _command(commands, "move", _vm_move, "Move a machine to another host, with its connections.")
    one.add_argument("name")
    one.add_argument("--host", required=True)
    _command(commands, "remove", _vm_remove, "Throw a machine away.").add_argument("name")


def _host_commands(commands: Any) -> None:
    stop = "Take a host's power away: no agent, no programs, no wires; the outside loses its routes by it."
    _command(commands, "stop", _host_stop, stop).add_argument("host")
    _command(commands, "start", _host_start, "Give a host its power back.").add_argument("host")


def _uplink_commands(commands: Any) -> None:
    withdraw = "Take the outside's routes by an uplink away, as BGP would; the host goes on."
    _command(commands, "withdraw", _uplink_withdraw, withdraw).add_argument("uplink")
    _command(commands, "announce", _uplink_announce, "Give them back.").add_argument("uplink")


def _command(commands: Any, name: str, run: Callable[[Arguments], int], help: str) -> argparse.ArgumentParser:
    one: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    one.set_defaults(run=run)
    if name not in ("up", "down", "list"):
        one.add_argument("--lab", help="which lab, if there are several")
    return one


if __name__ == "__main__":
    sys.exit(main())
