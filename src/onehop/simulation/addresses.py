"""Which addresses can be on a packet, and which belong to whom."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_interface

from onehop.model import Port, Subnet
from onehop.model.formats import Prefix, parse_cidr, parse_ip, parse_mac
from onehop.model.view import View
from onehop.simulation.packet import Ip

UNSPECIFIED4, UNSPECIFIED6 = IPv4Address(0), IPv6Address(0)
LIMITED_BROADCAST = IPv4Address("255.255.255.255")
ALL_NODES = IPv6Address("ff02::1")
ALL_ROUTERS = IPv6Address("ff02::2")
ALL_DHCP = IPv6Address("ff02::1:2")
_RESERVED4 = parse_cidr("240.0.0.0/4")


def is_unicast(ip: Ip) -> bool:
    """Whether an address can be one machine's, beyond that machine itself."""
    if ip.is_multicast or ip.is_unspecified or ip.is_loopback:
        return False
    if isinstance(ip, IPv6Address):
        return ip.ipv4_mapped is None
    return ip not in _RESERVED4


@lru_cache(maxsize=65536)
def link_local(mac: str) -> IPv6Address:
    """The IPv6 address that a machine makes of its MAC (RFC 4291, appendix A)."""
    raw = parse_mac(mac)
    return IPv6Address(b"\xfe\x80" + bytes(6) + bytes((raw[0] ^ 2,)) + raw[1:3] + b"\xff\xfe" + raw[3:])


def addresses_of(port: Port) -> list[Ip]:
    """The addresses that the model gives to a port."""
    return [parse_ip(a.ip) for a in port.addresses if a.ip is not None]


def prefixes_of(view: View, port: Port) -> Iterator[tuple[Ip, Prefix]]:
    """The addresses of a router's port, each with the prefix of its subnet or link."""
    for address in port.addresses:
        if address.ip is None:
            continue
        subnet = view.get(Subnet, address.subnet)
        if subnet is not None:
            yield parse_ip(address.ip), parse_cidr(subnet.cidr)
        elif address.prefix is not None:
            interface = ip_interface(f"{address.ip}/{address.prefix}")
            yield interface.ip, interface.network


def is_subnet_broadcast(ip: Ip, prefix: Prefix) -> bool:
    """Whether an IPv4 address means all of a subnet, or the subnet itself."""
    if not isinstance(ip, IPv4Address) or prefix.prefixlen > 30:
        return False
    return ip in (prefix.network_address, prefix.broadcast_address)
