"""The machines that carry the virtual networks, and the network between them. Seen by administrators only."""

from __future__ import annotations

from typing import Annotated

import msgspec

from onehop.model.fields import field
from onehop.model.formats import Format
from onehop.model.kinds import LabelKey, Object, Scope, Struct, kind

InterfaceName = Annotated[str, msgspec.Meta(max_length=15)]


@kind("underlay", scope=Scope.CLOUD)
class Underlay(Object, frozen=True, kw_only=True):
    """An IP network that hosts reach each other by."""

    mtu: Annotated[int, field("The largest IP packet it carries.", ge=1280, le=65535)] = 1500
    udp_port: Annotated[int, field("The UDP port of the tunnels.", ge=1, le=65535)] = 4789


class HostAddress(Struct, frozen=True, kw_only=True):
    """Where a host is reached by other hosts."""

    underlay: Annotated[str, field("The underlay.", ref="underlay")]
    ip: Annotated[str, field("The address.", format=Format.IP)]


@kind("host", scope=Scope.CLOUD)
class Host(Object, frozen=True, kw_only=True):
    """A machine that runs an agent."""

    addresses: Annotated[
        tuple[HostAddress, ...], msgspec.Meta(max_length=8), field("Its addresses on underlays.")
    ] = ()
    physical_networks: Annotated[
        dict[LabelKey, InterfaceName],
        msgspec.Meta(max_length=64),
        field("Which interface leads to which physical network."),
    ] = {}
    fenced: Annotated[bool, field("Cut off: all other hosts drop what it sends.")] = False
