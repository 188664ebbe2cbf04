"""How long compiling takes: 5,000 ports on 20 networks of one tenant, an address group of 10,000 prefixes.

`python -m bench.compiler`: from nothing, and the median of single changes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from uuid import UUID

import msgspec

from bench import report
from onehop.compiler.compile import Compiler, Local
from onehop.compiler.facts import Interface
from onehop.model import (
    AddressGroup,
    AddressGroupEntry,
    Binding,
    Host,
    HostAddress,
    Link,
    Network,
    NextHop,
    Object,
    Port,
    PortAddress,
    Route,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Underlay,
)
from onehop.model.view import Topology

NETWORKS, PORTS, HOSTS, ENTRIES, RULES, ROUTES = 20, 5000, 50, 10_000, 20, 1000
REPEATS = 15
SPACES = "host undl netw subn port bind rout link rtes grou rule addr entr"


def uid(space: str, n: int) -> str:
    return str(UUID(int=(SPACES.index(space) + 1 << 64) + n))


def port(n: int) -> Port:
    network = n % NETWORKS
    ip = f"10.{network}.{n // NETWORKS // 250}.{n // NETWORKS % 250 + 5}"
    return Port(
        id=uid("port", n),
        name=f"p{n}",
        network=uid("netw", network),
        key=1000 + n,
        mac=f"02:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}",
        addresses=(
            PortAddress(subnet=uid("subn", network), ip=ip),
            PortAddress(subnet=uid("subn", 100 + network), ip=f"fd00:{network + 1:x}::{n + 5:x}"),
        ),
        security_groups=(uid("grou", 0), uid("grou", 1 + network % 3)),
    )


def binding(n: int, host: int) -> Binding:
    return Binding(
        id=uid("bind", n), name=f"b{n}", port=uid("port", n), host=uid("host", host), interface=f"tap{n}"
    )


def objects() -> Iterator[Object]:
    yield Underlay(id=uid("undl", 0), name="u")
    for n in range(HOSTS):
        address = HostAddress(underlay=uid("undl", 0), ip=f"192.0.2.{n + 1}")
        yield Host(id=uid("host", n), name=f"h{n}", addresses=(address,))
    yield AddressGroup(id=uid("addr", 0), name="a")
    for n in range(ENTRIES):
        cidr = f"{n >> 16 | 16}.{n >> 8 & 255}.{n & 255}.0/24"
        yield AddressGroupEntry(id=uid("entr", n), name=f"e{n}", address_group=uid("addr", 0), cidr=cidr)
    for n in range(4):
        yield SecurityGroup(id=uid("grou", n), name=f"g{n}")
        for m in range(RULES):
            yield rule(n, m)
    yield Router(id=uid("rout", 0), name="r")
    for n in range(NETWORKS):
        yield from network(n)
    for n in range(ROUTES):
        yield route(n, 5)
    for n in range(PORTS):
        yield port(n)
        yield binding(n, n % HOSTS)


def rule(group: int, n: int) -> SecurityGroupRule:
    remote = {0: {"remote_group": uid("grou", group)}, 1: {"remote_address_group": uid("addr", 0)}}
    return SecurityGroupRule(
        id=uid("rule", group * 100 + n),
        name=f"r{n}",
        security_group=uid("grou", group),
        direction="ingress",
        protocol="tcp",
        ports=str(80 + n),
        **remote.get(n, {}),
    )


def network(n: int) -> Iterator[Object]:
    inside, outside = uid("port", 100_000 + n), uid("port", 200_000 + n)
    yield Network(id=uid("netw", n), name=f"n{n}", key=100 + n)
    yield Subnet(id=uid("subn", n), name="v4", network=uid("netw", n), cidr=f"10.{n}.0.0/16")
    yield Subnet(id=uid("subn", 100 + n), name="v6", network=uid("netw", n), cidr=f"fd00:{n + 1:x}::/64")
    addresses = (
        PortAddress(subnet=uid("subn", n), ip=f"10.{n}.0.1"),
        PortAddress(subnet=uid("subn", 100 + n), ip=f"fd00:{n + 1:x}::1"),
    )
    mac = f"02:01:00:00:00:{n:02x}"
    yield Port(
        id=inside,
        name=f"n{n}",
        router=uid("rout", 0),
        key=500 + n,
        kind="router",
        mac=mac,
        addresses=addresses,
    )
    yield Port(
        id=outside, name="r", network=uid("netw", n), key=600 + n, kind="router", mac=mac[:-4] + "f:ff"
    )
    yield Link(id=uid("link", n), name=f"l{n}", a=inside, b=outside)


def route(n: int, via: int) -> Route:
    return Route(
        id=uid("rtes", n),
        name=f"r{n}",
        router=uid("rout", 0),
        destination=f"172.{16 + n // 256}.{n % 256}.0/24",
        next_hops=(NextHop(ip=f"10.1.0.{via}"),),
    )


def measure(compiler: Compiler, view: Topology, one: Object, other: Object) -> float:
    """Seconds to take in one object in the place of another, and back: the median."""
    taken = []
    for n in range(REPEATS):
        view.put((one, other)[n % 2])
        start = time.process_time()
        compiler.update([one.id])
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def changes() -> dict[str, tuple[Object, Object]]:
    """What is put in the place of what."""
    one = port(7)
    entry = next(obj for obj in objects() if isinstance(obj, AddressGroupEntry))
    return {
        "port_off_ms": (msgspec.structs.replace(one, admin_up=False), one),
        "port_address_ms": (msgspec.structs.replace(one, addresses=one.addresses[:1]), one),
        "port_moves_ms": (binding(7, 9), binding(7, 3)),
        "route_ms": (route(3, 6), route(3, 5)),
        "entry_ms": (msgspec.structs.replace(entry, cidr="99.0.0.0/8"), entry),
        "rule_ms": (msgspec.structs.replace(rule(0, 5), ports="9999"), rule(0, 5)),
    }


UNITS = {
    "objects": "in the topology",
    "rows": "of all tables",
    "from_nothing_s": "CPU s",
    "port_off_ms": "CPU ms",
    "port_address_ms": "CPU ms, of a member of a group that rules of 5,000 ports name",
    "port_moves_ms": "CPU ms, to another host",
    "route_ms": "CPU ms, one of 1,000",
    "entry_ms": "CPU ms, one of 10,000 in an address group",
    "rule_ms": "CPU ms, of a security group of 5,000 ports",
}


def main() -> None:
    view = Topology(objects())
    interfaces = {f"tap{n}": Interface(10 + n) for n in range(PORTS)}
    compiler = Compiler(uid("host", 0))
    start = time.process_time()
    desired = compiler.compile(view, Local(interfaces, {"192.0.2.1": Interface(2)}))
    figures = {
        "objects": len(view),
        "rows": sum(map(len, desired.tables.values())),
        "from_nothing_s": time.process_time() - start,
    }
    for name, (one, other) in changes().items():
        figures[name] = measure(compiler, view, one, other) * 1000
    print(f"Compiling ({report.machine()})")
    report.show(figures, UNITS)
    report.write("compiler", figures)


if __name__ == "__main__":
    main()
