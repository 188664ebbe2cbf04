"""Ways to the outside over REST: a router with all it needs, uplinks, and documents that say the same."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from tests.support.controller import Api, Controller, Json, Refused, someone


@pytest.fixture
def cloud(admin: Api) -> Iterator[tuple[Api, str, str]]:
    """An external network of its own, `public-...` of project `ops-...`; the names of both."""
    tail = uuid.uuid4().hex[:8]
    ops, public = f"ops-{tail}", f"public-{tail}"
    admin.create("projects", name=ops)
    admin.create("networks", name=public, project=ops, grants=[{"allow": "external"}])
    network = f"{ops}:{public}"
    admin.create("subnets", name="v4", network=network, project=ops, cidr="203.0.113.0/24")
    admin.create("subnets", name="v6", network=network, project=ops, cidr="2001:db8::/64")
    yield admin, ops, public


@pytest.fixture
def tenant(controller: Controller, admin: Api) -> tuple[Api, str]:
    project = f"shop-{uuid.uuid4().hex[:8]}"
    admin.create("projects", name=project)
    return someone(controller, **{project: "member"}), project


def of(made: list[Json], key: str, **fields: object) -> list[Json]:
    return [obj for obj in made if key in obj and all(obj.get(k) == v for k, v in fields.items())]


def ways(made: list[Json]) -> dict[str, list[tuple[str, str]]]:
    return {r["destination"]: [(h["ip"], h["port"]) for h in r["next_hops"]] for r in of(made, "destination")}


def addresses(port: Json) -> list[str]:
    return [address["ip"] for address in port["addresses"]]


def test_a_network_and_a_router_with_an_external_network_are_all_that_a_tenant_makes(
    cloud: tuple[Api, str, str], tenant: tuple[Api, str]
) -> None:
    admin, _, public = cloud
    me, project = tenant
    web = me.create("networks", name="web")
    early = me.create("ports", name="early", network="web")
    assert addresses(early) == []
    router = me.create("routers", name="edge", external=public)
    made = router["made"]
    v4, v6 = sorted((s["cidr"] for s in of(made, "cidr")), key=lambda cidr: ":" in cidr)
    assert ip_network(v4).subnet_of(ip_network("10.0.0.0/8"))  # type: ignore[arg-type]
    assert ip_network(v6).subnet_of(ip_network("fd00::/8"))  # type: ignore[arg-type]
    assert (ip_network(v4).prefixlen, ip_network(v6).prefixlen) == (24, 64)
    (outer,) = of(made, "mac", name=public, router=router["id"])
    assert [ip_address(ip).version for ip in addresses(outer)] == [4, 6]
    assert ways(made) == {
        "0.0.0.0/0": [("203.0.113.1", outer["id"])],
        "::/0": [("2001:db8::1", outer["id"])],
    }
    (rule,) = me.list("nat-rules")
    assert (rule["port"], rule["action"], rule.get("family")) == (outer["id"], "masquerade", None)
    given = addresses(me.get("ports", early["id"]))
    assert [ip_address(ip) in ip_network(cidr) for ip, cidr in zip(given, (v4, v6), strict=True)] == [
        True,
        True,
    ]
    host = admin.create("hosts", name=f"h-{project}")["id"]
    admin.create("bindings", port=early["id"], host=host, interface="tap0")
    blocks = me.list("snat-blocks", port=early["id"])
    assert sorted(b["ip"] for b in blocks) == sorted(addresses(outer))
    assert web["id"] in {s["network"] for s in of(made, "cidr")}


def test_two_networks_get_ranges_that_do_not_overlap(
    cloud: tuple[Api, str, str], tenant: tuple[Api, str]
) -> None:
    me, project = tenant
    me.create("networks", name="a")
    me.create("networks", name="b")
    me.create("networks", name="c")
    me.create("subnets", name="own", network="c", cidr="10.0.1.0/24")
    me.create("routers", name="edge", external=cloud[2])
    ranges = [ip_network(s["cidr"]) for s in me.list("subnets", project=project)]
    assert len(ranges) == 5
    assert not any(a.overlaps(b) for a in ranges for b in ranges if a is not b and a.version == b.version)


def test_only_networks_that_no_router_has_are_attached_by_themselves(
    cloud: tuple[Api, str, str], tenant: tuple[Api, str]
) -> None:
    me, _ = tenant
    for name in ("web", "db"):
        me.create("networks", name=name)
    first = me.create("routers", name="one", external=cloud[2], attach=["web"])
    assert {o["name"] for o in of(first["made"], "mac", router=first["id"])} == {cloud[2], "web"}
    second = me.create("routers", name="two", external=cloud[2])
    assert {o["name"] for o in of(second["made"], "mac", router=second["id"])} == {cloud[2], "db"}


def test_a_router_is_made_with_networks_and_no_way_out(tenant: tuple[Api, str]) -> None:
    me, _ = tenant
    me.create("networks", name="web")
    me.create("subnets", name="v4", network="web", cidr="10.0.7.0/24")
    router = me.create("routers", name="core", attach=["web"])
    (inner,) = of(router["made"], "mac", router=router["id"])
    assert addresses(inner) == ["10.0.7.1"]
    assert len(router["made"]) == 3


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"external": "nowhere"}, "external"),
        ({"external": "web"}, "external"),
        ({"attach": ["web", "nowhere"]}, "attach[1]"),
        ({"external": 7}, "external"),
    ],
)
def test_a_router_that_leads_nowhere_is_refused(tenant: tuple[Api, str], body: Json, field: str) -> None:
    me, _ = tenant
    me.create("networks", name="web")
    with pytest.raises(Refused) as refused:
        me.create("routers", name="edge", **body)
    assert refused.value.fields == [field]
    assert me.list("routers") == []


def test_a_network_that_is_granted_as_external_to_others_is_not_found(
    admin: Api, tenant: tuple[Api, str], cloud: tuple[Api, str, str]
) -> None:
    _, ops, public = cloud
    admin.told("PATCH", f"/v1/networks/{ops}:{public}", {"grants": [{"allow": "external", "project": ops}]})
    with pytest.raises(Refused) as refused:
        tenant[0].create("routers", name="edge", external=public)
    assert refused.value.fields == ["external"]


def test_the_same_request_again_makes_no_second_router(
    cloud: tuple[Api, str, str], tenant: tuple[Api, str]
) -> None:
    me, _ = tenant
    me.create("networks", name="web")
    body = {"name": "edge", "external": cloud[2]}
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first, again = (me.told("POST", "/v1/routers", body, headers=headers) for _ in range(2))
    assert (again["id"], [o["id"] for o in again["made"]]) == (first["id"], [o["id"] for o in first["made"]])
    assert len(me.list("routers")) == 1


# --- uplinks ------------------------------------------------------------------------------------------


def add(admin: Api, cloud: tuple[Api, str, str], gateway: str, number: int, **more: object) -> Json:
    _, ops, public = cloud
    body = {
        "host": gateway,
        "interface": "eth1",
        "addresses": [f"192.0.2.{4 * number + 2}/30", f"2001:db8:f:{number}::2/64"],
        "next_hops": [f"192.0.2.{4 * number + 1}", f"2001:db8:f:{number}::1"],
        **more,
    }
    return admin.told("POST", f"/v1/networks/{ops}:{public}/uplinks", body)


@pytest.fixture
def gateways(admin: Api) -> list[str]:
    tail = uuid.uuid4().hex[:8]
    return [admin.create("hosts", name=f"gw{n}-{tail}")["name"] for n in range(2)]


def test_the_first_uplink_makes_the_provider_router(
    admin: Api, cloud: tuple[Api, str, str], gateways: list[str]
) -> None:
    made = add(admin, cloud, gateways[0], 0)["results"]
    (router,) = of(made, "acls_forward", name=f"provider-{cloud[2]}")
    (inner,) = of(made, "mac", name=cloud[2])
    assert sorted(addresses(inner)) == ["2001:db8::1", "203.0.113.1"]
    (uplink,) = of(made, "mac", name=f"{gateways[0]}-eth1")
    assert uplink["router"] == router["id"]
    on_link = [(address["ip"], address["prefix"]) for address in uplink["addresses"]]
    assert on_link == [("192.0.2.2", 30), ("2001:db8:f::2", 64)]
    (binding,) = of(made, "interface")
    assert (binding["port"], binding["interface"]) == (uplink["id"], "eth1")
    assert ways(made) == {
        "0.0.0.0/0": [("192.0.2.1", uplink["id"])],
        "::/0": [("2001:db8:f::1", uplink["id"])],
    }


def test_another_uplink_shares_the_load(admin: Api, cloud: tuple[Api, str, str], gateways: list[str]) -> None:
    first = add(admin, cloud, gateways[0], 0)["results"]
    second = add(admin, cloud, gateways[1], 1, vlan=100)["results"]
    assert not of(second, "acls_forward")
    (router,) = of(first, "acls_forward")
    (uplink,) = of(second, "mac")
    assert (uplink["router"], uplink["name"]) == (router["id"], f"{gateways[1]}-eth1-100")
    for route in of(second, "destination"):
        assert len(route["next_hops"]) == 2
    assert len(admin.list("routes", router=router["id"])) == 2


def test_an_uplink_and_a_tenant_meet_at_the_external_network(
    admin: Api, cloud: tuple[Api, str, str], tenant: tuple[Api, str], gateways: list[str]
) -> None:
    add(admin, cloud, gateways[0], 0)
    me, _ = tenant
    me.create("networks", name="web")
    router = me.create("routers", name="edge", external=cloud[2])
    (route, _) = of(router["made"], "destination")
    assert route["next_hops"][0]["ip"] == "203.0.113.1"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"addresses": ["192.0.2.2"]}, "addresses[0]"),
        ({"addresses": ["192.0.2.2/255.255.255.0"]}, "addresses[0]"),
        ({"next_hops": ["gateway"]}, "next_hops[0]"),
        ({"next_hops": ["198.51.100.1"]}, "next_hops[0].ip"),
        ({"host": "nowhere"}, "host"),
        ({"addresses": []}, "addresses"),
    ],
)
def test_an_uplink_that_cannot_be_is_refused_whole(
    admin: Api, cloud: tuple[Api, str, str], gateways: list[str], more: Json, field: str
) -> None:
    with pytest.raises(Refused) as refused:
        add(admin, cloud, gateways[0], 0, **more)
    assert refused.value.fields == [field]
    assert admin.list("routers", project=cloud[1]) == []


def test_only_administrators_of_the_cloud_add_uplinks(
    controller: Controller, cloud: tuple[Api, str, str], gateways: list[str]
) -> None:
    owner = someone(controller, **{cloud[1]: "admin"})
    with pytest.raises(Refused) as refused:
        add(owner, cloud, gateways[0], 0)
    assert refused.value.status == 403


# --- documents ----------------------------------------------------------------------------------------


def document(project: str, public: str) -> Json:
    return {
        "stack": "shop",
        "project": project,
        "networks": {
            "web": {
                "subnets": {"v4": {"cidr": "10.0.1.0/24"}, "v6": {"cidr": "fd00:1::/64"}},
                "ports": {"web-1": {}},
            }
        },
        "routers": {"edge": {"external": public, "attach": ["web"]}},
        "floating_ips": {"front": {"subnet": f"{public}/v4", "port": "web/web-1"}},
    }


def apply(api: Api, document: Json, **more: object) -> list[Json]:
    reply = api.call("POST", "/v1/apply", {"document": document, **more})
    assert reply.status_code == 200, reply.text
    events = [json.loads(line) for line in reply.text.splitlines() if line]
    assert not any("error" in event for event in events), events
    return events


def changes(events: list[Json]) -> list[Json]:
    return [action for event in events for action in event.get("actions", ())]


def test_a_document_gives_a_router_a_way_out_and_applying_it_again_changes_nothing(
    cloud: tuple[Api, str, str], tenant: tuple[Api, str]
) -> None:
    me, project = tenant
    _, ops, public = cloud
    text = document(project, f"{ops}:{public}")
    assert changes(apply(me, text))
    assert [r["action"] for r in me.list("nat-rules")] == ["masquerade"]
    assert len(me.list("routes")) == 2
    (front,) = me.list("floating-ips")
    assert front["port_ip"].startswith("10.0.1.")
    assert changes(apply(me, text, dry_run=True)) == []


def test_in_a_document_an_external_network_needs_no_project_if_there_is_but_one(
    cloud: tuple[Api, str, str], tenant: tuple[Api, str]
) -> None:
    me, project = tenant
    _, ops, public = cloud
    text = document(project, f"{ops}:{public}")
    text["routers"]["edge"]["external"] = public
    apply(me, text)
    assert len(me.list("nat-rules")) == 1


def test_what_is_exported_is_what_is_there_without_blocks(
    cloud: tuple[Api, str, str], tenant: tuple[Api, str]
) -> None:
    me, project = tenant
    admin, ops, public = cloud
    apply(me, document(project, f"{ops}:{public}"))
    host = admin.create("hosts", name=f"h-{project}")["id"]
    admin.create("bindings", port=me.list("ports", name="web-1")[0]["id"], host=host, interface="tap0")
    assert len(me.list("snat-blocks")) == 2
    exported = me.told("GET", "/v1/export", params={"stack": "shop"})
    assert "snat_blocks" not in str(exported)
    assert changes(apply(me, exported, dry_run=True)) == []
    whole = me.told("GET", "/v1/export", params={"project": project})
    assert "snat_blocks" not in str(whole)


def test_a_stack_with_bound_machines_is_applied_without_its_rules(
    cloud: tuple[Api, str, str], tenant: tuple[Api, str]
) -> None:
    """Blocks refer to the rule, and hold nothing back."""
    me, project = tenant
    admin, ops, public = cloud
    text = document(project, f"{ops}:{public}")
    apply(me, text)
    host = admin.create("hosts", name=f"h-{project}")["id"]
    admin.create("bindings", port=me.list("ports", name="web-1")[0]["id"], host=host, interface="tap0")
    del text["floating_ips"], text["routers"]["edge"]["external"]
    apply(me, text)
    assert me.list("nat-rules") == []


def test_blocks_cannot_stand_in_a_document(tenant: tuple[Api, str]) -> None:
    me, project = tenant
    block = {"port": "web/a", "rule": "edge/out/m", "ip": "203.0.113.9", "first": 1024}
    text = {"stack": "s", "project": project, "snat_blocks": {"b": block}}
    reply = me.call("POST", "/v1/apply", {"document": text})
    assert reply.status_code == 422
    assert "controllers make" in reply.json()["error"]["problems"][0]["message"]


def test_a_packet_to_the_outside_is_explained_before_its_machine_is_on_any_host(
    admin: Api, cloud: tuple[Api, str, str], tenant: tuple[Api, str], gateways: list[str]
) -> None:
    add(admin, cloud, gateways[0], 0)
    me, _ = tenant
    me.create("networks", name="web")
    me.create("subnets", name="v4", network="web", cidr="10.0.1.0/24")
    router = me.create("routers", name="edge", external=cloud[2])
    (outer,) = of(router["made"], "mac", name=cloud[2], router=router["id"])
    (ip,) = addresses(me.create("ports", name="p", network="web"))
    told = me.told("POST", "/v1/trace", {"port": "web/p", "packet": f"tcp {ip}:4000 > 198.51.100.1:443"})
    assert told.get("drop") is None, told
    assert addresses(outer)[0] in str(told)
    assert me.list("snat-blocks") == []


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_from_outside_is_explained_up_to_the_rule_that_it_lacks(
    admin: Api, cloud: tuple[Api, str, str], tenant: tuple[Api, str], gateways: list[str], version: int
) -> None:
    add(admin, cloud, gateways[0], 0)
    me, _ = tenant
    me.create("networks", name="web")
    me.create("subnets", name="v4", network="web", cidr="10.0.1.0/24")
    me.create("subnets", name="v6", network="web", cidr="fd00:1::/64")
    me.create("security-groups", name="open")
    allowed = {"direction": "ingress", "protocol": "tcp", "ports": "80"}
    me.create("security-group-rules", name="http", security_group="open", **allowed)
    me.create("ports", name="p", network="web", security_groups=["open"])
    me.create("routers", name="edge", external=cloud[2])
    subnet = f"{cloud[1]}:{cloud[2]}/v{version}"
    floating = me.create("floating-ips", name=f"f{version}", subnet=subnet, port="web/p")["ip"]
    (uplink,) = {
        b["port"] for b in admin.list("bindings", host=gateways[0]) if admin.get("ports", b["port"])["router"]
    }
    source, to = ("198.51.100.1", floating) if version == 4 else ("[2001:db8:f::1]", f"[{floating}]")

    def trace(packet: str) -> Json:
        return admin.told("POST", "/v1/trace", {"port": uplink, "packet": packet})

    passes = trace(f"tcp {source}:4000 > {to}:80")
    assert (passes["drop"], len(passes["outputs"])) == (None, 1), passes
    refused = trace(f"tcp {source}:4000 > {to}:22")
    assert (refused["drop"], refused["outputs"]) == ("security_group", [])
    with pytest.raises(Refused, match="does not say its source"):
        trace(f"tcp {to}:80")
