"""Documents made by hypothesis: sound ones, of every kind that a project holds."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = st.sampled_from(["a", "b", "web", "db", "x-1", "long-name-of-a-thing"])
TEXTS = st.text(max_size=8)
LABELS = st.dictionaries(st.sampled_from(["tier", "env", "a/b"]), TEXTS, max_size=2)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def named(body: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(NAMES, body, max_size=most)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    address_groups = draw(named(st.builds(_address_group, named(st.integers(0, 255)), LABELS)))
    groups: dict[str, Any] = draw(named(optional(title=TEXTS, egress=st.sampled_from(["allow", "rules"]))))
    for group in groups.values():
        group["rules"] = draw(named(_rules(sorted(groups), sorted(address_groups))))
    acls = draw(named(_acl(sorted(address_groups))))
    networks = {
        name: _network(draw, number, sorted(groups), sorted(acls))
        for number, name in enumerate(draw(st.lists(NAMES, unique=True, max_size=3)))
    }
    routers = {
        name: _router(draw, networks)
        for name in draw(st.lists(NAMES.map(lambda n: f"r-{n}"), unique=True, max_size=2))
    }
    _attach(draw, routers, networks)
    return {
        "address_groups": address_groups,
        "security_groups": groups,
        "acls": acls,
        "networks": networks,
        "routers": routers,
    }


def _address_group(entries: dict[str, int], labels: dict[str, str]) -> dict[str, Any]:
    cidrs = {name: {"cidr": f"192.0.{i}.{number}/32"} for i, (name, number) in enumerate(entries.items())}
    return {"entries": cidrs, "labels": labels}


def _rules(groups: list[str], address_groups: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    remote: list[st.SearchStrategy[dict[str, Any]]] = [
        st.just({}),
        st.just({"remote_cidr": "10.0.0.0/8"}),
        st.sampled_from(groups).map(lambda g: {"remote_group": g}),
    ]
    if address_groups:
        remote.append(st.sampled_from(address_groups).map(lambda g: {"remote_address_group": g}))
    match = st.sampled_from([{}, {"protocol": "tcp", "ports": "80-90"}, {"protocol": "icmp", "icmp_type": 8}])
    direction = st.sampled_from(["ingress", "egress"])
    return st.builds(
        lambda d, m, r: {"direction": d, **m, **r, **({"family": "ipv4"} if "remote_cidr" in r else {})},
        direction,
        match,
        st.one_of(remote),
    )


def _acl(address_groups: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    matches: list[dict[str, Any]] = [{}, {"src": "10.0.0.0/8", "invert": ["src"]}, {"ethertype": 0x806}]
    matches += [{"src_group": group} for group in address_groups]
    rule = st.tuples(st.sampled_from(["allow", "drop"]), st.sampled_from(matches), st.booleans())
    return optional(stateful=st.booleans(), title=TEXTS).flatmap(
        lambda body: st.lists(rule, max_size=3).map(
            lambda rules: {
                **body,
                "rules": [
                    {"id": f"r{i}", "action": a, "match": m, "log": log}
                    for i, (a, m, log) in enumerate(rules)
                ],
            }
        )
    )


def _network(draw: st.DrawFn, number: int, groups: list[str], acls: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = draw(
        optional(
            mtu=st.sampled_from([1280, 1450, 8950]),
            learning=st.booleans(),
            labels=LABELS,
            grants=st.just([{"allow": "use"}]),
            acls_in=st.lists(st.sampled_from(acls), unique=True) if acls else st.just([]),
        )
    )
    subnets = draw(st.sampled_from([[], ["v4"], ["v4", "v6"], ["v6"]]))
    cidrs = {"v4": f"10.{number}.0.0/24", "v6": f"fd00:{number}::/64"}
    body["subnets"] = {name: {"cidr": cidrs[name], **draw(optional(dhcp=st.booleans()))} for name in subnets}
    body["ports"] = {
        name: _port(draw, number * 10 + i, subnets, groups)
        for i, name in enumerate(draw(st.lists(NAMES.map(lambda n: f"p-{n}"), unique=True, max_size=3)))
    }
    return body


def _port(draw: st.DrawFn, number: int, subnets: list[str], groups: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = draw(
        optional(
            admin_up=st.booleans(),
            port_security=st.booleans(),
            labels=LABELS,
            mac=st.just(f"02:00:00:00:01:{number:02x}"),
            security_groups=st.lists(st.sampled_from(groups), unique=True) if groups else st.just([]),
            allowed_address_pairs=st.just([{"cidr": "10.9.0.0/16"}]),
        )
    )
    if subnets:
        chosen = st.lists(st.sampled_from(subnets), unique=True).map(lambda s: [{"subnet": n} for n in s])
        body |= draw(optional(addresses=chosen))
    return body


def _router(draw: st.DrawFn, networks: dict[str, Any]) -> dict[str, Any]:
    return draw(optional(admin_up=st.booleans(), labels=LABELS))


def _attach(draw: st.DrawFn, routers: dict[str, Any], networks: dict[str, Any]) -> None:
    """Each network to one router at most: a gateway address is one port's."""
    for name in networks:
        if routers and draw(st.booleans()):
            routers[draw(st.sampled_from(sorted(routers)))].setdefault("attach", []).append(name)
    for router in routers.values():
        if draw(st.booleans()):
            router["routes"] = {"null": {"destination": "198.51.100.0/24", "action": "blackhole"}}
