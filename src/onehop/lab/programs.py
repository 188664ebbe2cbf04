"""The programs of a lab: etcd members, controllers, agents. Each is the real thing, as anybody starts it."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from onehop.client import Client
from onehop.client.errors import ClientError
from onehop.lab.fabric import UPLINK, Fabric, tail
from onehop.lab.ledger import Process
from onehop.lab.spec import LabError, Spec, is_v6
from onehop.linux.namespaces import Namespace

CONTROLLER_PORT = 9595
ETCD_CLIENT, ETCD_PEER = 2379, 2380
PATIENCE = 60.0


def bracketed(address: str) -> str:
    return f"[{address}]" if is_v6(address) else address


def wait_until(what: str, holds: Callable[[], bool], process: Process | None, log: Path) -> None:
    """Wait for a condition; say what the program's log says if it does not come."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if process is not None and not process.is_running:
            raise LabError(f"{what}: the program has ended. The end of {log}:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {PATIENCE:.0f} s. The end of {log}:\n{tail(log)}")
        time.sleep(0.05)


# --- etcd -----------------------------------------------------------------------------------------------


def start_etcd(fabric: Fabric, spec: Spec) -> None:
    """A cluster of etcd members, each in a namespace of its own."""
    program = shutil.which("etcd")
    if program is None:
        raise LabError("etcd is not installed: apt-get install etcd-server, or use `store: sqlite`")
    addresses = [spec.etcd_address(i) for i in range(spec.etcd)]
    members = ",".join(f"etcd{i + 1}=http://{bracketed(a)}:{ETCD_PEER}" for i, a in enumerate(addresses))
    for i, address in enumerate(addresses):
        name = f"etcd{i + 1}"
        fabric.start(name, _etcd(fabric, program, name, address, members), fabric.make_node(name, address))
    for i, address in enumerate(addresses):
        _wait_for_etcd(fabric, f"etcd{i + 1}", address)


def _wait_for_etcd(fabric: Fabric, name: str, address: str) -> None:
    node, process = fabric.node(name), fabric.ledger.processes[name]
    wait_until(f"{name} answers", lambda: _accepts(node, address, ETCD_CLIENT), process, fabric.log(name))


def _etcd(fabric: Fabric, program: str, name: str, address: str, members: str) -> list[str]:
    client, peer = (f"http://{bracketed(address)}:{port}" for port in (ETCD_CLIENT, ETCD_PEER))
    return [
        program,
        *("--name", name, "--data-dir", str(fabric.ledger.sub("store") / name)),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", members, "--initial-cluster-token", fabric.ledger.name),
        *("--max-txn-ops", "4096", "--logger", "zap"),
    ]


def _accepts(node: Namespace, address: str, port: int) -> bool:
    with node.entered():
        probe = socket.socket(socket.AF_INET6 if is_v6(address) else socket.AF_INET)
    with probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


# --- controllers ------------------------------------------------------------------------------------------


def store_url(fabric: Fabric, spec: Spec) -> str:
    if not spec.etcd:
        return f"sqlite://{fabric.ledger.sub('store') / 'onehop.db'}"
    members = ",".join(f"{bracketed(spec.etcd_address(i))}:{ETCD_CLIENT}" for i in range(spec.etcd))
    return f"etcd://{members}"


def state_of(fabric: Fabric) -> Path:
    """The controllers' certificates and the admin token; they share them."""
    return fabric.ledger.sub("controllers")


def start_controller(fabric: Fabric, spec: Spec, number: int) -> None:
    """A controller that hosts reach by the underlay, and people through a port of this machine's loopback."""
    name, address = f"c{number + 1}", spec.controller_address(number)
    node = fabric.node(name)
    if not node.exists:
        fabric.make_node(name, address)
    door = _door(fabric.ledger.facts.setdefault("doors", {}).get(name, 0))
    port = int(door.getsockname()[1])
    fabric.ledger.facts["doors"][name] = port
    argv = [
        *(sys.executable, "-m", "onehop.controller.main"),
        *("--store", store_url(fabric, spec), "--state", str(state_of(fabric))),
        *("--listen", f"{bracketed(address)}:{CONTROLLER_PORT}", "--public"),
        *("--listen-fd", str(door.fileno())),
        *(argument for i in range(spec.controllers) for argument in ("--name", spec.controller_address(i))),
    ]
    with door:
        process = fabric.start(name, argv, node, pass_fds=[door.fileno()])
    wait_until(f"controller {name} answers", lambda: _healthy(fabric, port), process, fabric.log(name))


def _door(port: int) -> socket.socket:
    """A listening socket on this machine's loopback. A socket stays in the namespace where it was made."""
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind(("127.0.0.1", port))
    door.listen(128)
    return door


def _healthy(fabric: Fabric, port: int) -> bool:
    if not (state_of(fabric) / "admin-token").exists():
        return False
    try:
        with client(fabric, port) as api:
            api.health()
            api.whoami()
    except (ClientError, OSError):
        return False
    return True


def client(fabric: Fabric, port: int | None = None, project: str | None = None) -> Client:
    """A client of one of the lab's controllers, as administrator."""
    from onehop.client import Context

    if port is None:
        port = next(iter(fabric.ledger.facts.get("doors", {}).values()), None)
    if port is None:
        raise LabError("the lab has no controller")
    state = state_of(fabric)
    context = Context(
        f"https://127.0.0.1:{port}",
        ca_file=str(state / "ca.pem"),
        token_file=str(state / "admin-token"),
        project=project,
    )
    return Client.of(context)


# --- agents -----------------------------------------------------------------------------------------------


def start_agent(fabric: Fabric, spec: Spec, host: str, join_token: str | None = None) -> None:
    """A host's agent. A token is needed once; later starts go on with the credential that it got for it."""
    node, folder = fabric.node(host), fabric.ledger.sub(f"hosts/{host}")
    argv = [
        *(sys.executable, "-m", "onehop.agent.main"),
        *("--state", str(folder), "--bpffs", str(folder / "bpf")),
        *("--underlay", UPLINK, "--ca", str(state_of(fabric) / "ca.pem")),
    ]
    for i in range(spec.controllers):
        argv += ["--controller", f"https://{bracketed(spec.controller_address(i))}:{CONTROLLER_PORT}"]
    if join_token is not None:
        secret = folder / "join-token"
        secret.touch(mode=0o600)
        secret.write_text(join_token)
        argv += ["--join-token-file", str(secret)]
    mount = str(folder / "bpf")
    if mount not in fabric.ledger.mounts:
        fabric.ledger.mounts.append(mount)
        fabric.ledger.save()
    fabric.start(f"agent-{host}", argv, node)
