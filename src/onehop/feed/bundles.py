"""Bundles: sets of objects that hosts follow as one, and who follows which.

A bundle holds the nodes that its *roots* need (`needs`), with a count of what brings each. A bundle has
*parts*: other bundles that whoever follows it follows too. A host has what is in any bundle it follows. The
contents of a bundle are only there while somebody follows it.

Every step notes for the hosts concerned what they gained (+1) and lost (-1); a gain and a loss in one go
cancel out. Work is proportional to the nodes that enter or leave, times the hosts that follow them. When a
host comes or goes altogether, nothing needs to be noted (`quietly`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from onehop.feed.needs import SHELL, Edge, Node, needs, object_of, roles
from onehop.model.view import View


class Bundle:
    """Compared by identity."""

    __slots__ = ("counts", "hosts", "ids", "parts", "roots")

    def __init__(self) -> None:
        self.roots: dict[Node, int] = {}
        self.parts: dict[Bundle, int] = {}
        self.hosts: set[str] = set()
        # Empty while nobody follows:
        self.counts: dict[Node, int] = {}
        self.ids: set[str] = set()  # of the objects that the nodes are about


class Bundles:
    """Who has what. `view` is what all is computed from; it is exchanged while changes are applied."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._holding: dict[str, set[Bundle]] = {}  # object -> the bundles it is in
        self._follows: dict[str, dict[Bundle, int]] = {}  # host -> bundle -> by how many ways
        self._extra: dict[Node, set[Node]] = {}  # edges besides those that single objects give
        self._notes: dict[str, dict[str, int]] = {}
        self._quiet = False

    # --- questions ----------------------------------------------------------------------------------

    def has(self, host: str, id: str) -> bool:
        for bundle in self._holding.get(id, ()):  # noqa: SIM110 - asked for each object of each host: be quick
            if host in bundle.hosts:
                return True
        return False

    def hosts_with(self, id: str) -> set[str]:
        return set().union(*(bundle.hosts for bundle in self._holding.get(id, ())))

    def objects_of(self, host: str) -> set[str]:
        return set().union(*(bundle.ids for bundle in self._follows.get(host, ())))

    def take_notes(self) -> dict[str, dict[str, int]]:
        """Host -> object -> +1 gained, -1 lost, 0 neither in the end; since last asked."""
        notes, self._notes = self._notes, {}
        return notes

    @contextlib.contextmanager
    def quietly(self) -> Iterator[None]:
        """Note nothing."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    # --- following ----------------------------------------------------------------------------------

    def follow(self, host: str, bundle: Bundle, ways: int) -> None:
        """Let a host follow a bundle by so many more ways (or fewer, when negative)."""
        follows = self._follows.setdefault(host, {})
        before = follows.get(bundle, 0)
        after = before + ways
        if after:
            follows[bundle] = after
        else:
            follows.pop(bundle, None)
            if not follows:
                del self._follows[host]
        if not before and after:
            self._enter(host, bundle)
        elif before and not after:
            self._leave(host, bundle)

    def include(self, whole: Bundle, part: Bundle, ways: int) -> None:
        """Make a bundle part of another by so many more ways (or fewer, when negative)."""
        before = whole.parts.get(part, 0)
        after = before + ways
        if after:
            whole.parts[part] = after
        else:
            whole.parts.pop(part, None)
        if bool(before) != bool(after):
            for host in list(whole.hosts):
                self.follow(host, part, 1 if after else -1)

    def root(self, bundle: Bundle, node: Node, ways: int) -> None:
        """Make a node a root of a bundle by so many more ways (or fewer, when negative)."""
        before = bundle.roots.get(node, 0)
        after = before + ways
        if after:
            bundle.roots[node] = after
        else:
            bundle.roots.pop(node, None)
        if bundle.hosts and bool(before) != bool(after):
            (self._bring if after else self._drop)(bundle, [node])

    def _enter(self, host: str, bundle: Bundle) -> None:
        if not bundle.hosts:
            self._bring(bundle, list(bundle.roots))
        if not self._quiet:
            for id in bundle.ids:
                if not self.has(host, id):
                    self._note(host, id, 1)
        bundle.hosts.add(host)
        for part in list(bundle.parts):
            self.follow(host, part, 1)

    def _leave(self, host: str, bundle: Bundle) -> None:
        for part in list(bundle.parts):
            self.follow(host, part, -1)
        bundle.hosts.discard(host)
        if self._quiet and bundle.hosts:
            return
        for id in bundle.ids:
            if not self.has(host, id):
                self._note(host, id, -1)
        if not bundle.hosts:
            bundle.counts = {}
            for id in list(bundle.ids):
                self._no_longer_in(bundle, id)

    # --- contents -----------------------------------------------------------------------------------

    def add_edges(self, edges: Iterable[Edge]) -> None:
        """New edges that `view` has already; those farther from a device first."""
        for u, v in edges:
            for bundle in self._holders(u):
                self._bring(bundle, [v])

    def drop_edges(self, edges: Iterable[Edge]) -> None:
        """Edges that are to go, which `view` still has; those nearer to a device first."""
        for u, v in edges:
            for bundle in self._holders(u):
                self._drop(bundle, [v])

    def tie(self, device: str, id: str) -> None:
        """Let an object come with the shell of a device."""
        self._extra.setdefault(SHELL + device, set()).add(id)
        self.add_edges([(SHELL + device, id)])

    def untie(self, device: str, id: str) -> None:
        extra = self._extra[SHELL + device]
        extra.discard(id)
        if not extra:
            del self._extra[SHELL + device]
        self.drop_edges([(SHELL + device, id)])

    def _holders(self, node: Node) -> list[Bundle]:
        return [bundle for bundle in self._holding.get(object_of(node), ()) if node in bundle.counts]

    def _needs(self, node: Node) -> Iterator[Node]:
        yield from needs(self.view, node)
        yield from self._extra.get(node, ())

    def _bring(self, bundle: Bundle, nodes: list[Node]) -> None:
        counts = bundle.counts
        while nodes:
            node = nodes.pop()
            count = counts.get(node, 0)
            counts[node] = count + 1
            if not count:
                self._now_in(bundle, object_of(node))
                nodes.extend(self._needs(node))

    def _drop(self, bundle: Bundle, nodes: list[Node]) -> None:
        counts = bundle.counts
        while nodes:
            node = nodes.pop()
            count = counts[node] - 1
            if count:
                counts[node] = count
                continue
            del counts[node]
            id = object_of(node)
            if not any(other in counts for other in roles(id)):
                self._no_longer_in(bundle, id)
            nodes.extend(self._needs(node))

    def _now_in(self, bundle: Bundle, id: str) -> None:
        if id in bundle.ids:
            return
        for host in bundle.hosts:
            if not self.has(host, id):
                self._note(host, id, 1)
        bundle.ids.add(id)
        self._holding.setdefault(id, set()).add(bundle)

    def _no_longer_in(self, bundle: Bundle, id: str) -> None:
        bundle.ids.discard(id)
        holding = self._holding[id]
        holding.discard(bundle)
        if not holding:
            del self._holding[id]
        for host in bundle.hosts:
            if not self.has(host, id):
                self._note(host, id, -1)

    def _note(self, host: str, id: str, gained: int) -> None:
        if self._quiet:
            return
        notes = self._notes.setdefault(host, {})
        notes[id] = notes.get(id, 0) + gained
