"""From the numbers of one host to the names of the model, and back."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from onehop.model import Network, Port
from onehop.model.formats import Ip
from onehop.model.view import View

_MAPPED = bytes(10) + b"\xff\xff"


class Names:
    """Ports and networks by their keys, those that are gone included: keys are not given out again."""

    def __init__(self) -> None:
        self._ports: dict[int, str] = {}
        self._networks: dict[int, str] = {}

    def add(self, view: View) -> None:
        self._ports.update((port.key, port.id) for port in view.all(Port))
        self._networks.update((network.key, network.id) for network in view.all(Network))

    def port(self, key: int) -> str:
        return self._ports.get(key, f"port {key}")

    def network(self, key: int) -> str:
        return self._networks.get(key, f"network {key}")

    def is_network(self, key: int) -> bool:
        return key in self._networks


def ip_of(packed: bytes) -> Ip:
    return IPv4Address(packed[12:]) if packed[:12] == _MAPPED else IPv6Address(packed)


def packed(ip: Ip) -> bytes:
    return _MAPPED + ip.packed if ip.version == 4 else ip.packed


def mac_of(raw: bytes) -> str:
    return raw.hex(":")
