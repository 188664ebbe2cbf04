"""How fast the written specification walks: two networks, a router between, security groups of 20 rules.

    make bench-simulation

Speed is not its aim; the figure says how long a trace of a capture, or a fuzz run against the kernel, takes.
One process, one core; medians of five rounds of half a second each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

from bench.report import machine, show, write
from onehop.model import Port
from onehop.model.document import parse as parse_document
from onehop.model.offline import build as build_topology
from onehop.model.view import Topology
from onehop.simulation.packet import build, parse
from onehop.simulation.packet_text import read
from onehop.simulation.state import State
from onehop.simulation.walk import send, walk

ROUNDS, SECONDS = 5, 0.5


def topology(rules: int) -> Topology:
    """Two networks of ten machines each; the rule that allows is the last of its group."""
    ports = [{"direction": "ingress", "protocol": "tcp", "ports": str(1000 + n)} for n in range(rules)]
    group = {"rules": {f"rule-{n}": rule for n, rule in enumerate(ports)}}
    networks = {
        name: {
            "subnets": {"v4": {"cidr": f"10.0.{n}.0/24"}, "v6": {"cidr": f"fd00:{n}::/64"}},
            "ports": {f"{name}-{m}": {"security_groups": ["group"]} for m in range(10)},
        }
        for n, name in enumerate(("web", "db"), start=1)
    }
    document = {
        "networks": networks,
        "security_groups": {"group": group},
        "routers": {"edge": {"attach": ["web", "db"]}},
    }
    return build_topology(parse_document(document))


def rate(work: Callable[[], object]) -> float:
    """How often something can be done in a second."""
    found = []
    for _ in range(ROUNDS):
        count, end = 0, time.perf_counter() + SECONDS
        start = time.perf_counter()
        while time.perf_counter() < end:
            work()
            count += 1
        found.append(count / (time.perf_counter() - start))
    return median(found)


def figures() -> dict[str, float]:
    rules = 20
    view = topology(rules)
    ports = {p.name: p for p in view.all(Port) if p.kind == "vm"}
    a, b = ports["web-0"], ports["db-0"]
    target = f"{b.addresses[0].ip}:{1000 + rules - 1}"
    source = f"{a.addresses[0].ip}:4000"
    packet = build(read(view, a, f"tcp {source} > {target}"))
    reply = build(read(view, b, f"tcp {target} > {source} SYN,ACK"))
    refused = build(read(view, a, f"tcp {source} > {b.addresses[0].ip}:22"))
    opened = walk(view, State(), a.id, packet)
    assert opened.delivered, opened
    state = State().after(opened.effects)
    assert walk(view, state, b.id, reply).delivered
    assert walk(view, State(), a.id, refused).drop is not None
    return {
        "parsed_per_s": rate(lambda: parse(packet)),
        "first_packets_per_s": rate(lambda: send(view, State(), a.id, packet)),
        "next_packets_per_s": rate(lambda: send(view, state, a.id, packet)),
        "replies_per_s": rate(lambda: walk(view, state, b.id, reply)),
        "refused_per_s": rate(lambda: send(view, State(), a.id, refused)),
    }


def main() -> int:
    print(f"the simulation, on {machine()}")
    found = figures()
    show(found, dict.fromkeys(found, "packets/s"))
    print(f"written to {write('simulation', found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
