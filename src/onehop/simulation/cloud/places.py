"""Where things are: ports on hosts, hosts on the underlay, keys on the wire."""

from __future__ import annotations

from typing import TypeVar

from onehop.model import Binding, Network, Port, Router
from onehop.model import Host as HostObject
from onehop.model.formats import Ip, parse_ip
from onehop.model.view import View

KeyedT = TypeVar("KeyedT", Port, Network)


def host_of(view: View, port: str) -> str | None:
    """The host of a port's active binding."""
    binding = view.active_binding(port)
    return binding.host if binding is not None else None


def address_of(view: View, host: str) -> Ip | None:
    """Where the others reach a host."""
    found = view.get(HostObject, host)
    return parse_ip(found.addresses[0].ip) if found is not None and found.addresses else None


def by_address(view: View, address: Ip) -> HostObject | None:
    """The host that an address of the underlay belongs to."""
    for host in view.all(HostObject):
        if any(parse_ip(a.ip) == address for a in host.addresses):
            return host
    return None


def by_key(view: View, type: type[KeyedT], key: int) -> KeyedT | None:
    return next((obj for obj in view.all(type) if obj.key == key), None) if key else None


def is_device(view: View, id: str) -> bool:
    return isinstance(view.find(id), Network | Router)


def port_of(view: View, binding: str) -> str | None:
    """The port that a binding, by its id, puts somewhere."""
    found = view.get(Binding, binding)
    return found.port if found is not None else None
