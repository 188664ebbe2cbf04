"""Addresses and prefixes as the tables hold them: 16 bytes, IPv4 mapped into IPv6."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

from onehop.datapath.structs import PrefixKey
from onehop.datapath.tables import OF_IPV6
from onehop.model import Port, Subnet
from onehop.model.assign import eui64
from onehop.model.formats import Ip, Prefix, parse_cidr, parse_ip
from onehop.model.relations.addressing import transit
from onehop.model.view import View

ANYWHERE = bytes(16)
_MAPPED = bytes(10) + b"\xff\xff"
_LINK_LOCAL = IPv6Network("fe80::/64")


def packed(ip: Ip) -> bytes:
    return _MAPPED + ip.packed if ip.version == 4 else ip.packed


def bits(prefix: Prefix) -> int:
    """The prefix length of the mapped address."""
    return prefix.prefixlen + (96 if prefix.version == 4 else 0)


def mask(prefix: Prefix) -> bytes:
    return ((1 << 128) - (1 << 128 - bits(prefix))).to_bytes(16, "big")


def prefix_key(of: int, prefix: Prefix) -> PrefixKey:
    """The key of a prefix within something."""
    whose = of | OF_IPV6 if prefix.version == 6 else of
    return PrefixKey(prefix=32 + bits(prefix), of=whose, address=packed(prefix.network_address))


def addresses_of(port: Port) -> list[Ip]:
    return [parse_ip(address.ip) for address in port.addresses if address.ip is not None]


def link_local(mac: str) -> bytes:
    """The address that an interface with this MAC gives itself."""
    return eui64(_LINK_LOCAL, mac).packed


def prefixes_of(view: View, port: Port) -> Iterator[Prefix]:
    """What a router's port is connected to: for each of its addresses, the prefix of the subnet or link."""
    for address in port.addresses:
        if address.ip is None:
            continue
        subnet = view.get(Subnet, address.subnet)
        prefix = parse_cidr(subnet.cidr) if subnet is not None else transit(address)
        if prefix is not None:
            yield prefix


def whole(version: int) -> Prefix:
    """The prefix of all addresses of a family."""
    return IPv4Network("0.0.0.0/0") if version == 4 else IPv6Network("::/0")
