"""Address translation: rules at a router's port, floating addresses, and the ports that machines share an
address by.

`docs/design/nat.md` says what they mean to a packet.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from onehop.model.fields import field
from onehop.model.formats import Format
from onehop.model.kinds import Family, Object, kind
from onehop.model.switching import Pool

BLOCK = 128  # ports of one block
FIRST_SHARED = 1024  # ports below are no block's


@kind("nat-rule")
class NatRule(Object, frozen=True, kw_only=True):
    """Translates addresses of packets that pass a router's port."""

    port: Annotated[str, field("The router's port, on the side of the outside.", ref="port", parent=True)]
    action: Annotated[
        Literal["masquerade", "snat", "dnat", "static"],
        field(
            "`masquerade`: what leaves gets the port's own address. `snat`: what leaves gets an address of "
            "`pools`. `dnat`: what comes for `external` goes to `internal`. `static`: `external` and "
            "`internal` stand for each other, one to one, in both directions.",
            immutable=True,
        ),
    ]
    family: Annotated[
        Family | None, field("masquerade, and dnat to the port's own address: only IPv4 or only IPv6.")
    ] = None
    source: Annotated[str | None, field("masquerade, snat: only packets from here.", format=Format.CIDR)] = (
        None
    )
    pools: Annotated[
        tuple[Pool, ...],
        msgspec.Meta(max_length=16),
        field("snat: the addresses to share, all of one family, 256 at most."),
    ] = ()
    external: Annotated[
        str | None,
        field(
            "static: a prefix or an address. dnat: an address; the port's own, if left out.",
            format=Format.CIDR,
        ),
    ] = None
    internal: Annotated[
        str | None,
        field("static: a prefix as long as `external`. dnat: an address.", format=Format.CIDR),
    ] = None
    protocol: Annotated[
        Literal["tcp", "udp"] | None, field("dnat: of these packets; needed with `ports`.")
    ] = None
    ports: Annotated[
        str | None,
        field("dnat: the ports outside: `80`, `8000-8099`, 1024 at most.", format=Format.PORTS),
    ] = None
    to_port: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=65535)] | None,
        field("dnat: the first port inside; the same as outside, if left out."),
    ] = None


@kind("floating-ip")
class FloatingIp(Object, frozen=True, kw_only=True):
    """An outside address that stands for a port, whichever that is at the time."""

    subnet: Annotated[str, field("A subnet of an external network.", ref="subnet", immutable=True)]
    ip: Annotated[
        str | None,
        field("The address; a free one, if left out.", format=Format.IP, immutable=True, assigned=True),
    ] = None
    port: Annotated[
        str | None, field("The machine's port that it stands for; nobody, if left out.", ref="port")
    ] = None
    port_ip: Annotated[
        str | None,
        field(
            "Which of the port's addresses; its first of the same family, if left out.",
            format=Format.IP,
            assigned=True,
        ),
    ] = None


@kind("snat-block")
class SnatBlock(Object, frozen=True, kw_only=True):
    """Ports of a shared address that one machine's port may send from. Made and freed by controllers."""

    port: Annotated[str, field("The machine's port.", ref="port", parent=True)]
    rule: Annotated[str, field("The rule whose address is shared.", ref="nat-rule", immutable=True)]
    ip: Annotated[str, field("The address.", format=Format.IP, immutable=True)]
    within: Annotated[
        str,
        field("The id of the network that the address is on, or of the router.", read_only=True),
    ] = ""
    first: Annotated[
        int, field("The first of 128 ports, a multiple of 128.", ge=1024, le=65408, immutable=True)
    ]
