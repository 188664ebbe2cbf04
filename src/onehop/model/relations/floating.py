"""Rules of floating IPs: where their addresses are from, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterator

from onehop.model.errors import Problem
from onehop.model.formats import parse_cidr, parse_ip
from onehop.model.nat import FloatingIp
from onehop.model.relations.addressing import unusable
from onehop.model.switching import Network, Port, Subnet
from onehop.model.translation import floating_place
from onehop.model.view import View


def floating_ip(floating: FloatingIp, before: FloatingIp | None, view: View) -> list[Problem]:
    subnet = view.get(Subnet, floating.subnet)
    assert subnet is not None
    network = view.get(Network, subnet.network)
    problems: list[Problem] = []
    if before is None:
        problems += _address(floating, subnet, network, view)
    moved = before is None or (before.port, before.port_ip) != (floating.port, floating.port_ip)
    if moved and not problems:
        problems += _stands_for(floating, network, view)
    return problems


def _address(floating: FloatingIp, subnet: Subnet, network: Network | None, view: View) -> Iterator[Problem]:
    if network is None or not view.is_external(network):
        name = network.name if network is not None else subnet.network
        yield Problem("subnet", f"is of network {name}, which is not external: no grant says so")
    if floating.ip is None:
        yield Problem("ip", "is needed")
        return
    ip, prefix = parse_ip(floating.ip), parse_cidr(subnet.cidr)
    if ip not in prefix:
        yield Problem("ip", f"{ip} is not in subnet {subnet.name} ({subnet.cidr})")
    elif (why := unusable(ip, prefix)) is not None:
        yield Problem("ip", why)
    elif floating.ip == subnet.gateway:
        yield Problem("ip", f"{ip} is the gateway of the subnet")


def _stands_for(floating: FloatingIp, network: Network | None, view: View) -> Iterator[Problem]:
    if floating.port is None:
        if floating.port_ip is not None:
            yield Problem("port_ip", "goes with a `port`")
        return
    port = view.get(Port, floating.port)
    assert port is not None and floating.ip is not None
    version = parse_ip(floating.ip).version
    if port.kind != "vm":
        yield Problem("port", f"port {port.name} is of kind `{port.kind}`; it takes a machine's port")
        return
    if floating.port_ip is None:
        yield Problem("port", f"port {port.name} has no IPv{version} address that {floating.ip} could be for")
        return
    if parse_ip(floating.port_ip).version != version:
        yield Problem("port_ip", f"{floating.port_ip} is of the other family than {floating.ip}")
    elif floating.port_ip not in {address.ip for address in port.addresses}:
        yield Problem("port_ip", f"{floating.port_ip} is no address of port {port.name}")
    elif network is not None and floating_place(view, floating) is None:
        inside = view.get(Network, port.network)
        yield Problem(
            "port",
            f"no router joins network {inside.name if inside else ''} of port {port.name} to network "
            f"{network.name}; attach both to one",
        )


def floating_ip_sets(floating: FloatingIp, before: FloatingIp | None, view: View) -> set[str]:
    """What a port's addresses stand for has to do with the port's addresses."""
    if floating.port is None or (before is not None and before.port_ip == floating.port_ip):
        return set()
    return {f"port/{floating.port}"}


def kept_addresses(port: Port, before: Port | None, view: View) -> Iterator[Problem]:
    """A port keeps the addresses that floating IPs stand for."""
    if before is None or before.addresses == port.addresses:
        return
    now = {address.ip for address in port.addresses}
    for floating in view.referring(FloatingIp, port.id):
        if floating.port == port.id and floating.port_ip not in now:
            yield Problem(
                "addresses",
                f"floating IP {floating.name} stands for {floating.port_ip}: give it to another port first",
            )
