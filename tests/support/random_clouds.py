"""Clouds by chance, and what happens in them: scenarios as plain data, so that each can be saved as a file.

Everything is small and much is shared, so that packets meet what they could meet: few addresses and ports,
rules about just those, changes of just those rules. Addresses tell where they are: machine `k` on network `i`
has 10.0.i.(4+k) and fd00:0:0:i::(4+k), MAC 02:00:0a:00:0i:0(4+k).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Raw = dict[str, Any]

GROUPS = ("g0", "g1", "open")
ACLS = ("guard", "inner", "last")
PREFIXES = ("10.0.0.0/24", "10.0.0.4/32", "10.0.1.0/24", "10.0.0.0/8", "0.0.0.0/0", "fd00::/64",
            "fd00:0:0:1::/64", "fd00::4/128", "::/0", "10.50.0.0/16")  # fmt: skip
PORTS = (53, 80, 4000)
PROTOCOLS = ("tcp", "udp", "icmp", "icmpv6")
often, seldom = st.sampled_from([True, True, True, False]), st.sampled_from([False, False, False, True])


@dataclass(frozen=True)
class Machine:
    """A machine's port, and how to reach it and from it."""

    name: str
    network: int
    number: int
    gateway: str | None  # the router's port, as `r0/n0`

    @property
    def v4(self) -> str:
        return f"10.0.{self.network}.{self.number}"

    @property
    def v6(self) -> str:
        return f"fd00:0:0:{self.network}::{self.number:x}"

    @property
    def mac(self) -> str:
        return f"02:00:0a:00:{self.network:02x}:{self.number:02x}"

    @property
    def path(self) -> tuple[str, str]:
        return f"n{self.network}", self.name


def some(draw: st.DrawFn, values: Any, most: int = 2) -> list[Any]:
    return draw(st.lists(st.sampled_from(values), max_size=most, unique_by=repr))


# --- topologies ---------------------------------------------------------------------------------------------


@st.composite
def security_rules(draw: st.DrawFn) -> Raw:
    rule: Raw = {"direction": draw(st.sampled_from(["ingress", "ingress", "egress"]))}
    protocol = draw(st.sampled_from([None, *PROTOCOLS]))
    if protocol is not None:
        rule["protocol"] = protocol
    if protocol in ("tcp", "udp") and draw(st.booleans()):
        rule["ports"] = draw(st.sampled_from(["53", "80", "1-100", "4000-5000"]))
    if protocol in ("icmp", "icmpv6") and draw(seldom):
        rule["icmp_type"] = draw(st.sampled_from([0, 3, 8] if protocol == "icmp" else [1, 128, 129]))
    if protocol is None and draw(seldom):
        rule["family"] = draw(st.sampled_from(["ipv4", "ipv6"]))
    match draw(st.sampled_from(["any", "any", "cidr", "group", "addresses"])):
        case "cidr":
            prefixes = _of_family(PREFIXES, rule)
            rule["remote_cidr"] = draw(st.sampled_from(prefixes))
        case "group":
            rule["remote_group"] = draw(st.sampled_from(GROUPS))
        case "addresses":
            rule["remote_address_group"] = "friends"
    return rule


def _of_family(prefixes: tuple[str, ...], rule: Raw) -> list[str]:
    family = rule.get("family") or {"icmp": "ipv4", "icmpv6": "ipv6"}.get(rule.get("protocol", ""))
    return [p for p in prefixes if family is None or (family == "ipv6") == (":" in p)]


MATCHES: dict[str, st.SearchStrategy[Any]] = {
    "protocol": st.sampled_from(PROTOCOLS),
    "src": st.sampled_from(PREFIXES),
    "dst": st.sampled_from(PREFIXES),
    "src_ports": st.sampled_from(["53", "80", "4000", "1-1000"]),
    "dst_ports": st.sampled_from(["53", "80", "4000", "1-1000"]),
    "src_group": st.just("friends"),
    "dst_group": st.just("friends"),
    "icmp_type": st.sampled_from([0, 3, 8, 11, 128, 135]),
    "icmp_code": st.sampled_from([0, 3]),
    "src_mac": st.sampled_from(["02:00:0a:00:00:04", "02:00:0a:00:00:00/ff:ff:ff:ff:ff:00"]),
    "dst_mac": st.sampled_from(["02:00:0a:00:01:04", "01:00:00:00:00:00/01:00:00:00:00:00"]),
    "ethertype": st.sampled_from([0x0800, 0x0806, 0x86DD, 0x88CC]),
    "vlan": st.sampled_from([0, 7]),
    "dscp": st.sampled_from([0, 46]),
    "fragment": st.sampled_from(["any", "first", "later"]),
    "in_port": st.sampled_from(["n0/a"]),
    "out_port": st.sampled_from(["n0/a"]),
}


@st.composite
def acl_rules(draw: st.DrawFn, name: str, stateful: bool) -> Raw:
    fields = draw(st.lists(st.sampled_from(sorted(MATCHES)), max_size=2, unique=True))
    match: Raw = {field: draw(MATCHES[field]) for field in fields}
    if stateful and draw(seldom):
        match["state"] = some(draw, ["new", "established", "related", "untracked"], 3) or ["new"]
    inverted = [field for field in match if draw(seldom)]
    if inverted:
        match["invert"] = inverted
    rule: Raw = {"action": draw(st.sampled_from(["allow", "drop", "drop", "reject", "return", "jump"]))}
    if match:
        rule["match"] = match
    if rule["action"] == "jump":
        further = ACLS[ACLS.index(name) + 1 :]
        if not further:
            return {**rule, "action": "drop"}
        rule["jump"] = draw(st.sampled_from(further))
    if draw(seldom):
        rule["log"] = True
    return rule


@st.composite
def acls(draw: st.DrawFn, name: str) -> Raw:
    stateful = draw(st.booleans())
    rules = draw(st.lists(acl_rules(name, stateful), max_size=3))
    return {"stateful": stateful, "rules": [{"id": f"r{i}", **rule} for i, rule in enumerate(rules)]}


PAIRS = (
    {"cidr": "10.50.0.0/16"},
    {"cidr": "10.0.0.9/32", "mac": "02:00:5e:00:00:09"},
    {"cidr": "fd50::/64"},
)


@st.composite
def port_fields(draw: st.DrawFn) -> Raw:
    body: Raw = {"security_groups": draw(st.sampled_from([["open"], ["open"], ["g0"], ["g0", "g1"], []]))}
    if draw(seldom):
        body |= {"port_security": False, "security_groups": []}
    if draw(seldom):
        body["acls_in"] = some(draw, ACLS, 1)
    if draw(seldom):
        body["acls_out"] = some(draw, ACLS, 1)
    if draw(seldom):
        body["allowed_address_pairs"] = some(draw, PAIRS)
    return body


@st.composite
def networks(draw: st.DrawFn, number: int, machines: list[Machine]) -> Raw:
    body: Raw = {
        "mtu": draw(st.sampled_from([1450, 1450, 1280, 1400])),
        "subnets": {"v4": {"cidr": f"10.0.{number}.0/24"}, "v6": {"cidr": f"fd00:0:0:{number}::/64"}},
        "ports": {},
    }
    if draw(seldom):
        body["unknown_unicast"] = "flood"
    if draw(seldom):
        body["learning"] = True
    if draw(seldom):
        body["acls_in"] = some(draw, ACLS, 1)
    if draw(seldom):
        body["acls_out"] = some(draw, ACLS, 1)
    for machine in machines:
        addresses = [{"ip": machine.v4}, {"ip": machine.v6}]
        body["ports"][machine.name] = {"mac": machine.mac, "addresses": addresses, **draw(port_fields())}
    return body


ROUTES: dict[str, Raw] = {
    "hole": {"destination": "10.0.1.4/32", "action": "blackhole"},
    "hole6": {"destination": "fd00:0:0:1::4/128", "action": "reject"},
    "both": {
        "destination": "10.50.0.0/16",
        "next_hops": [{"ip": "10.0.0.4"}, {"ip": "10.0.0.5", "weight": 3}],
    },
    "both6": {"destination": "fd50::/16", "next_hops": [{"ip": "fd00::4"}, {"ip": "fd00::5"}]},
    "from": {"destination": "10.0.1.0/24", "source": "10.0.0.4/32", "action": "reject"},
    "from-b": {"destination": "10.50.0.0/16", "source": "10.0.0.5/32", "next_hops": [{"ip": "10.0.0.4"}]},
}


@st.composite
def routers(draw: st.DrawFn, count: int, attached: dict[int, list[int]]) -> Raw:
    """Routers in a row, each linked to the next."""
    made: Raw = {}
    for r in range(count):
        body: Raw = {"attach": [f"n{n}" for n in attached.get(r, [])], "ports": {}, "routes": {}}
        for to, end in ((r - 1, 2), (r + 1, 1)):
            if 0 <= to < count:
                link = min(r, to)
                body["ports"][f"to-r{to}"] = {
                    "addresses": [
                        {"ip": f"10.1.{link}.{end}", "prefix": 24},
                        {"ip": f"fd01:0:0:{link}::{end}", "prefix": 64},
                    ]
                }
        for other, numbers in attached.items():
            if other == r or other >= count:
                continue
            link, end = (r, 2) if other > r else (r - 1, 1)
            for n in numbers:
                body["routes"][f"n{n}"] = _way(f"10.0.{n}.0/24", f"10.1.{link}.{end}")
                body["routes"][f"n{n}-6"] = _way(f"fd00:0:0:{n}::/64", f"fd01:0:0:{link}::{end}")
        body["routes"] |= {name: ROUTES[name] for name in some(draw, sorted(ROUTES))}
        for place in ("acls_in", "acls_forward", "acls_out"):
            if draw(seldom):
                body[place] = some(draw, ACLS, 1)
        made[f"r{r}"] = body
    return made


def _way(destination: str, hop: str) -> Raw:
    return {"destination": destination, "next_hops": [{"ip": hop}]}


# --- what happens -------------------------------------------------------------------------------------------

FLAGS = ("SYN", "SYN ACK", "ACK", "PSH ACK", "FIN ACK", "RST", "RST ACK", "SYN FIN", "URG")
WORDS = ("", "", "", "", "ttl 1", "ttl 2", "size 100", "size 1260", "size 1400", "dscp 46", "df size 1300")
ODDITIES = (
    "eth 0x88cc", "vlan 7 udp {v4}:4000 > {to4}:53", "ip {v4} > {to4} proto 47",
    "udp {v4}:68 > 255.255.255.255:67", "udp {v4}:67 > {to4}:68",
    "udp {v4}:4000 > 224.0.0.1:53", "udp {v4}:4000 > 10.0.0.255:53",
    "who-has {to4} tell {v4}", "who-has {to6} tell {v6}", "is-at {v4} tell {to4}", "is-at {v6} tell {to6}",
    "is-at {v4} tell {v4}", "is-at {v6} tell all", "is-at {to4} tell {v4}", "who-has {v4} tell {v4}",
    "icmp {v4} > {to4} timestamp", "icmp {v6} > {to6} router-advertisement", "udp 10.50.0.1:4000 > {to4}:53",
    "who-has 10.0.0.77 tell {v4}", "udp {v4}:4000 > 10.0.0.77:53", "udp {v4}:4000 > 10.0.1.77:53",
    "who-has fd00::77 tell {v6}", "udp [{v6}]:4000 > [fd00::77]:53", "udp [{v6}]:4000 > [ff02::1]:53",
    "udp {to4}:4000 > {v4}:53", "udp {v4}:4000 > 127.0.0.1:53", "udp {v4}:4000 > 10.50.0.7:53",
)  # fmt: skip


@st.composite
def packets(draw: st.DrawFn, machines: list[Machine]) -> Raw:
    """A packet that one machine sends, to another mostly."""
    source, target = draw(pairs(machines))
    if draw(st.integers(0, 2)) == 2:
        text = draw(st.sampled_from(ODDITIES))
        text = text.format(v4=source.v4, v6=source.v6, to4=target.v4, to6=target.v6)
    else:
        text = draw(conversations(source, target))
    step: Raw = {"throw": text, "at": source.name}
    if not text.startswith(("who-has", "is-at")) or draw(seldom):
        mac = draw(macs(source, target))
        if mac is not None:
            step["throw"] = _with_words(text, f"to-mac {mac}")
    if draw(st.integers(0, 9)) == 9:
        step["mutate"] = draw(
            st.dictionaries(st.integers(12, 70), st.integers(0, 255), min_size=1, max_size=3)
        )
    elif draw(st.integers(0, 19)) == 19:
        step["cut"] = draw(st.integers(20, 60))
    return step


@st.composite
def pairs(draw: st.DrawFn, machines: list[Machine]) -> tuple[Machine, Machine]:
    source = draw(st.sampled_from(machines))
    others = [m for m in machines if m is not source or draw(seldom)]
    return source, draw(st.sampled_from(others or machines))


TURNS = (
    "SYN",
    "SYN ACK",
    "ACK",
    "PSH ACK size 1300",
    "ACK ttl 1",
    "PSH ACK",
    "FIN ACK",
    "FIN ACK",
    "ACK",
    "ACK",
)


@st.composite
def talks(draw: st.DrawFn, machines: list[Machine]) -> list[Raw]:
    """A question and its answer, and so on, by turns: the machines on both sides speak."""
    source, target = draw(pairs(machines))
    six = draw(st.booleans())
    here, there = (source.v6, target.v6) if six else (source.v4, target.v4)
    a, b = draw(st.sampled_from(PORTS)), draw(st.sampled_from(PORTS))
    ends = (f"[{here}]:{a}", f"[{there}]:{b}") if six else (f"{here}:{a}", f"{there}:{b}")
    kind = draw(st.sampled_from(["tcp", "tcp", "udp", "echo", "refused"]))
    lines = {
        "tcp": [f"tcp {{}} > {{}} {flags}" for flags in TURNS],
        "udp": ["udp {} > {} size 20", "udp {} > {} size 1250", "udp {} > {}", "udp {} > {} ttl 2"],
        "echo": [f"icmp {{}} > {{}} echo-{what} id 7" for what in ("request", "reply", "request", "reply")],
        "refused": ["udp {} > {}", "icmp {} > {} unreachable port about udp {other} > {own}"],
    }[kind][: draw(st.integers(1, 10))]  # fmt: skip
    steps = []
    for turn, line in enumerate(lines):
        (speaker, hearer) = (source, target) if turn % 2 == 0 else (target, source)
        (own, other) = ends if turn % 2 == 0 else ends[::-1]
        bare = kind == "echo" or (kind == "refused" and turn)
        one, two = ((here, there) if turn % 2 == 0 else (there, here)) if bare else (own, other)
        text = line.format(one, two, own=own, other=other)
        mac = hearer.mac if speaker.network == hearer.network else speaker.gateway
        steps.append({"throw": _with_words(text, f"to-mac {mac}") if mac else text, "at": speaker.name})
    return steps


def _with_words(text: str, words: str) -> str:
    """Words stand before what an error is about."""
    head, about, rest = text.partition(" about ")
    return f"{head} {words}{about}{rest}"


@st.composite
def macs(draw: st.DrawFn, source: Machine, target: Machine) -> str | None:
    if draw(st.integers(0, 19)) == 19:
        return draw(
            st.sampled_from(["broadcast", "02:ff:ff:ff:ff:ff", "02:00:5e:00:00:09", "01:00:5e:00:00:01"])
        )
    if source.network == target.network:
        return target.mac
    return source.gateway


@st.composite
def conversations(draw: st.DrawFn, source: Machine, target: Machine) -> str:
    six = draw(st.booleans())
    src, dst = (source.v6, target.v6) if six else (source.v4, target.v4)
    words = draw(st.sampled_from(WORDS))
    if draw(st.integers(0, 14)) == 14:  # the router itself, which has the first address
        dst = f"fd00:0:0:{source.network}::1" if six else f"10.0.{source.network}.1"
    a, b = draw(st.sampled_from(PORTS)), draw(st.sampled_from(PORTS))
    ends = f"[{src}]:{a} > [{dst}]:{b}" if six else f"{src}:{a} > {dst}:{b}"
    back = f"[{dst}]:{b} > [{src}]:{a}" if six else f"{dst}:{b} > {src}:{a}"
    match draw(st.sampled_from(["tcp", "tcp", "tcp", "udp", "udp", "echo", "error", "fragment"])):
        case "tcp":
            return f"tcp {ends} {draw(st.sampled_from(FLAGS))} {words}".strip()
        case "udp":
            return f"udp {ends} {words}".strip()
        case "echo":
            kind = draw(st.sampled_from(["echo-request", "echo-reply"]))
            return f"icmp {src} > {dst} {kind} id 7 {words}".replace("df ", "").strip()
        case "error":
            kind = draw(st.sampled_from(["unreachable port", "too-big mtu 1280", "time-exceeded"]))
            about = draw(st.sampled_from([f"tcp {back} ACK", f"udp {back}", f"udp {ends}"]))
            return f"icmp {src} > {dst} {kind} about {about}"
    part = draw(
        st.sampled_from(["0+ size 800", "808 size 400", "808+ size 400", "400 size 100", "0+ size 400"])
    )
    return f"udp {ends} id {draw(st.sampled_from([77, 78]))} fragment {part}"


@st.composite
def changes(draw: st.DrawFn, machines: list[Machine], networks: int, routers: int, hosts: list[str]) -> Raw:
    """Something else than a packet."""
    machine = draw(st.sampled_from(machines))
    router = f"r{draw(st.integers(0, routers - 1))}" if routers else None
    found = draw(
        st.one_of(
            port_changes(machine),
            rule_changes(),
            network_changes(networks),
            router_changes(router) if router else st.just({"settle": True, "delivered": "*"}),
            happenings(machine, hosts),
        )
    )
    return dict(found)


@st.composite
def port_changes(draw: st.DrawFn, machine: Machine) -> Raw:
    network, name = machine.path
    if name != "a" and draw(seldom):
        return _change(networks={network: {"ports": {name: None}}})
    fields = {"admin_up": draw(often), "port_security": None, "acls_in": None, "acls_out": None}
    return _change(networks={network: {"ports": {name: fields | draw(port_fields())}}})


@st.composite
def rule_changes(draw: st.DrawFn) -> Raw:
    match draw(st.sampled_from(["rule", "acl", "entry"])):
        case "rule":
            rule = draw(st.none() | security_rules())
            return _change(security_groups={draw(st.sampled_from(GROUPS)): {"rules": {"rule-0": rule}}})
        case "acl":
            acl = draw(st.sampled_from(ACLS))
            return _change(acls={acl: draw(acls(acl))})
    cidr = draw(st.sampled_from(PREFIXES))
    entry = "e" + "".join(c for c in cidr if c.isalnum())
    body = draw(st.sampled_from([None, {"cidr": cidr}]))
    return _change(address_groups={"friends": {"entries": {entry: body}}})


@st.composite
def network_changes(draw: st.DrawFn, networks: int) -> Raw:
    fields: list[Raw] = [
        {"mtu": 1280},
        {"mtu": 1450},
        {"unknown_unicast": "flood"},
        {"unknown_unicast": None},
    ]
    body = draw(st.sampled_from([*fields, {"learning": True}]))
    return _change(networks={f"n{draw(st.integers(0, networks - 1))}": body})


@st.composite
def router_changes(draw: st.DrawFn, router: str) -> Raw:
    if draw(st.booleans()):
        return _change(routers={router: {"admin_up": draw(st.booleans())}})
    route = draw(st.sampled_from(sorted(ROUTES)))
    return _change(routers={router: {"routes": {route: draw(st.sampled_from([None, ROUTES[route]]))}}})


@st.composite
def happenings(draw: st.DrawFn, machine: Machine, hosts: list[str]) -> Raw:
    match draw(st.sampled_from(["move", "interface", "forget", "wait", "settle"])):
        case "move":
            return {"move": {machine.name: draw(st.sampled_from(hosts))}}
        case "interface":
            return {"interface": {machine.name: draw(st.sampled_from(["up", "down"]))}}
        case "forget":
            return {"forget": some(draw, ["hints", "flows"]) or ["flows"]}
        case "wait":
            return {"wait": draw(st.sampled_from([1, 5, 40, 70, 310, 400, 8000])), "dropped": "*"}
    return {"settle": True, "delivered": "*"}


def _deletes(step: Raw, machine: Machine) -> bool:
    network, name = machine.path
    ports = step.get("change", {}).get("networks", {}).get(network, {}).get("ports", {})
    return name in ports and ports[name] is None


def _change(**sections: Raw) -> Raw:
    return {"change": sections}


@st.composite
def scenarios(draw: st.DrawFn) -> Raw:
    """A whole scenario, as it would stand in a file."""
    count = draw(st.integers(1, 3))
    row = draw(st.sampled_from([1, 0, 1, 2, 3]))
    homes = {n: draw(st.integers(0, row - 1)) for n in range(count)} if row else {}
    names = iter("abcdefghi")
    machines = [
        Machine(next(names), n, 4 + k, f"r{homes[n]}/n{n}" if n in homes else None)
        for n in range(count)
        for k in range(draw(st.integers(1, 3)) if n else draw(st.integers(2, 3)))
    ]
    attached = {r: [n for n in homes if homes[n] == r] for r in range(row)}
    hosts = [f"h{i}" for i in range(draw(st.integers(1, 3)))]
    where: dict[str, list[str]] = {host: [] for host in hosts}
    for machine in machines:
        where[draw(st.sampled_from(hosts))].append(machine.name)
    topology: Raw = {
        "networks": {
            f"n{n}": draw(networks(n, [m for m in machines if m.network == n])) for n in range(count)
        },
        "routers": draw(routers(row, attached)),
        "links": {f"l{r}": {"a": f"r{r}/to-r{r + 1}", "b": f"r{r + 1}/to-r{r}"} for r in range(row - 1)},
        "security_groups": {
            group: {
                "egress": draw(st.sampled_from(["allow", "allow", "rules"])),
                "rules": {f"rule-{i}": r for i, r in enumerate(draw(st.lists(security_rules(), max_size=3)))},
            }
            for group in ("g0", "g1")
        }
        | {"open": {"rules": {"all": {"direction": "ingress"}}}},
        "acls": {name: draw(acls(name)) for name in ACLS},
        "address_groups": {
            "friends": {"entries": {f"e{i}": {"cidr": c} for i, c in enumerate(some(draw, PREFIXES))}}
        },
    }
    packet, there = packets(machines), list(machines)
    steps: list[Raw] = []
    for _ in range(draw(st.integers(1, 6))):
        burst = [one for talk in draw(st.lists(talks(there), max_size=3)) for one in talk]
        burst += draw(st.lists(packet, min_size=1, max_size=5))
        steps += [one for one in burst for _ in range(draw(st.sampled_from([1, 1, 2])))]
        steps.append(draw(changes(there, count, row, hosts)))
        there = [m for m in there if not _deletes(steps[-1], m)]
        steps += burst
    return {
        "about": "Found by chance.",
        "families": ["v4"],
        "places": ["apart"],
        "underlay": draw(st.sampled_from(["v4", "v6"])),
        "hosts": where,
        "topology": topology,
        "steps": steps,
    }
