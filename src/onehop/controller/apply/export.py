"""A stack, or all of a project, as a document that `apply` takes. Pure.

What is left out: what the controller alone sets, what is as by default, and the label that tells the stack.
A router joined to a network by what `attach` stands for is written as `attach`. References are written as
the document itself would be read: paths within it, else names, else ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from onehop.controller.apply.merge import FIXED, plain
from onehop.controller.apply.stack import LABEL, Stack
from onehop.controller.bodies import traits
from onehop.controller.keys import WEAK
from onehop.model import KINDS, Kind, Link, Network, Object, Port, Project, Router, kind_of
from onehop.model.document import Entry, attach, nested_sections, rank
from onehop.model.fields import references, rewrite
from onehop.model.view import View

Content = dict[str, Any]
UNWRITTEN = ("token", *WEAK)  # made in other ways than by a document


def export(stack: Stack, objects: Iterable[Object], view: View) -> Content:
    """The document of some objects."""
    return _Export(objects, view, stack).document()


class _Export:
    def __init__(self, objects: Iterable[Object], view: View, stack: Stack) -> None:
        self._view = view
        self._stack = stack
        self._objects = {obj.id: obj for obj in objects if kind_of(obj).name not in UNWRITTEN}
        self._bodies: dict[str, Content] = {}  # id -> where its fields and what nests in it are written
        self._attached: dict[str, list[str]] = {}  # router -> networks as they are written
        self._hidden: set[str] = set()  # what `attach` stands for

    def document(self) -> Content:
        document: Content = {"stack": self._stack.name}
        project = self._view.get(Project, self._stack.project)
        if project is not None:
            document["project"] = project.name
        self._find_attachments()
        ordered = sorted(self._objects.values(), key=lambda o: (rank(kind_of(o)), o.name, o.id))
        for obj in ordered:
            if obj.id not in self._hidden:
                self._place(obj, document)
        return document

    def _place(self, obj: Object, document: Content) -> None:
        """Write an object into its parent, if that is here, or at the top."""
        kind = kind_of(obj)
        body = self._fields(obj)
        self._bodies[obj.id] = body
        parent = kind.parent(obj)
        if parent in self._bodies:
            section = _nested_name(kind_of(self._objects[parent]), kind)
            for name in kind.parents:
                body.pop(name, None)
            self._bodies[parent].setdefault(section, {})[obj.name] = body
        else:
            top = document.setdefault(kind.section, {})
            if obj.name in top:
                raise Clash(f"two of the {kind.plural} are called {obj.name!r} and belong to nothing here")
            top[obj.name] = body

    def _fields(self, obj: Object) -> Content:
        """What an entry says of an object."""
        fields = cast(Content, plain(self._with_names(obj)))
        hidden = {name for name, t in traits(type(obj)).items() if t.read_only or t.secret} | FIXED
        body = {name: value for name, value in fields.items() if name not in hidden}
        labels = {key: text for key, text in obj.labels.items() if key != LABEL}
        body.pop("labels", None)
        if labels:
            body["labels"] = labels
        if isinstance(obj, Port):
            _port(obj, body)
        if obj.id in self._attached:
            body["attach"] = sorted(self._attached[obj.id])
        return body

    # --- references -----------------------------------------------------------------------------------

    def _with_names(self, obj: Object) -> Object:
        result: Any = obj
        for leaf in references(type(obj)):
            if leaf.path != ("project",):
                result = rewrite(result, leaf.path, lambda _, id: self._reference(id))
        return cast(Object, result)

    def _reference(self, id: str) -> str:
        """How the document refers to an object."""
        obj = self._view.find(id)
        if obj is None:
            return id
        path = self._path(obj)
        if id in self._objects or obj.project in (None, self._stack.project) or ":" in path:
            return path
        project = self._view.get(Project, obj.project)
        return f"{project.name}:{path}" if project is not None else id

    def _path(self, obj: Object) -> str:
        """A path, or the id where no path would be understood."""
        parent = kind_of(obj).parent(obj)
        if parent is None:
            return obj.name
        above = self._view.find(parent)
        if above is None:
            return obj.id
        return f"{self._reference(above.id)}/{obj.name}" if self._unique(above, obj) else obj.id

    def _unique(self, above: Object, obj: Object) -> bool:
        """Whether PARENT/NAME means this one: a network and a router may have one name, and ports of one."""
        if not isinstance(obj, Port):
            return True
        other: type[Object] = Router if isinstance(above, Network) else Network
        twin = self._view.by_name(other, above.project, above.name)
        return twin is None or self._view.named("port", twin.id, obj.name) is None

    # --- attachments ----------------------------------------------------------------------------------

    def _find_attachments(self) -> None:
        for obj in list(self._objects.values()):
            if isinstance(obj, Link):
                self._attachment(obj)

    def _attachment(self, link: Link) -> None:
        """Hide a link with its ports, if `attach` would make just these."""
        inside, outside = self._objects.get(link.a), self._objects.get(link.b)
        if not isinstance(inside, Port) or not isinstance(outside, Port):
            return
        router, network = self._view.get(Router, inside.router), self._view.get(Network, outside.network)
        if router is None or network is None or router.id not in self._objects:
            return
        written = self._reference(network.id)
        subnets = [
            (self._reference(subnet.id), subnet.gateway)
            for subnet in self._view.subnets(network.id)
            if subnet.gateway is not None and self._is_known(subnet, network)
        ]
        made = attach(router.name, written, sorted(subnets), "")
        if all(
            self._same(entry, obj) for entry, obj in zip(made, (inside, outside, link), strict=True)
        ) and self._free_of_others((inside, outside)):
            self._attached.setdefault(router.id, []).append(written)
            self._hidden.update((inside.id, outside.id, link.id))

    def _is_known(self, subnet: Object, network: Network) -> bool:
        """Whether applying the document would find the subnet: it is in it, or beside it."""
        return subnet.id in self._objects or not self._stack.holds(subnet)

    def _free_of_others(self, ports: tuple[Port, ...]) -> bool:
        """Whether nothing nests in these ports or refers to them, so that the document need not name them."""
        return all(
            self._view.find(id) is not None and kind == "link"
            for p in ports
            for kind, id in self._view.users(p.id)
        )

    def _same(self, entry: Entry, obj: Object) -> bool:
        """Whether an object says what the entry says, and no more."""
        body = self._fields(obj)
        for name in (*entry.kind.parents, "mac"):
            body.pop(name, None)
        wanted = entry.body
        if "addresses" in wanted:
            body.setdefault("addresses", [])
        return entry.name == obj.name and body == wanted


class Clash(ValueError):
    """Objects that one document cannot hold side by side."""


def _port(port: Port, body: Content) -> None:
    """Fields whose default depends on others are always written."""
    if port.router is not None or port.kind != "vm":
        body["kind"] = port.kind
    if port.network is not None and port.kind != "router":
        body.setdefault("addresses", [])


def _nested_name(parent: Kind, kind: Kind) -> str:
    return next(name for name, (child, _) in nested_sections(parent).items() if child is kind)


def everything(project: str, view: View) -> list[Object]:
    """All that a project owns."""
    owned: Mapping[str, Kind] = KINDS
    found = [view.find(id) for kind in owned.values() for id in sorted(view.referrers(project, kind.name))]
    return [obj for obj in found if obj is not None and obj.project == project]
