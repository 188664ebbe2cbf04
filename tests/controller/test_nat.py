"""Translation in the write path: who has an outside address, and what stands for what."""

from __future__ import annotations

import asyncio

import pytest

from onehop.controller.engine import Operation
from onehop.controller.refusals import Conflict, Refusal, Unprocessable
from onehop.model import FloatingIp, NatRule
from onehop.model.claims import ip_claim
from tests.controller.desk import ADMIN, Desk, assert_in_order, create, delete, patch, port, subnet

pytestmark = pytest.mark.anyio

STREET = "203.0.113.0/24"


async def street(desk: Desk) -> None:
    """Network `street` of the other project, external to all; router `edge` joins `web` to it."""
    await desk.do(
        create("network", name="street", grants=[{"allow": "external"}]),
        subnet("street", "v4", STREET),
        actor=desk.them,
    )
    await desk.web()
    await desk.router("edge", "web")
    await desk.do(*outside("edge", "203.0.113.10"))


def outside(router: str, ip: str, joined: bool = True) -> list[Operation]:
    address = {"subnet": "theirs:street/v4", "ip": ip}
    return [
        create("port", router=router, name="out", addresses=[address]),
        create("port", network="theirs:street", name=router, kind="router"),
        *([outer_link(router)] if joined else []),
    ]


def outer_link(router: str) -> Operation:
    return create("link", name=f"{router}-out", a=f"{router}/out", b=f"theirs:street/{router}")


def pooled(name: str, first: str, last: str, router: str = "edge") -> Operation:
    pools = [{"first": first, "last": last}]
    return create("nat-rule", name=name, port=f"{router}/out", action="snat", pools=pools)


def forward(name: str, external: str, ports: str = "80") -> Operation:
    return create(
        *("nat-rule",),
        name=name,
        port="edge/out",
        action="dnat",
        external=external,
        internal="10.0.1.5",
        protocol="tcp",
        ports=ports,
    )


def holder(desk: Desk, ip: str) -> str | None:
    network = desk.cache.view.named("network", desk.theirs, "street") or ""
    return desk.cache.holders.owner(ip_claim(network, ip))


async def test_an_address_of_a_pool_is_nobody_elses(desk: Desk) -> None:
    await street(desk)
    await desk.do(pooled("shared", "203.0.113.20", "203.0.113.22"))
    with pytest.raises(Conflict) as refused:
        await desk.make("floating-ip", subnet="theirs:street/v4", ip="203.0.113.21")
    assert refused.value.problems[0].field == "ip"
    assert "taken by port 'out'" in refused.value.message
    await assert_in_order(desk.store)


async def test_a_rule_takes_no_address_that_somebody_has(desk: Desk) -> None:
    await street(desk)
    await desk.make("floating-ip", name="mine", subnet="theirs:street/v4", ip="203.0.113.21")
    with pytest.raises(Conflict) as refused:
        await desk.do(pooled("shared", "203.0.113.20", "203.0.113.22"))
    assert refused.value.problems[0].field == "pools"
    assert "address 203.0.113.21 is taken by floating-ip 'mine'" in refused.value.message
    await assert_in_order(desk.store)


async def test_rules_of_a_port_share_an_address_until_the_last_of_them_goes(desk: Desk) -> None:
    await street(desk)
    await desk.do(pooled("shared", "203.0.113.20", "203.0.113.20"), forward("web", "203.0.113.20"))
    for name in ("shared", "web"):
        assert holder(desk, "203.0.113.20") == desk.cache.view.all(NatRule)[0].port
        await assert_in_order(desk.store)
        await desk.do(delete("nat-rule", f"out/{name}"))
    assert holder(desk, "203.0.113.20") is None
    await assert_in_order(desk.store)


async def test_a_pool_that_shrinks_gives_addresses_back_which_rest(desk: Desk) -> None:
    await street(desk)
    await desk.do(pooled("shared", "203.0.113.20", "203.0.113.30"))
    await desk.do(patch("nat-rule", "out/shared", pools=[{"first": "203.0.113.25", "last": "203.0.113.30"}]))
    assert holder(desk, "203.0.113.20") is None
    assert holder(desk, "203.0.113.25") is not None
    made = {
        (await desk.make("floating-ip", subnet="theirs:street/v4")).ip
        for _ in range(254 - 1 - 1 - 6 - 5)  # without the gateway's, the port's, the rule's, those that rest
    }
    assert made.isdisjoint({f"203.0.113.{n}" for n in range(20, 31)})
    await assert_in_order(desk.store)


async def test_the_addresses_of_rules_are_claimed_with_the_link(desk: Desk) -> None:
    await street(desk)
    await desk.do(create("router", name="late"), *outside("late", "203.0.113.11", joined=False))
    await desk.do(pooled("shared", "203.0.113.40", "203.0.113.40", "late"))
    assert holder(desk, "203.0.113.40") is None
    await desk.do(outer_link("late"))
    assert holder(desk, "203.0.113.40") is not None
    await assert_in_order(desk.store)
    await desk.do(delete("link", "late-out"))
    assert holder(desk, "203.0.113.40") is None
    await assert_in_order(desk.store)


async def test_a_link_is_refused_where_somebody_has_a_rules_address(desk: Desk) -> None:
    await street(desk)
    await desk.do(create("router", name="late"), *outside("late", "203.0.113.11", joined=False))
    await desk.do(pooled("shared", "203.0.113.40", "203.0.113.40", "late"))
    await desk.make("floating-ip", subnet="theirs:street/v4", ip="203.0.113.40")
    with pytest.raises(Conflict, match=r"203\.0\.113\.40 is taken by floating-ip"):
        await desk.do(outer_link("late"))
    await assert_in_order(desk.store)


async def test_a_floating_ip_gets_a_free_address_and_the_ports_first_one(desk: Desk) -> None:
    await street(desk)
    await desk.do(port("web", "vm"))
    made = await desk.make("floating-ip", subnet="theirs:street/v4", port="web/vm")
    vm = desk.cache.view.find(made.port)
    assert made.ip.startswith("203.0.113.")
    assert made.port_ip == vm.addresses[0].ip  # type: ignore[union-attr]
    await assert_in_order(desk.store)


async def test_a_floating_ip_moves_from_port_to_port(desk: Desk) -> None:
    await street(desk)
    await desk.do(port("web", "one"), port("web", "two"))
    made = await desk.make("floating-ip", name="f", subnet="theirs:street/v4", port="web/one")
    done = await desk.do(patch("floating-ip", "f", port="web/two"))
    moved = done.results[0].object
    assert isinstance(moved, FloatingIp)
    two = desk.cache.view.find(moved.port or "")
    assert moved.ip == made.ip
    assert moved.port_ip == two.addresses[0].ip  # type: ignore[union-attr]
    done = await desk.do(patch("floating-ip", "f", port=None))
    released = done.results[0].object
    assert isinstance(released, FloatingIp)
    assert (released.port, released.port_ip, released.ip) == (None, None, made.ip)
    await assert_in_order(desk.store)


async def test_an_address_has_one_floating_ip(desk: Desk) -> None:
    await street(desk)
    await desk.do(port("web", "vm", addresses=[{"ip": "10.0.1.5"}]))
    await desk.make("floating-ip", name="first", subnet="theirs:street/v4", port="web/vm")
    with pytest.raises(
        Conflict, match=r"floating IP of 10\.0\.1\.5 is taken by floating-ip 'first'"
    ) as refused:
        await desk.make("floating-ip", subnet="theirs:street/v4", port="web/vm")
    assert refused.value.problems[0].field == "port"
    await assert_in_order(desk.store)


async def test_what_translation_uses_is_not_deleted(desk: Desk) -> None:
    await street(desk)
    await desk.do(port("web", "vm"), pooled("shared", "203.0.113.20", "203.0.113.22"))
    await desk.make("floating-ip", name="f", subnet="theirs:street/v4", port="web/vm")
    for actor, kind, ref, user in (
        (desk.me, "port", "web/vm", "1 floating-ip: f"),
        (desk.me, "port", "edge/out", "1 nat-rule: shared"),
        (desk.them, "subnet", "street/v4", "floating-ip"),
    ):
        with pytest.raises(Conflict) as refused:
            await desk.do(delete(kind, ref), actor=actor)
        assert user in refused.value.message
    with pytest.raises(Unprocessable, match="floating IP f stands for"):
        await desk.do(patch("port", "web/vm", addresses=[]))
    await assert_in_order(desk.store)


async def test_two_controllers_give_an_address_one_floating_ip(desk: Desk, other: Desk) -> None:
    await street(desk)
    for n in range(8):
        done = await desk.do(port("web", f"vm{n}"))
        await other.cache.wait_for(done.revision)
        made = create("floating-ip", subnet="theirs:street/v4", port=f"web/vm{n}")
        ended = await asyncio.gather(desk.do(made), other.do(made), return_exceptions=True)
        assert sorted(isinstance(end, Refusal) for end in ended) == [False, True]
    await assert_in_order(desk.store)


async def test_two_controllers_do_not_lose_an_address_that_rules_share(desk: Desk, other: Desk) -> None:
    """One rule goes while another comes that uses its address: it stays claimed, or was claimed anew."""
    await street(desk)
    for n in range(12):
        done = await desk.do(forward(f"old{n}", "203.0.113.20"))
        await other.cache.wait_for(done.revision)
        await asyncio.gather(
            desk.do(delete("nat-rule", f"out/old{n}")), other.do(forward(f"new{n}", "203.0.113.20", "443"))
        )
        view = await assert_in_order(desk.store)
        assert len(view.all(NatRule)) == 1
        await other.do(delete("nat-rule", f"out/new{n}"))
        await desk.cache.wait_for(other.cache.revision)


async def test_two_controllers_do_not_take_a_machines_address_from_its_floating_ip(
    desk: Desk, other: Desk
) -> None:
    await street(desk)
    for n in range(8):
        done = await desk.do(port("web", f"vm{n}"))
        await other.cache.wait_for(done.revision)
        ended = await asyncio.gather(
            desk.do(patch("port", f"web/vm{n}", addresses=[])),
            other.do(create("floating-ip", subnet="theirs:street/v4", port=f"web/vm{n}")),
            return_exceptions=True,
        )
        assert sorted(isinstance(end, Refusal) for end in ended) == [False, True]
    await assert_in_order(desk.store)


async def test_only_administrators_of_the_cloud_bind_a_routers_port(desk: Desk) -> None:
    await desk.do(create("router", name="up"))
    address = {"ip": "192.0.2.2", "prefix": 30}
    await desk.do(create("port", router="up", name="uplink", addresses=[address]))
    underlay = create("underlay", name="u")
    await desk.do(
        underlay, create("host", name="gw", addresses=[{"underlay": "u", "ip": "192.0.2.99"}]), actor=ADMIN
    )
    bound = create("binding", port="mine:up/uplink", host="gw", interface="eth1")
    with pytest.raises(Refusal, match="only administrators"):
        await desk.do(bound)
    await desk.do(bound, actor=ADMIN)
    await desk.do(
        create(
            "route",
            router="up",
            destination="0.0.0.0/0",
            next_hops=[{"ip": "192.0.2.1", "port": "up/uplink"}],
        )
    )
    await assert_in_order(desk.store)
