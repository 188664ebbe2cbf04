"""A whole topology as one document.

    stack: shop
    project: demo
    networks:
      web:
        subnets: {v4: {cidr: 10.0.1.0/24}}
        ports: {web-1: {security_groups: [web]}}
    routers:
      edge: {attach: [web]}

Each kind has a section that maps names to fields. Kinds that belong to something nest in it, their section
named without it: the rules of a security group are its `rules`. A field that refers to something takes a
reference as in `names`. `attach` joins a router to networks: it stands for a port on each side and the
link between them. `external` joins it to one by which it reaches the outside: see `outward`.

`parse` checks the shape and gives the entries in an order in which they can be made; `expand` writes out
the attachments. The controller plans with these entries; `offline` makes objects of them without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from onehop.model.assign import default_gateway
from onehop.model.errors import Invalid, Problem
from onehop.model.fields import trait_of
from onehop.model.formats import Format, canonical
from onehop.model.kinds import KINDS, Kind
from onehop.model.names import Unresolved, resolve
from onehop.model.outward import MASQUERADE, default_routes, external_network
from onehop.model.switching import Network
from onehop.model.view import View

MAX_ENTRIES = 200_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a document.

    `path` is how the document's other entries refer to it (`web`, `web/v4`), `where` the place in the
    document that it stands at, `parent` the field and path of what it belongs to.
    """

    kind: Kind
    path: str
    name: str
    where: str
    body: Mapping[str, Any]
    parent: tuple[str, str] | None = None

    def fields(self) -> dict[str, Any]:
        """The fields as a request would give them, name and parent included."""
        fields = {"name": self.name, **self.body}
        if self.parent is not None:
            fields[self.parent[0]] = self.parent[1]
        return fields


@dataclass(frozen=True, slots=True)
class Attachment:
    """A router joined to a network, before the ports and the link that this stands for."""

    router: str
    network: str
    where: str
    external: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    stack: str | None
    project: str | None
    entries: tuple[Entry, ...]
    attachments: tuple[Attachment, ...]


def nested_sections(kind: Kind) -> dict[str, tuple[Kind, str]]:
    """The sections inside an object of this kind: name to (kind, the field that refers to this one)."""
    found = {}
    for child in KINDS.values():
        for name in child.parents:
            if trait_of(child.type, name).ref == kind.name:
                found[child.section.removeprefix(f"{kind.name.replace('-', '_')}_")] = (child, name)
    return found


def parse(data: object) -> Document:
    """A document's entries, parents first. Raises Invalid with every problem of shape."""
    problems: list[Problem] = []
    if not isinstance(data, Mapping):
        raise Invalid([Problem("", "a document maps sections such as `networks` to objects by name")])
    sections = {kind.section: kind for kind in KINDS.values()}
    entries: list[Entry] = []
    attachments: list[Attachment] = []
    for section, content in data.items():
        if section in ("stack", "project"):
            continue
        kind = sections.get(section)
        if kind is None:
            problems.append(
                Problem(str(section), f"no such section; there are: {', '.join(sorted(sections))}")
            )
        else:
            _section(kind, content, str(section), None, entries, attachments, problems)
    stack, project = (_header(data, name, problems) for name in ("stack", "project"))
    if len(entries) > MAX_ENTRIES:
        problems.append(Problem("", f"a document holds at most {MAX_ENTRIES} objects"))
    if problems:
        raise Invalid(problems)
    entries.sort(key=lambda entry: _RANK[entry.kind.name])
    return Document(stack, project, tuple(entries), tuple(attachments))


def _header(data: Mapping[str, Any], name: str, problems: list[Problem]) -> str | None:
    value = data.get(name)
    if value is None:
        return None
    try:
        return canonical(value if isinstance(value, str) else "", Format.NAME)
    except ValueError as error:
        problems.append(Problem(name, str(error)))
        return None


def _section(
    kind: Kind,
    content: object,
    where: str,
    parent: tuple[str, str] | None,
    entries: list[Entry],
    attachments: list[Attachment],
    problems: list[Problem],
) -> None:
    if content is None:
        return
    if not isinstance(content, Mapping):
        problems.append(Problem(where, f"maps the name of each {kind.name} to its fields"))
        return
    for name, body in content.items():
        at = f"{where}.{name}"
        try:
            canonical(name if isinstance(name, str) else "", Format.NAME)
        except ValueError as error:
            problems.append(Problem(at, str(error)))
            continue
        if body is not None and not isinstance(body, Mapping):
            problems.append(Problem(at, f"maps the fields of the {kind.name} to their values"))
            continue
        _object(kind, name, body or {}, at, parent, entries, attachments, problems)


def _object(
    kind: Kind,
    name: str,
    body: Mapping[str, Any],
    at: str,
    parent: tuple[str, str] | None,
    entries: list[Entry],
    attachments: list[Attachment],
    problems: list[Problem],
) -> None:
    path = f"{parent[1]}/{name}" if parent else name
    nested = nested_sections(kind)
    fields = {}
    for key, value in body.items():
        if kind.name == "router" and key == "attach":
            attachments.extend(_attachments(path, value, f"{at}.attach", problems))
        elif kind.name == "router" and key == "external":
            attachments.extend(_external(path, value, f"{at}.external", problems))
        elif key in nested:
            child, child_field = nested[key]
            _section(child, value, f"{at}.{key}", (child_field, path), entries, attachments, problems)
        elif key in ("id", "name") or (key in kind.parents and parent is not None):
            problems.append(Problem(f"{at}.{key}", "is told by where the object stands in the document"))
        else:
            fields[str(key)] = value
    entries.append(Entry(kind, path, name, at, fields, parent))


def _attachments(router: str, value: object, where: str, problems: list[Problem]) -> Iterator[Attachment]:
    if not isinstance(value, list) or not all(isinstance(network, str) for network in value):
        problems.append(Problem(where, "is a list of networks"))
        return
    for i, network in enumerate(value):
        yield Attachment(router, cast(str, network), f"{where}[{i}]")


def _external(router: str, value: object, where: str, problems: list[Problem]) -> Iterator[Attachment]:
    if isinstance(value, str):
        yield Attachment(router, value, where, external=True)
    elif value is not None:
        problems.append(Problem(where, "is one network"))


def _ranks() -> dict[str, int]:
    """A rank per kind, such that each comes after the kinds that its fields refer to.

    The one reference that runs the other way, from an ACL to ports, is seen to when objects are made.
    """
    order = (
        *("underlay", "host", "project", "token", "role"),
        *("address-group", "address-group-entry", "security-group", "security-group-rule"),
        *("acl", "network", "subnet", "router", "port", "link", "route"),
        *("nat-rule", "floating-ip", "snat-block", "binding"),
    )
    return {name: order.index(name) for name in KINDS}


_RANK = _ranks()


def rank(kind: Kind) -> int:
    """Lower ranks are made first and deleted last."""
    return _RANK[kind.name]


def expand(document: Document, view: View, project: str | None) -> tuple[Entry, ...]:
    """All entries, with attachments written out. Raises Invalid for a network that is not there."""
    problems: list[Problem] = []
    entries = list(document.entries)
    for attachment in document.attachments:
        try:
            entries.extend(_written_out(document, attachment, view, project))
        except Unresolved as error:
            problems.append(Problem(attachment.where, str(error)))
    if problems:
        raise Invalid(problems)
    entries.sort(key=lambda entry: _RANK[entry.kind.name])
    return tuple(entries)


def _written_out(document: Document, attachment: Attachment, view: View, project: str | None) -> list[Entry]:
    router, network, where = attachment.router, attachment.network, attachment.where
    if attachment.external and not _is_here(document, network):
        network = external_network(network, view, project)
    make = lead_outside if attachment.external else attach
    return make(router, network, _subnets(document, network, view, project), where)


def _is_here(document: Document, network: str) -> bool:
    return any(e.kind.name == "network" and e.path == network for e in document.entries)


def attach(router: str, network: str, subnets: list[tuple[str, str]], where: str) -> list[Entry]:
    """What joins a router to a network: a port on each, and the link.

    `subnets` are pairs of a subnet's reference and its gateway.
    """
    network_name, router_name = network.rpartition(":")[2], router.rpartition(":")[2]
    inside, outside = f"{router}/{network_name}", f"{network}/{router_name}"
    addresses = [{"subnet": subnet, "ip": gateway} for subnet, gateway in subnets]
    port, link = KINDS["port"], KINDS["link"]
    name = f"{router_name}-{network_name}"[:63].rstrip("-")
    return [
        Entry(
            port, inside, network_name, where, {"kind": "router", "addresses": addresses}, ("router", router)
        ),
        Entry(port, outside, router_name, where, {"kind": "router"}, ("network", network)),
        Entry(link, name, name, where, {"a": inside, "b": outside}),
    ]


def lead_outside(router: str, network: str, subnets: list[tuple[str, str]], where: str) -> list[Entry]:
    """What gives a router a way out by an external network: joined to it, with addresses of its own there,
    default routes to the gateways, and masquerade of what leaves."""
    inside, outside, link = attach(router, network, subnets, where)
    addresses = [{"subnet": subnet} for subnet, _ in subnets]
    mine = replace(inside, body={"kind": "router", "addresses": addresses})
    routes = [
        Entry(KINDS["route"], f"{router}/{name}", name, where, fields, ("router", router))
        for name, fields in default_routes(subnets, inside.path)
    ]
    rule = Entry(
        *(KINDS["nat-rule"], f"{inside.path}/{MASQUERADE}", MASQUERADE, where),
        {"action": "masquerade"},
        ("port", inside.path),
    )
    return [mine, outside, link, *routes, rule]


def _subnets(document: Document, network: str, view: View, project: str | None) -> list[tuple[str, str]]:
    """The subnets of a network, in the document or outside, with their gateways."""
    here = {
        e.path: e for e in document.entries if e.kind.name == "subnet" and e.parent == ("network", network)
    }
    found = {path: _gateway(entry) for path, entry in here.items()}
    known = _is_here(document, network)
    try:
        id = resolve(network, KINDS["network"], view, project)
    except Unresolved:
        if not known:
            raise
        return sorted(found.items())
    if view.get(Network, id) is None and not known:
        raise Unresolved(f"there is no network {network!r}")
    for subnet in view.subnets(id):
        if f"{network}/{subnet.name}" not in found and subnet.gateway is not None:
            found[f"{network}/{subnet.name}"] = subnet.gateway
    return sorted(found.items())


def _gateway(entry: Entry) -> str:
    """A subnet's gateway as its fields tell it; whatever they hold is judged when the subnet is made."""
    gateway = entry.body.get("gateway")
    if isinstance(gateway, str):
        return gateway
    try:
        return default_gateway(canonical(str(entry.body.get("cidr")), Format.CIDR))
    except ValueError:
        return ""
