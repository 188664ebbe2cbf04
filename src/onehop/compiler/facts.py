"""What units tell each other. A fact is said by any number of units; who asks gets each once.

A topic is written by steps that come before those that read it, in the order of `compile.PIPELINE`.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Topic(NamedTuple, Generic[T]):
    """What facts of type T are about."""

    name: str
    of: str
    more: str = ""


class Interface(NamedTuple):
    """An interface of this host."""

    ifindex: int
    redirect_peer: bool = False  # a veth whose peer is in another namespace
    address: str = ""  # that the host itself has there, beyond the link


class Move(NamedTuple):
    """A port's former host. `to`: where it went, if it has left this host."""

    former: str
    to: str | None


class Face(NamedTuple):
    """What others need to know of a network or router."""

    number: int  # a network's key, or a router's id
    mtu: int  # 0 for a router
    is_router: bool


class Way(NamedTuple):
    """What becomes of packets for a destination, from a source if one is named."""

    source: str | None
    route: str | None  # None: the subnet of an interface
    port: str  # then, that interface
    action: int
    hops: tuple[tuple[bytes, int, int], ...]  # address, key of the port, weight


class External(NamedTuple):
    """What an external address or prefix of a router is to one rule or floating IP."""

    rank: int  # of those that say what it stands for, the lowest goes first
    by: str
    flags: int  # NatDestinationFlag
    to: bytes
    bits: int


def interface(name: str) -> Topic[Interface]:
    """The interface of this host with a name."""
    return Topic("interface", name)


def own_address(ip: str) -> Topic[Interface]:
    """The interface of this host that has an address."""
    return Topic("own address", ip)


def moved(port: str) -> Topic[Move]:
    return Topic("moved", port)


BESIDE = "beside"
BOUNDARY = "boundary"


def beside(device: str) -> Topic[str]:
    """The devices at the other ends of a device's links."""
    return Topic(BESIDE, device)


def boundary(device: str) -> Topic[bool]:
    """Said if a device is a boundary between tenants and the world."""
    return Topic(BOUNDARY, device)


def face(device: str) -> Topic[Face]:
    return Topic("face", device)


def members(network: str) -> Topic[tuple[str, int]]:
    """Ports of this host that hear floods: id and key."""
    return Topic("members", network)


def remotes(network: str) -> Topic[str]:
    """Other hosts with such ports."""
    return Topic("remotes", network)


def usable(port: str) -> Topic[int]:
    """The key of a router's port, if packets can leave by it."""
    return Topic("usable", port)


def connected(router: str) -> Topic[tuple[str, str, int]]:
    """The prefixes that a router reaches without a route: port, prefix, the port's key."""
    return Topic("connected", router)


def ways(router: str, destination: str) -> Topic[Way]:
    return Topic("ways", router, destination)


def too_long(rules: str) -> Topic[int]:
    """How many rules a list would have that has too many."""
    return Topic("too long", rules)


def address_set(group: str) -> Topic[int]:
    """The id of the set of a group's addresses, if any rule asks for it."""
    return Topic("address set", group)


def exits(zone: str, network: str) -> Topic[str]:
    """The routers' ports by which a zone, by its name, leads to a network."""
    return Topic("exits", zone, network)


def externals(router: str, prefix: str) -> Topic[External]:
    return Topic("externals", router, prefix)


def external_prefixes(router: str) -> Topic[tuple[str, External]]:
    """Those of more than one address: single ones within them inherit what they stand for."""
    return Topic("external prefixes", router)


def translates(object: str) -> Topic[bool]:
    """Said of a router that has external addresses, and of a port that changes what leaves by it."""
    return Topic("translates", object)


def blocks(port: str, rule: str) -> Topic[tuple[bytes, int]]:
    """What a port has of the addresses that a rule shares: address, first port."""
    return Topic("blocks", port, rule)
