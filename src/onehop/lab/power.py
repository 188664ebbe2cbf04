"""A host's power: taken away without a warning, and given back.

A host without power sends and receives nothing: its agent is killed, its programs and tables are gone, its
interfaces are down. What is on its disk stays, and its machines stand there with their plugs pulled. The
router outside takes its routes by such a host away, as it would when BGP's keepalives do not come any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from onehop.lab import outside, programs
from onehop.lab.fabric import UPLINK, Fabric
from onehop.lab.spec import LabError, Spec
from onehop.linux import libc
from onehop.linux.links import Links


def stop(fabric: Fabric, spec: Spec, host: str) -> None:
    """Take the power away."""
    _check(spec, host)
    process = fabric.ledger.processes[f"agent-{host}"]
    process.stop(patience=0)
    _switch(fabric, host, "down")
    with contextlib.suppress(OSError):
        libc.umount(str(fabric.ledger.sub(f"hosts/{host}") / "bpf"), libc.MNT_DETACH)
    outside.set_announced(fabric, spec, _uplinks(spec, host), False)


def start(fabric: Fabric, spec: Spec, host: str) -> None:
    """Give it back; returns when the agent runs, and the uplinks are announced again."""
    _check(spec, host)
    _switch(fabric, host, "up")
    # The kernel forgets an interface's IPv6 addresses when it goes down.
    address = f"{spec.host_address(host)}/{spec.underlay.prefix_length}"
    fabric.node(host).run("ip", "address", "replace", address, "dev", UPLINK, "nodad")
    log = fabric.log(f"agent-{host}")
    before = _starts(log.read_text())
    programs.start_agent(fabric, spec, host)
    process = fabric.ledger.processes[f"agent-{host}"]
    programs.wait_until(f"the agent of {host} runs", lambda: _starts(log.read_text()) > before, process, log)
    outside.set_announced(fabric, spec, _uplinks(spec, host), True)


def _check(spec: Spec, host: str) -> None:
    if host not in spec.hosts:
        raise LabError(f"{host!r} is no host of this lab; there are {', '.join(spec.hosts)}")


def _switch(fabric: Fabric, host: str, state: str) -> None:
    node = fabric.node(host)
    with Links(node) as links:
        for name in links.names():
            if name != "lo":
                getattr(links, state)(name)


def _uplinks(spec: Spec, host: str) -> Iterator[str]:
    return (uplink.name for uplink in spec.uplinks if uplink.host == host)


def _starts(log: str) -> int:
    return log.count("] running")
