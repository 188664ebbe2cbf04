"""References: what is referred to exists, is of the right kind, and may be used by the object's project."""

from __future__ import annotations

from onehop.model.errors import Problem
from onehop.model.fields import Leaf, gather, references, values
from onehop.model.kinds import KINDS, Object, Scope, kind_of
from onehop.model.nat import FloatingIp
from onehop.model.switching import Network, Port, Subnet
from onehop.model.view import View

# Who may be named by anybody: a grant names the project that it is for.
_OPEN = ("project",)


def check(obj: Object, before: Object | None, view: View, *, anywhere: bool = False) -> list[Problem]:
    """Problems of the references. What an object referred to before stays allowed."""
    problems = []
    for leaf in references(type(obj)):
        allowed = gather(before, (leaf,)) if before is not None else ()
        if all(
            id in allowed or _check(obj, leaf, "", id, view, anywhere) is None for id in gather(obj, (leaf,))
        ):
            continue
        for path, id in values(obj, leaf):
            problem = None if id in allowed else _check(obj, leaf, path, id, view, anywhere)
            if problem is not None:
                problems.append(problem)
    return problems


def _check(obj: Object, leaf: Leaf, path: str, id: str, view: View, anywhere: bool) -> Problem | None:
    kind = leaf.trait.ref or ""
    target = view.find(id)
    if target is None or kind_of(target).name != kind:
        return Problem(path, f"there is no {kind} {id!r}")
    if anywhere or kind in _OPEN or kind_of(obj).scope is Scope.CLOUD or target.project == obj.project:
        return None
    if KINDS[kind].scope is not Scope.CLOUD:
        allowed = granted(target, obj.project, view)
        if allowed & _needed(obj):
            return None
        if allowed:
            return Problem(
                path, f"{kind} {target.name!r} is not granted for this; it is for: {_list(allowed)}"
            )
    return Problem(path, f"there is no {kind} {id!r}")


def _needed(obj: Object) -> set[str]:
    """The grants of which one is needed to refer to a network of another project."""
    if isinstance(obj, Port):
        return {"link", "external"} if obj.kind == "router" else {"use"}
    return {"external"} if isinstance(obj, FloatingIp) else set()


def granted(target: Object, project: str | None, view: View) -> set[str]:
    """What the owner of a network lets a project do with it and its subnets."""
    if isinstance(target, Subnet):
        return granted_network(view.get(Network, target.network), project)
    return granted_network(target, project) if isinstance(target, Network) else set()


def granted_network(network: Network | None, project: str | None) -> set[str]:
    if network is None:
        return set()
    return {grant.allow for grant in network.grants if grant.project in (None, project)}


def _list(words: set[str]) -> str:
    return ", ".join(sorted(words))
