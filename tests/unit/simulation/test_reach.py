"""What can pass between ports, and what a change does to it."""

from __future__ import annotations

from onehop.model import Acl, AclRule, FloatingIp, Match
from onehop.model.vocabulary import Drop
from onehop.simulation.difference import difference
from onehop.simulation.reach import reach
from tests.support.clouds import Clouds
from tests.support.virtual import Virtual
from tests.unit.simulation.changes import add, change, remove


def passages(shop: Virtual, source: str, target: str) -> list[str]:
    found = reach(shop.view, shop.port(source).id, shop.port(target).id)
    return [str(p) for p in found.passages if p.family == "ipv4"]


def test_what_the_rules_allow_is_what_can_pass(shop: Virtual) -> None:
    assert passages(shop, "web-1", "db-1") == ["ipv4 tcp 5432", "ipv4 udp 53"]
    assert passages(shop, "bare", "db-1") == ["ipv4 udp 53"]
    assert passages(shop, "bare", "web-1") == ["ipv4 tcp 80", "ipv4 icmp type 8"]
    assert passages(shop, "web-1", "bare") == []


def test_both_families_are_tried(shop: Virtual) -> None:
    found = reach(shop.view, shop.port("web-1").id, shop.port("db-1").id)
    assert {p.family for p in found.passages} == {"ipv4", "ipv6"}


def test_ports_that_nothing_tells_apart_are_one_range(shop: Virtual) -> None:
    assert passages(shop, "bare", "open") == [
        "ipv4 tcp all ports",
        "ipv4 udp all ports",
        "ipv4 sctp all ports",
        "ipv4 any other protocol",
        "ipv4 icmp type 8",
    ]


def test_a_list_cuts_ranges_where_it_says(shop: Virtual) -> None:
    rule = AclRule(id="no", action="drop", match=Match(protocol="tcp", dst_ports="1000-1999"))
    acl = Acl(id="ac100000-0000-0000-0000-000000000001", name="guard", rules=(rule,))
    add(shop, acl)
    change(shop, shop.port("open"), acls_out=(acl.id,))
    assert passages(shop, "bare", "open")[:2] == ["ipv4 tcp 0-999", "ipv4 tcp 2000-65535"]


def test_what_cannot_come_back_does_not_pass(shop: Virtual) -> None:
    rule = AclRule(id="no", action="drop", match=Match(src_ports="53"))
    acl = Acl(id="ac100000-0000-0000-0000-000000000001", name="guard", rules=(rule,))
    add(shop, acl)
    change(shop, shop.find("router", "edge"), acls_in=(acl.id,))
    assert passages(shop, "bare", "db-1") == []


def test_it_says_what_is_in_the_way(shop: Virtual) -> None:
    found = reach(shop.view, shop.port("web-1").id, shop.port("bare").id)
    assert found.refusals == {(Drop.SECURITY_GROUP, shop.port("bare").id)}


# --- differences ------------------------------------------------------------------------------------------


def told(shop: Virtual, before: Virtual, *changed: str) -> tuple[set[str], set[str]]:
    """What is gained and lost, as (sources > targets: passage), for IPv4."""
    found = difference(before.view, shop.view, changed)
    assert found.complete

    def names(ids: tuple[str, ...]) -> str:
        objects = [shop.view.find(id) or before.view.find(id) for id in ids]
        return ",".join(sorted(o.name for o in objects if o is not None))

    def lines(changes: object) -> set[str]:
        return {
            f"{names(c.sources)} > {names(c.targets)}: {c.passage}"
            for c in changes  # type: ignore[attr-defined]
            if c.passage.family == "ipv4"
        }

    return lines(found.gained), lines(found.lost)


def copy(shop: Virtual) -> Virtual:
    return Virtual(shop.view)


def test_a_wider_rule_is_gained_where_it_counts(shop: Virtual) -> None:
    before, rule = copy(shop), shop.find("security-group-rule", "sql")
    change(shop, rule, ports="5430-5432")
    assert told(shop, before, rule.id) == ({"web-1,web-2 > db-1: ipv4 tcp 5430-5431"}, set())


def test_a_rule_taken_away_is_lost(shop: Virtual) -> None:
    before, rule = copy(shop), shop.find("security-group-rule", "sql")
    remove(shop, rule)
    assert told(shop, before, rule.id) == (set(), {"web-1,web-2 > db-1: ipv4 tcp 5432"})


def test_a_link_taken_away_loses_what_went_over_it(shop: Virtual) -> None:
    before, link = copy(shop), shop.find("link", "edge-db")
    remove(shop, link)
    gained, lost = told(shop, before, link.id)
    assert gained == set()
    assert "bare > db-1: ipv4 udp 53" in lost
    assert not any("db-1" not in line for line in lost)


def test_a_title_changes_nothing(shop: Virtual) -> None:
    before, network = copy(shop), shop.find("network", "web")
    change(shop, network, title="The front")
    assert told(shop, before, network.id) == (set(), set())


def test_a_machine_is_reached_by_its_floating_ip_from_behind_a_shared_address() -> None:
    document = {
        "routers": {"edge": {"ports": {"out": {"nat_rules": {"share": {"action": "masquerade"}}}}}},
        "floating_ips": {"f": {"subnet": "public/main", "ip": "10.4.0.79", "port": "db/c"}},
    }
    clouds = Clouds("floating", document)
    a, c = clouds.port("a").id, clouds.port("c").id
    found = {str(p) for p in reach(clouds.cloud.view, a, c).passages}
    assert found == {"ipv4 tcp all ports", "ipv4 udp all ports", "ipv4 icmp type 8"}
    assert not reach(clouds.cloud.view, c, a).passages, "nothing stands for it outside"


def test_a_released_floating_ip_is_a_loss() -> None:
    floating = {"subnet": "public/main", "ip": "10.4.0.79", "port": "db/c"}
    clouds = Clouds("floating", {"floating_ips": {"f": floating}})
    before = clouds.cloud.view
    clouds.change({"floating_ips": {"f": {"port": None}}})
    (changed,) = before.all(FloatingIp)
    found = difference(before, clouds.cloud.view, [changed.id])
    a, c = clouds.port("a").id, clouds.port("c").id
    assert any(a in change.sources and c in change.targets for change in found.lost)
