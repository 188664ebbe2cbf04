"""Reach in the obvious way, from scratch: what the incremental one is held against."""

from __future__ import annotations

from onehop.feed.needs import END, object_of
from onehop.model import (
    Acl,
    Binding,
    FloatingIp,
    Host,
    Link,
    NatRule,
    Network,
    Port,
    Route,
    Router,
    SecurityGroupRule,
    SnatBlock,
)
from onehop.model.view import View


def plain_reach(view: View, host: str, asks: set[str]) -> set[str]:
    """The ids of what a host follows."""
    walk = _Walk(view)
    walk.add(host)
    walk.host(host)
    for binding in view.all(Binding):
        if binding.host == host:
            walk.port(binding.port)
            walk.stand(_device(view, binding.port), gateway=_is_uplink(view, binding.port))
    for target in asks:
        found = view.find(object_of(target))
        if isinstance(found, Port) and target.startswith(END):
            walk.end(found.id)
        elif isinstance(found, Port):
            walk.port(target)
            walk.stand(_device(view, target), gateway=False)
        elif isinstance(found, Network | Router):
            walk.stand(target, gateway=False)
        elif isinstance(found, Host):
            walk.add(target)
            walk.host(target)
    return {id for id in walk.ids if view.find(id) is not None}


def _device(view: View, port: str) -> str | None:
    found = view.get(Port, port)
    return (found.network or found.router) if found else None


def _is_uplink(view: View, port: str) -> bool:
    found = view.get(Port, port)
    if found is None or found.router is None or found.kind != "router":
        return False
    linked = any(port in (link.a, link.b) for link in view.all(Link))
    return not linked and any(b.port == port for b in view.all(Binding))


class _Walk:
    def __init__(self, view: View) -> None:
        self.view = view
        self.ids: set[str] = set()
        self.seen: set[tuple[str, str]] = set()
        self.joined: list[tuple[str, str, str]] = []
        for link in view.all(Link):
            a, b = _device(view, link.a), _device(view, link.b)
            if a and b and a != b:
                self.joined.append((link.id, a, b))

    def add(self, id: str) -> None:
        self.ids.add(id)

    def once(self, what: str, id: str) -> bool:
        new = (what, id) not in self.seen
        self.seen.add((what, id))
        return new

    def is_boundary(self, device: str) -> bool:
        network = self.view.get(Network, device)
        if network is not None and self.view.is_external(network):
            return True
        return any(p.router == device and _is_uplink(self.view, p.id) for p in self.view.all(Port))

    def area(self, device: str) -> set[str]:
        kind, found, ahead = self.is_boundary(device), {device}, [device]
        while ahead:
            for other in self.beside(ahead.pop()):
                if other not in found and self.is_boundary(other) == kind:
                    found.add(other)
                    ahead.append(other)
        return found

    def beside(self, device: str) -> set[str]:
        return {b for _, a, b in self.joined if a == device} | {a for _, a, b in self.joined if b == device}

    def stand(self, device: str | None, gateway: bool) -> None:
        if device is None:
            return
        if not self.is_boundary(device):
            self.zone(device)
            return
        self.shell(device)
        if gateway:
            for inside in self.area(device):
                self.device(inside)
                for other in self.beside(inside):
                    if not self.is_boundary(other):
                        self.zone(other)

    def zone(self, device: str) -> None:
        for inside in self.area(device):
            self.device(inside)
            for other in self.beside(inside):
                if self.is_boundary(other):
                    self.shell(other)

    def shell(self, device: str) -> None:
        inside = self.area(device)
        for boundary in inside:
            self.config(boundary)
            for port in self.view.all(Port):
                if port.router == boundary and _is_uplink(self.view, port.id):
                    self.port(port.id)
        for link, a, b in self.joined:
            if a in inside and b in inside:
                self.link(link)

    def config(self, device: str) -> None:
        self.add(device)
        for subnet in self.view.subnets(device):
            self.add(subnet.id)
        for route in self.view.children(Route, device):
            self.add(route.id)
        found = self.view.find(device)
        if isinstance(found, Network):
            self.acls(*found.acls_in, *found.acls_out)
        if isinstance(found, Router):
            self.acls(*found.acls_in, *found.acls_forward, *found.acls_out)

    def device(self, device: str) -> None:
        self.config(device)
        for port in self.view.ports(device):
            self.port(port.id)

    def port(self, id: str) -> None:
        if not self.once("port", id):
            return
        self.end(id)
        for link in self.view.all(Link):
            if id in (link.a, link.b):
                self.link(link.id)
        self.rules(id)
        for block in self.view.all(SnatBlock):
            if block.port == id:
                self.add(block.id)
        for floating in self.view.all(FloatingIp):
            if floating.port == id:
                self.add(floating.id)
                self.add(floating.subnet)
        port = self.view.get(Port, id)
        if port is not None:
            self.acls(*port.acls_in, *port.acls_out)
            for group in port.security_groups:
                self.group(group)

    def rules(self, port: str) -> None:
        for rule in self.view.all(NatRule):
            if rule.port == port:
                self.add(rule.id)

    def end(self, id: str) -> None:
        self.add(id)
        for binding in self.view.bindings(id):
            self.add(binding.id)
            self.host(binding.host)

    def link(self, id: str) -> None:
        self.add(id)
        link = self.view.get(Link, id)
        for end in (link.a, link.b) if link else ():
            self.add(end)
            self.rules(end)
            port = self.view.get(Port, end)
            if port is not None:
                self.acls(*port.acls_in, *port.acls_out)

    def host(self, id: str) -> None:
        self.add(id)
        found = self.view.get(Host, id)
        for address in found.addresses if found else ():
            self.add(address.underlay)

    def group(self, id: str) -> None:
        self.add(id)
        for rule in self.view.all(SecurityGroupRule):
            if rule.security_group != id:
                continue
            self.add(rule.id)
            if rule.remote_group:
                self.add(rule.remote_group)
                for member in self.view.all(Port):
                    if rule.remote_group in member.security_groups:
                        self.add(member.id)
            if rule.remote_address_group:
                self.addresses(rule.remote_address_group)

    def addresses(self, id: str) -> None:
        self.add(id)
        for entry in self.view.entries(id):
            self.add(entry.id)

    def acls(self, *ids: str) -> None:
        for id in ids:
            if not self.once("acl", id):
                continue
            self.add(id)
            acl = self.view.get(Acl, id)
            for rule in acl.rules if acl else ():
                if rule.jump:
                    self.acls(rule.jump)
                for port in (rule.match.in_port, rule.match.out_port):
                    if port:
                        self.add(port)
                for group in (rule.match.src_group, rule.match.dst_group):
                    if group:
                        self.addresses(group)
