"""Ways to the outside: what came of a router with `--external`, and `onehop uplink add`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onehop.cli import output, session
from onehop.cli.spec import Call, Usage
from onehop.client.api import Client

Json = dict[str, Any]


def tell(made: list[Json], client: Client) -> None:
    """Say what was made besides the router, in sentences."""
    ports = {obj["id"]: obj for obj in made if "mac" in obj}
    subnets = _by_network(made)
    print()
    for link in (obj for obj in made if "a" in obj and "b" in obj):
        inside, outside = ports[link["a"]], ports[link["b"]]
        at = _addresses(inside)
        words = f"attached to network {inside['name']}" + (f", at {at}" if at else "")
        given = subnets.get(outside["network"], [])
        if given:
            words += f"; it had no subnets, and was given {' and '.join(given)}"
        print(output.printable(words))
    for machine in (port for port in ports.values() if port["kind"] == "vm"):
        print(output.printable(f"port {machine['name']} was given {_addresses(machine)}"))
    for route in (obj for obj in made if "destination" in obj):
        print(output.printable(f"sends {route['destination']} to {_hops(route)}"))
    for rule in (obj for obj in made if "action" in obj and "destination" not in obj):
        print(output.printable(f"{rule['action']}s at port {ports[rule['port']]['name']}"))


def _by_network(made: Iterable[Json]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for obj in made:
        if "cidr" in obj:
            found.setdefault(obj["network"], []).append(obj["cidr"])
    return found


def _addresses(port: Json) -> str:
    return ", ".join(address["ip"] for address in port.get("addresses", ()))


def _hops(route: Json) -> str:
    return ", ".join(hop["ip"] for hop in route.get("next_hops", ()) if hop.get("ip"))


def uplink(call: Call) -> int:
    if call.argument("verb") != "add":
        raise Usage(
            "an uplink is a router's port, to be seen and deleted as one; `add` makes it with all else"
        )
    asked = {
        "host": call.option("host"),
        "interface": call.option("interface"),
        "addresses": call.option("address"),
        "next_hops": call.option("next_hop") or [],
    }
    asked |= {name: call.option(name) for name in ("router",) if call.option(name)}
    vlan = session.number(call, "vlan", least=1)
    asked |= {"vlan": vlan} if vlan is not None else {}
    with session.connect(call) as client:
        made = client.add_uplink(call.option("network"), asked, wait=session.wait(call))
    if call.option("output") in ("json", "yaml"):
        output.dump(made, str(call.option("output")))
        return 0
    for obj in made["results"]:
        if "acls_forward" in obj:
            print(output.printable(f"made provider router {obj['name']}"))
        elif "host" in obj:
            words = f"bound its port to interface {obj['interface']} of host {asked['host']}"
            print(output.printable(words))
        elif "destination" in obj:
            print(output.printable(f"it sends {obj['destination']} to {_hops(obj)}"))
        elif "mac" in obj and obj.get("router"):
            print(output.printable(f"made its port {obj['name']}, with {_addresses(obj)}"))
    return 0
