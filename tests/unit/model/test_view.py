from __future__ import annotations

from uuid import UUID

import pytest

from onehop.model import Invalid, Link, Network, Object, Port, Router, Subnet
from onehop.model.fields import canonicalise
from onehop.model.view import Overlay, Topology, View


def uid(n: int) -> str:
    return str(UUID(int=n))


PROJECT = uid(1)
WEB = Network(id=uid(10), name="web", project=PROJECT, key=10)
EDGE = Router(id=uid(11), name="edge", project=PROJECT)
V4 = Subnet(id=uid(12), name="v4", project=PROJECT, network=WEB.id, cidr="10.0.1.0/24", gateway="10.0.1.1")
NETWORK_SIDE = Port(id=uid(20), name="edge", project=PROJECT, network=WEB.id, kind="router")
ROUTER_SIDE = Port(id=uid(21), name="web", project=PROJECT, router=EDGE.id, kind="router")
JOIN = Link(id=uid(30), name="edge-web", project=PROJECT, a=ROUTER_SIDE.id, b=NETWORK_SIDE.id)
ALL: list[Object] = [WEB, EDGE, V4, NETWORK_SIDE, ROUTER_SIDE, JOIN]


def overlay() -> View:
    view = Overlay(Topology(ALL[:3]))
    for obj in ALL[3:]:
        view.put(obj)
    return view


@pytest.mark.parametrize(
    "view", [Topology(ALL), Topology(reversed(ALL)), overlay()], ids=["built", "reversed", "overlay"]
)
def test_a_view_knows_what_belongs_together(view: View) -> None:
    assert view.subnets(WEB.id) == [V4]
    assert view.ports(EDGE.id) == [ROUTER_SIDE]
    assert view.peer(ROUTER_SIDE.id) == NETWORK_SIDE
    assert view.peer(NETWORK_SIDE.id) == ROUTER_SIDE
    assert view.by_name(Port, WEB.id, "edge") == NETWORK_SIDE
    assert view.by_name(Network, PROJECT, "web") == WEB
    assert list(view.users(EDGE.id)) == [("port", ROUTER_SIDE.id)]


def test_removing_an_object_leaves_no_trace_in_the_indexes() -> None:
    view = Topology(ALL)
    view.remove(JOIN.id)
    assert view.peer(ROUTER_SIDE.id) is None
    assert list(view.users(ROUTER_SIDE.id)) == []


def test_an_overlay_leaves_what_is_beneath_alone() -> None:
    base = Topology(ALL)
    over = Overlay(base)
    over.remove(JOIN.id)
    over.put(Network(id=WEB.id, name="front", project=PROJECT))
    assert over.peer(ROUTER_SIDE.id) is None and base.peer(ROUTER_SIDE.id) == NETWORK_SIDE
    assert over.by_name(Network, PROJECT, "web") is None and base.by_name(Network, PROJECT, "web") == WEB
    assert over.by_name(Network, PROJECT, "front") is not None


def test_a_canonical_object_has_one_spelling() -> None:
    subnet = canonicalise(
        Subnet(id=uid(1), name="v6", network=WEB.id, cidr="FD00:0:0:1::/64", gateway="fd00:0:0:1:0::1")
    )
    assert (subnet.cidr, subnet.gateway) == ("fd00:0:0:1::/64", "fd00:0:0:1::1")


def test_every_bad_text_is_named_with_its_field() -> None:
    with pytest.raises(Invalid) as refused:
        canonicalise(
            Subnet(id=uid(1), name="V4", network=WEB.id, cidr="10.0.1.5/24", dns_servers=("1.1.1.1", "x"))
        )
    assert [p.field for p in refused.value.problems] == ["name", "cidr", "dns_servers[1]"]
