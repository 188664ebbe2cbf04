"""What a test asks of a topology when it writes packets: who has which address, and who is next."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

from onehop.model import Network, Port, Router, Subnet
from onehop.model.formats import Ip, parse_cidr, parse_ip
from onehop.model.translation import external_addresses
from onehop.model.view import View
from onehop.model.zones import is_uplink
from onehop.simulation.packet import BROADCAST, multicast_mac
from tests.support.families import Family
from tests.support.scenario import Outside

NOBODY = "02:ff:ff:ff:ff:ff"
NOTHING = Outside()


class World:
    """A view, asked by the names that people use."""

    def __init__(self, view: View, family: Family, outside: Outside = NOTHING) -> None:
        self.view = view
        self.family = family
        self.outside = outside

    def port(self, name: str) -> Port:
        """A port by its path (`web/a`, `edge/web`), or a machine's by its bare name.

        Of a machine outside: the first uplink.
        """
        if name in self.outside.machines:
            return self.uplinks()[0]
        device, slash, bare = name.rpartition("/")
        ports = [p for p in self.view.all(Port) if p.name == bare]
        if slash:
            ports = [p for p in ports if self._device_name(p) == device]
        else:
            ports = [p for p in ports if p.kind == "vm"]
        if len(ports) != 1:
            raise LookupError(f"{name!r} names {len(ports)} ports")
        return ports[0]

    def name(self, port: Port) -> str:
        return f"{self._device_name(port)}/{port.name}"

    def _device_name(self, port: Port) -> str:
        device = self.view.get(Network, port.network) or self.view.get(Router, port.router)
        return device.name if device else ""

    def ip(self, text: str) -> Ip:
        """An address, or the first address of a port in the world's family, or that of a machine outside."""
        if text in self.outside.machines:
            return ip_address(self.outside.machines[text])
        try:
            return ip_address(text)
        except ValueError:
            return self.address(self.port(text))

    # --- the outside ------------------------------------------------------------------------------------

    def uplinks(self) -> list[Port]:
        """The uplinks that are there, in the order of the scenario."""
        found = {self.name(port): port for port in self.view.all(Port) if is_uplink(self.view, port)}
        return [found[path] for path in self.outside.neighbours if path in found]

    def is_outside(self, port: Port) -> bool:
        return self.name(port) in self.outside.neighbours

    def neighbour(self, uplink: Port) -> Ip:
        """The address of the router beyond an uplink."""
        return ip_address(self.outside.neighbours[self.name(uplink)])

    def mac_at(self, port: Port) -> str:
        """The MAC of the machine at a port; at an uplink, that of the router beyond."""
        if not self.is_outside(port):
            return port.mac
        return f"02:0f:00:00:00:{list(self.outside.neighbours).index(self.name(port)) + 1:02x}"

    def addresses_at(self, port: Port) -> set[str]:
        """The addresses of the machine at a port; at an uplink, those of all who are outside."""
        if not self.is_outside(port):
            return {a.ip for a in port.addresses if a.ip is not None}
        return {self.outside.neighbours[self.name(port)], *self.outside.machines.values()}

    def router_mac(self, at: Port) -> str:
        """The MAC of the router that the machine at a port is on a network or wire with."""
        return at.mac if self.is_outside(at) else self.gateway(at).mac

    # --- networks ---------------------------------------------------------------------------------------

    def address(self, port: Port, version: int | None = None) -> Ip:
        version = version or {"v4": 4, "v6": 6}[self.family]
        for address in port.addresses:
            if address.ip is not None and parse_ip(address.ip).version == version:
                return parse_ip(address.ip)
        raise LookupError(f"port {port.name} has no IPv{version} address")

    def owner(self, network: str, ip: Ip) -> Port | None:
        """The port that has an address, on a network or facing it."""
        return next((p for p in self._around(network) if any(a.ip == str(ip) for a in p.addresses)), None)

    def _around(self, network: str) -> list[Port]:
        own = self.view.ports(network)
        return own + [peer for p in own if (peer := self.view.peer(p.id)) is not None]

    def gateway(self, at: Port) -> Port:
        """The router's port that a machine sends to for what is not on its network."""
        for subnet in self.view.subnets(at.network or ""):
            if subnet.gateway is not None and parse_ip(subnet.gateway).version == self._version:
                found = self.owner(at.network or "", parse_ip(subnet.gateway))
                if found is not None:
                    return found
        raise LookupError(f"{at.name} has no gateway")

    @property
    def _version(self) -> int:
        return 4 if self.family == "v4" else 6

    def is_gateway(self, ip: Ip) -> bool:
        if any(subnet.gateway == str(ip) for subnet in self.view.all(Subnet)):
            return True
        routers = (port for port in self.view.all(Port) if port.router is not None)
        return any(str(ip) in _called(self.view, port) for port in routers)

    def is_local(self, at: Port, ip: Ip) -> bool:
        return any(ip in parse_cidr(subnet.cidr) for subnet in self.view.subnets(at.network or ""))

    def mac_of(self, at: Port, ip: Ip) -> str:
        """The MAC of who has an address on the network of a port; nobody's, if nobody has it."""
        if self.is_outside(at):
            return self.mac_at(at) if str(ip) in self.addresses_at(at) else at.mac
        found = self.owner(at.network or "", ip) or self._answering(at.network or "", ip)
        return found.mac if found else NOBODY

    def _answering(self, network: str, ip: Ip) -> Port | None:
        """The router's port that answers for an external address on a network."""
        ends = [peer for p in self.view.ports(network) if (peer := self.view.peer(p.id)) is not None]
        return next((end for end in ends if ip in external_addresses(self.view, end.id)), None)

    def mac_towards(self, at: Port, ip: Ip | None) -> str:
        """The MAC that a machine at a port puts on packets for an address."""
        if ip is None:
            return NOBODY
        if ip.is_multicast:
            return multicast_mac(ip)
        if ip == IPv4Address("255.255.255.255"):
            return BROADCAST
        if self.is_outside(at):
            return at.mac
        if self.is_local(at, ip):
            return self.mac_of(at, ip)
        try:
            return self.gateway(at).mac
        except LookupError:
            return NOBODY


def _called(view: View, port: Port) -> set[str]:
    """The addresses that a router's port answers for."""
    own = {address.ip for address in port.addresses if address.ip is not None}
    return own | {str(ip) for ip in external_addresses(view, port.id)}
