"""Filling in what a person left out: names, MACs, addresses, gateways, keys.

What to fill in is decided here, once, for the controller and for documents read without one. Which value
to take is the `Chooser`'s: the controller draws at random and lets claims decide, a document read offline
counts up.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv6Address, IPv6Network
from typing import Any, Protocol, TypeVar, cast

import msgspec

from onehop.model.errors import Invalid, Problem
from onehop.model.formats import parse_cidr, parse_ip, parse_mac
from onehop.model.kinds import Object, kind_of
from onehop.model.nat import FloatingIp
from onehop.model.switching import Network, Port, PortAddress, Subnet
from onehop.model.view import View

ObjectT = TypeVar("ObjectT", bound=Object)


class Exhausted(ValueError):
    """Nothing is left to choose from."""


class Chooser(Protocol):
    """Chooses values that nobody has yet. Each call gives another one."""

    def key(self) -> int: ...

    def mac(self, device: str) -> str:
        """A MAC that no port of this network or router has."""

    def ip(self, subnet: Subnet) -> str:
        """A free address of a subnet, from its pools. Raises Exhausted."""


def assign(
    obj: ObjectT, given: Collection[str], view: View, choose: Chooser, before: ObjectT | None = None
) -> ObjectT:
    """The object with everything left out filled in; what it had `before` is kept.

    `given` are the fields that the person wrote. Raises Invalid where nothing can be chosen.
    """
    if isinstance(obj, Subnet):
        obj = cast(ObjectT, _subnet(obj))
    elif isinstance(obj, Port):
        obj = cast(ObjectT, _port(obj, given, view, choose, cast("Port | None", before)))
    elif isinstance(obj, FloatingIp):
        obj = cast(ObjectT, _floating_ip(obj, given, view, choose, cast("FloatingIp | None", before)))
    changes: dict[str, Any] = {}
    if not obj.name:
        changes["name"] = before.name if before else f"{kind_of(obj).name}-{obj.id[:8]}"
    if isinstance(obj, Port | Network) and not obj.key:
        changes["key"] = cast("Port | Network", before).key if before else choose.key()
    return msgspec.structs.replace(obj, **changes) if changes else obj


def _subnet(subnet: Subnet) -> Subnet:
    if subnet.gateway is not None:
        return subnet
    return msgspec.structs.replace(subnet, gateway=default_gateway(subnet.cidr))


def default_gateway(cidr: str) -> str:
    """The first address of a prefix that a machine may have."""
    prefix = parse_cidr(cidr)
    return str(prefix.network_address if prefix.num_addresses <= 2 else prefix.network_address + 1)


def _port(port: Port, given: Collection[str], view: View, choose: Chooser, before: Port | None) -> Port:
    changes: dict[str, Any] = {}
    if port.router is not None and "kind" not in given:
        changes["kind"] = "router"
    kind = changes.get("kind", port.kind)
    mac = port.mac or (before.mac if before else "") or choose.mac(port.network or port.router or "")
    if mac != port.mac:
        changes["mac"] = mac
    if "addresses" in given:
        addresses = _addresses(port, mac, view, choose, before)
    elif before is not None:
        addresses = before.addresses
    elif port.network is not None and kind != "router":
        addresses = _one_of_each_family(port.network, mac, view, choose)
    else:
        addresses = port.addresses
    if addresses != port.addresses:
        changes["addresses"] = addresses
    return msgspec.structs.replace(port, **changes) if changes else port


def _one_of_each_family(network: str, mac: str, view: View, choose: Chooser) -> tuple[PortAddress, ...]:
    """An address in a subnet of each family: the first by name that has one free."""
    addresses: dict[int, PortAddress] = {}
    full: Exhausted | None = None
    for subnet in sorted(view.subnets(network), key=lambda s: s.name):
        version = parse_cidr(subnet.cidr).version
        if version in addresses:
            continue
        try:
            addresses[version] = PortAddress(subnet=subnet.id, ip=_choose_ip(subnet, mac, choose))
        except Exhausted as error:
            full = error
    if full is not None and not addresses:
        raise Invalid([Problem("addresses", str(full))])
    return tuple(addresses[version] for version in sorted(addresses))


def _addresses(
    port: Port, mac: str, view: View, choose: Chooser, before: Port | None
) -> tuple[PortAddress, ...]:
    """The addresses as given, with the missing half of each filled in."""
    kept = list(before.addresses) if before else []
    return tuple(_address(i, a, port, mac, view, choose, kept) for i, a in enumerate(port.addresses))


def _address(
    index: int,
    address: PortAddress,
    port: Port,
    mac: str,
    view: View,
    choose: Chooser,
    kept: list[PortAddress],
) -> PortAddress:
    if address.subnet is None and address.ip is not None and port.network is not None:
        holder = next(
            (s for s in view.subnets(port.network) if parse_ip(address.ip) in parse_cidr(s.cidr)), None
        )
        return msgspec.structs.replace(address, subnet=holder.id) if holder else address
    subnet = view.get(Subnet, address.subnet)
    if subnet is None or address.ip is not None:
        return address
    for had in kept:
        if had.subnet == subnet.id and not any(a.ip == had.ip for a in port.addresses):
            kept.remove(had)
            return had
    try:
        return msgspec.structs.replace(address, ip=_choose_ip(subnet, mac, choose))
    except Exhausted as error:
        raise Invalid([Problem(f"addresses[{index}].ip", str(error))]) from None


def _choose_ip(subnet: Subnet, mac: str, choose: Chooser) -> str:
    """With SLAAC the machine makes its own address from its MAC, so that is the one it gets."""
    prefix = parse_cidr(subnet.cidr)
    if isinstance(prefix, IPv6Network) and prefix.prefixlen == 64 and subnet.ipv6_mode == "slaac":
        return str(eui64(prefix, mac))
    return choose.ip(subnet)


def eui64(prefix: IPv6Network, mac: str) -> IPv6Address:
    """The address that a machine with this MAC gives itself on a /64 (RFC 4291, appendix A)."""
    m = parse_mac(mac)
    suffix = bytes([m[0] ^ 2, *m[1:3], 0xFF, 0xFE, *m[3:]])
    return prefix.network_address + int.from_bytes(suffix, "big")


def _floating_ip(
    floating: FloatingIp, given: Collection[str], view: View, choose: Chooser, before: FloatingIp | None
) -> FloatingIp:
    subnet, port = view.get(Subnet, floating.subnet), view.get(Port, floating.port)
    ip, port_ip = floating.ip, floating.port_ip
    if ip is None and subnet is not None:
        try:
            ip = choose.ip(subnet)
        except Exhausted as error:
            raise Invalid([Problem("ip", str(error))]) from None
    if "port_ip" not in given and (before is None or before.port != floating.port or port_ip is None):
        port_ip = _first_of_family(port, ip) if port is not None and ip is not None else None
    return msgspec.structs.replace(floating, ip=ip, port_ip=port_ip)


def _first_of_family(port: Port, ip: str) -> str | None:
    version = parse_ip(ip).version
    return next((a.ip for a in port.addresses if a.ip and parse_ip(a.ip).version == version), None)
