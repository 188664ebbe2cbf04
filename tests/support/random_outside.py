"""Translation by chance: a cloud with an outside, rules, and connections whose answers find their way or not.

As in `random_clouds`, everything is small and shared. Which port or id a packet leaves with is not known when
it is written down, so that answers are made of what arrives: a step with `turns`.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.random_clouds import Raw, often, seldom, some
from tests.support.scenario import merge, read_base

INSIDE = {"a": "10.0.1.5", "b": "10.0.1.6", "c": "10.0.2.7"}
OUTSIDE = {"x": "10.8.8.8", "y": "10.8.8.9"}
FLOATING = ("10.4.0.77", "10.4.0.78", "10.4.0.79")
ROUTED = ("10.6.0.9", "10.6.0.25", "10.6.0.70")  # by the provider, to router `edge`
SHARED = ("10.4.0.2", "10.4.0.3")
FROM = (4000, 1030, 53)
TO = (80, 1025, 55, 5353)  # other ones: what is sent to oneself, from and to one port, is its own reply
UPLINKS = ("provider/up1", "provider/up2")

RULES: dict[str, Raw] = {
    "share": {"action": "masquerade"},
    "share-a": {"action": "masquerade", "source": "10.0.1.5/32"},
    "pool": {"action": "snat", "pools": [{"first": "10.6.0.9", "last": "10.6.0.10"}]},
    "pool-b": {
        "action": "snat",
        "source": "10.0.1.6/32",
        "pools": [{"first": "10.6.0.11", "last": "10.6.0.11"}],
    },
    "web": {"action": "dnat", "internal": "10.0.1.5", "protocol": "tcp", "ports": "80"},
    "dns": {"action": "dnat", "internal": "10.0.1.6", "protocol": "udp", "ports": "50-60", "to_port": 50},
    "taken": {"action": "dnat", "internal": "10.0.1.6", "protocol": "tcp", "ports": "1024-1150"},
    "all": {"action": "dnat", "external": "10.6.0.70/32", "internal": "10.0.1.6"},
    "one": {"action": "static", "external": "10.6.0.25/32", "internal": "10.0.1.5/32"},
    "many": {"action": "static", "external": "10.6.0.64/28", "internal": "10.0.1.0/28"},
}
AT_DOOR = {name: RULES[name] for name in ("share",)}
ACL_RULES: tuple[Raw, ...] = (
    {"id": "r", "match": {"dst": "10.4.0.77/32"}, "action": "drop"},
    {"id": "r", "match": {"dst": "10.0.1.5/32", "protocol": "tcp"}, "action": "drop"},
    {"id": "r", "match": {"src": "10.4.0.0/24", "protocol": "udp"}, "action": "drop"},
    {"id": "r", "match": {"src": "10.8.8.8/32"}, "action": "reject"},
    {"id": "r", "match": {"src_ports": "80"}, "action": "drop"},
    {"id": "r", "action": "allow"},
)


@st.composite
def acls(draw: st.DrawFn) -> Raw:
    rules = draw(st.lists(st.sampled_from(ACL_RULES), max_size=2))
    numbered = [{**rule, "id": f"r{i}"} for i, rule in enumerate(rules)]
    return {"stateful": draw(st.booleans()), "rules": numbered}


@st.composite
def floating(draw: st.DrawFn, number: int) -> Raw:
    body: Raw = {"subnet": "public/main", "ip": FLOATING[number]}
    port = draw(st.sampled_from(["web/a", "web/b", "db/c", None]))
    return body | ({"port": port} if port is not None else {})


@st.composite
def topologies(draw: st.DrawFn) -> Raw:
    """The base `floating`, and what translates in it."""
    groups = {name: draw(st.sampled_from([["open"], ["open"], []])) for name in INSIDE}
    more: Raw = {
        "networks": {
            "web": {"ports": {name: {"security_groups": groups[name]} for name in ("a", "b")}},
            "db": {
                "ports": {"c": {"security_groups": groups["c"]}},
                "mtu": draw(st.sampled_from([1450, 1300])),
            },
        },
        "routers": {
            "edge": {"ports": {"out": {"nat_rules": {n: RULES[n] for n in some(draw, sorted(RULES), 4)}}}},
            "door": {"ports": {"out": {"nat_rules": {n: RULES[n] for n in some(draw, sorted(AT_DOOR), 1)}}}},
            "provider": {
                "routes": {"more": {"destination": "10.6.0.0/24", "next_hops": [{"ip": "10.4.0.2"}]}}
            },
        },
        "floating_ips": {f"f{n}": draw(floating(n)) for n in range(3) if draw(often)},
        "acls": {"guard": draw(acls())},
    }
    if draw(seldom):
        more["routers"]["provider"]["ports"] = {"up1": {"nat_rules": {"share": RULES["share"]}}}
    place = draw(st.sampled_from([None, None, "in", "forward", "port"]))
    if place == "port":
        more["routers"]["edge"]["ports"]["out"]["acls_in"] = ["guard"]
    elif place is not None:
        more["routers"]["edge"][f"acls_{place}"] = ["guard"]
    merged: Raw = merge(read_base("floating"), more)
    return merged


# --- what happens -------------------------------------------------------------------------------------------


@st.composite
def conversations(draw: st.DrawFn) -> Raw:
    """Somebody begins, to an address that may lead somewhere; whoever gets it answers, by turns."""
    source = draw(st.sampled_from([*INSIDE, *OUTSIDE]))
    here = INSIDE.get(source) or OUTSIDE[source]
    inward = [*FLOATING, *ROUTED, *SHARED, *INSIDE.values()]
    there = draw(st.sampled_from([*inward, *OUTSIDE.values()] if source in INSIDE else inward))
    a, b = draw(st.sampled_from(FROM)), draw(st.sampled_from(TO))
    words = draw(st.sampled_from(["", "", "", "ttl 2", "ttl 3", "size 1300", "dscp 46"]))
    flags = draw(st.sampled_from(["SYN", "SYN", "SYN", "ACK", "RST"]))
    echo = draw(st.sampled_from(["echo-request", "echo-request", "echo-reply"]))
    kinds = {
        "tcp": f"tcp {here}:{a} > {there}:{b} {flags} {words}",
        "udp": f"udp {here}:{a} > {there}:{b} {words}",
        "echo": f"icmp {here} > {there} {echo} id 7 {words}",
        "other": f"ip {here} > {there} proto 47 size 20",
        "part": f"udp {here}:{a} > {there}:{b} id 9 fragment 0+ size 400",
        "rest": f"udp {here}:0 > {there}:0 id 9 fragment 408 size 40",
        "error": f"icmp {here} > {there} unreachable port about udp {there}:{b} > {here}:{a}",
        "sctp": f"ip {here} > {there} proto 132 payload 0fa00050{'00' * 8}",
    }
    kind = draw(
        st.sampled_from(["tcp", "tcp", "udp", "udp", "echo", "other", "part", "rest", "error", "sctp"])
    )
    step: Raw = {"throw": kinds[kind].strip(), "at": source}
    if source in OUTSIDE:
        step["at"] = draw(st.sampled_from(UPLINKS))
    turns = draw(st.integers(0, 5))
    if turns:
        step["turns"] = turns
        step["with"] = draw(st.sampled_from(["answers", "answers", "answers", "errors"]))
        if draw(seldom):
            step["via"] = draw(st.sampled_from(UPLINKS))
    return step


@st.composite
def changes(draw: st.DrawFn) -> Raw:
    name = draw(st.sampled_from(sorted(RULES)))
    rule = draw(st.sampled_from([None, RULES[name]]))
    number = draw(st.integers(0, 2))
    host = draw(st.sampled_from(["west", "east"]))
    found: list[Raw] = [
        {"change": {"routers": {"edge": {"ports": {"out": {"nat_rules": {name: rule}}}}}}},
        {"change": {"floating_ips": {f"f{number}": draw(st.none() | floating(number))}}},
        {
            "change": {
                "floating_ips": {
                    f"f{number}": {"subnet": "public/main", "ip": FLOATING[number], "port": None}
                }
            }
        },
        {"change": {"hosts": {host: {"fenced": draw(st.sampled_from([None, True]))}}}},
        {"change": {"acls": {"guard": draw(acls())}}},
        {
            "change": {
                "networks": {
                    "web": {"ports": {"a": {"security_groups": draw(st.sampled_from([["open"], []]))}}}
                }
            }
        },
        {
            "change": {
                "routers": {
                    "provider": {"ports": {"up1": {"admin_up": draw(st.sampled_from([None, False]))}}}
                }
            }
        },
        {"change": {"routers": {"edge": {"admin_up": draw(st.sampled_from([None, False]))}}}},
        {"move": {draw(st.sampled_from(sorted(INSIDE))): draw(st.sampled_from(["one", "two", "west"]))}},
        {"forget": some(draw, ["hints", "flows"]) or ["hints"]},
        {"wait": draw(st.sampled_from([1, 5, 40, 70, 310, 400])), "dropped": "*"},
        {"settle": True, "delivered": "*"},
    ]
    return draw(st.sampled_from(found))


@st.composite
def scenarios(draw: st.DrawFn) -> Raw:
    """A whole scenario, as it would stand in a file."""
    steps: list[Raw] = []
    for _ in range(draw(st.integers(1, 5))):
        burst = draw(st.lists(conversations(), min_size=1, max_size=6))
        steps += burst
        steps.append(draw(changes()))
        steps += burst
    ports = ["a", "b", "c", *UPLINKS]
    hosts: dict[str, list[str]] = {"one": [], "two": [], "west": [], "east": []}
    for port in ports:
        where = draw(st.sampled_from(["west", "east"] if port in UPLINKS else ["one", "two", "west"]))
        hosts[where].append(port)
    return {
        "about": "Found by chance.",
        "families": [draw(st.sampled_from(["v4", "v6"]))],
        "places": ["apart"],
        "hosts": hosts,
        "topology": draw(topologies()),
        "steps": steps,
    }


__all__: list[Any] = ["scenarios"]
