"""The machines of a lab: a namespace with one interface, set up as the model says, bound to a host."""

from __future__ import annotations

import ipaddress
from typing import Any

from onehop.client import Client
from onehop.lab.fabric import Fabric
from onehop.lab.spec import LabError, Vm
from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace

Json = dict[str, Any]
NIC = "eth0"


def plug(fabric: Fabric, api: Client, vm: Vm) -> None:
    """Make a machine, or give it a new interface on another host, and bind its port to that."""
    port = api.get("ports", vm.port)
    machine, host = fabric.machine(vm.name), fabric.node(vm.host)
    if not machine.exists:
        fabric.make(machine)
    with Links(machine) as links:
        links.delete(NIC)
    interface = f"vm{port['key']:06x}"
    with Links(host) as links:
        links.veth(interface, machine, NIC, mtu=_mtu(api, port), peer_mac=port["mac"])
    _configure(machine, api, port)
    fabric.ledger.facts.setdefault("vms", {})[vm.name] = {
        "port": port["id"],
        "host": vm.host,
        "interface": interface,
        "addresses": [address["ip"] for address in port.get("addresses", ())],
    }
    fabric.ledger.save()
    _bind(api, port["id"], vm.host, interface)


def _mtu(api: Client, port: Json) -> int:
    if not port.get("network"):
        raise LabError(f"port {port['name']} belongs to a router; machines are plugged into networks")
    return int(api.get("networks", port["network"])["mtu"])


def _configure(machine: Namespace, api: Client, port: Json) -> None:
    """Addresses and default routes, as DHCP and router advertisements would tell them."""
    routed: set[int] = set()
    for address in port.get("addresses", ()):
        subnet = api.get("subnets", address["subnet"])
        prefix = ipaddress.ip_network(subnet["cidr"])
        with Links(machine) as links:
            links.address(NIC, f"{address['ip']}/{prefix.prefixlen}")
            gateway = subnet.get("gateway")
            if gateway and prefix.version not in routed:
                routed.add(prefix.version)
                links.route("0.0.0.0/0" if prefix.version == 4 else "::/0", via=gateway, interface=NIC)


def _bind(api: Client, port: str, host: str, interface: str) -> None:
    """The port's active binding, in one transaction with the end of the one before."""
    body = {"port": port, "host": host, "interface": interface}
    operations: list[Json] = [
        {"op": "delete", "kind": "binding", "ref": old["id"]} for old in api.list("bindings", port=port)
    ]
    api.bulk([*operations, {"op": "create", "kind": "binding", "body": body}])


def unplug(fabric: Fabric, host: str, interface: str) -> None:
    """Take away what a machine that has moved left behind on its old host."""
    with Links(fabric.node(host)) as links:
        links.delete(interface)


def remove(fabric: Fabric, api: Client, name: str) -> None:
    """Take a machine away, and its port's binding."""
    vm = fabric.ledger.facts["vms"].pop(name)
    for binding in api.list("bindings", port=vm["port"]):
        api.delete("bindings", binding["id"])
    unplug(fabric, vm["host"], vm["interface"])
    machine = fabric.machine(name)
    machine.delete()
    fabric.ledger.namespaces.remove(machine.name)
    fabric.ledger.save()


def has_reported(api: Client, host: str) -> bool:
    """Whether a controller has heard of a host."""
    return api.get("hosts", host).get("status") is not None


def is_active(api: Client, port: str) -> bool:
    """Whether the port's host says that it forwards for it."""
    status = api.get("ports", port).get("status") or {}
    return bool(status.get("state") == "active")
