"""What a longest prefix match has to give. The decisions themselves are held to the simulation elsewhere."""

from __future__ import annotations

import msgspec

from onehop.compiler.compile import Compiler
from onehop.datapath.structs import Hop, Route
from onehop.datapath.words import RouteAction, RouteFlag
from onehop.model import Host, Port
from onehop.model import Route as ModelRoute
from tests.unit.compiler.small import Small, ip, prefixes

ROUTER = """
networks:
  web: {subnets: {v4: {cidr: 10.0.1.0/24}}}
  db: {subnets: {v4: {cidr: 10.0.2.0/24}}}
routers:
  edge:
    attach: [web, db]
    routes: {%s}
"""
NOWHERE = bytes(16)


def edge(routes: str = "") -> Small:
    return Small(ROUTER % routes)


def rows(small: Small) -> dict[str, Route]:
    return prefixes(small.table("routes"), small.router("edge"))


def hops(small: Small, route: Route) -> tuple[Hop, ...]:
    found: tuple[Hop, ...] = small.desired.lists["hop_groups"][route.hops]
    return found


def test_the_subnets_of_interfaces_are_routes_to_whoever_is_there() -> None:
    small = edge()
    found = rows(small)
    assert found.keys() == {"10.0.1.0/24", "10.0.2.0/24"}
    web = found["10.0.1.0/24"]
    assert web == Route(RouteAction.FORWARD, RouteFlag.CONNECTED, hops=web.hops)
    assert hops(small, web) == (Hop(NOWHERE, small.key("edge/web"), 1),)


def test_the_hops_of_a_route_add_up_their_weights() -> None:
    small = edge(
        "d: {destination: 0.0.0.0/0, next_hops: [{ip: 10.0.1.9, weight: 2}, {port: edge/db, weight: 3}]}"
    )
    route = rows(small)["0.0.0.0/0"]
    number = small.number("routes", small.view.all(ModelRoute)[0].id)
    assert route == Route(RouteAction.FORWARD, hops=route.hops, id=number)
    assert hops(small, route) == (
        Hop(ip("10.0.1.9"), small.key("edge/web"), 2),
        Hop(NOWHERE, small.key("edge/db"), 5),
    )


def test_routes_with_the_same_hops_share_a_group() -> None:
    hop = "next_hops: [{ip: 10.0.1.9}]"
    small = edge(f"d: {{destination: 8.0.0.0/8, {hop}}}, e: {{destination: 9.0.0.0/8, {hop}}}")
    found = rows(small)
    assert found["8.0.0.0/8"].hops == found["9.0.0.0/8"].hops
    assert len(small.desired.lists["hop_groups"]) == 3


def test_blackholes_and_rejects_need_no_hop() -> None:
    small = edge(
        "b: {destination: 8.0.0.0/8, action: blackhole}, r: {destination: 9.0.0.0/8, action: reject}"
    )
    actions = {prefix: (row.action, row.hops) for prefix, row in rows(small).items() if row.id}
    assert actions == {"8.0.0.0/8": (RouteAction.BLACKHOLE, 0), "9.0.0.0/8": (RouteAction.REJECT, 0)}


def test_a_route_object_goes_before_the_subnet_of_an_interface() -> None:
    small = edge("b: {destination: 10.0.1.0/24, action: blackhole}")
    assert rows(small)["10.0.1.0/24"].action == RouteAction.BLACKHOLE


def test_a_hop_whose_port_is_off_does_not_count_nor_a_route_without_hops() -> None:
    small = edge("d: {destination: 0.0.0.0/0, next_hops: [{ip: 10.0.1.9}, {ip: 10.0.2.9}]},"
                 "e: {destination: 9.0.0.0/8, next_hops: [{ip: 10.0.1.9}]}")  # fmt: skip
    web = small.get(Port, "edge/web")
    small.update(msgspec.structs.replace(web, admin_up=False))
    found = rows(small)
    assert found.keys() == {"10.0.2.0/24", "0.0.0.0/0"}
    assert hops(small, found["0.0.0.0/0"]) == (Hop(ip("10.0.2.9"), small.key("edge/db"), 1),)
    small.update(web)
    assert rows(small).keys() == {"10.0.1.0/24", "10.0.2.0/24", "0.0.0.0/0", "9.0.0.0/8"}


def test_named_sources_get_a_table_that_answers_for_every_source() -> None:
    hop = "next_hops: [{ip: 10.0.1.9}]"
    small = edge(
        f"a: {{destination: 0.0.0.0/0, {hop}}},"
        f"b: {{destination: 8.0.0.0/8, source: 10.0.0.0/8, action: blackhole}},"
        f"c: {{destination: 8.8.0.0/16, source: 10.0.2.0/24, action: reject}}"
    )
    found = rows(small)
    eight = found["8.8.0.0/16"]
    assert (eight.hops, eight.id) == (0, 0)
    sources = prefixes(small.table("source_routes"), eight.sources)
    assert {prefix: row.action for prefix, row in sources.items()} == {
        "10.0.2.0/24": RouteAction.REJECT,
        "10.0.0.0/8": RouteAction.BLACKHOLE,
        "0.0.0.0/0": RouteAction.FORWARD,
    }
    assert prefixes(small.table("source_routes"), found["8.0.0.0/8"].sources).keys() == {
        "10.0.0.0/8",
        "0.0.0.0/0",
    }


def test_one_more_route_is_one_more_row() -> None:
    small = edge("d: {destination: 0.0.0.0/0, next_hops: [{ip: 10.0.1.9}]}")
    route = small.view.all(ModelRoute)[0]
    runs = small.compiler.runs
    other = msgspec.structs.replace(route, id="00000000-0000-4000-8000-000000000001", destination="9.0.0.0/8")
    difference = small.update(other)
    assert {table: len(entries) for table, entries in difference.puts.items()} == {"routes": 1}
    assert small.compiler.runs - runs == 2
    assert difference.zones == {small.table("routers")[small.router("edge")].zone}


def test_numbers_outlive_a_restart() -> None:
    small = edge("d: {destination: 0.0.0.0/0, next_hops: [{ip: 10.0.1.9}]}")
    small.remove(small.view.all(ModelRoute)[0].id)
    again = Compiler(small.id(Host, "h1"), small.compiler.assignment())
    assert again.compile(small.view).tables["routes"] == small.table("routes")
