"""The one way by which objects are written: operations in, one transaction out.

    result = await engine.commit([Operation("create", "network", body={"name": "web"})], actor)

A commit plans against the watch cache, which is pure, and then asks the store to make it so under guards
that hold exactly if the plan is still right. When they do not, the cache catches up and the plan is made
anew; what is really wrong shows in planning, as a Refusal with a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from onehop.controller.actor import Actor
from onehop.controller.cache import Cache
from onehop.model import Object
from onehop.store.interface import Revision, Store

MAX_BULK = 128  # operations in one commit

Verb = Literal["create", "replace", "patch", "delete"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing to do to one object.

    kind      the kind's name: `security-group`
    ref       which object: an id or a name, as in REST; not for `create`
    body      the object (`create`, `replace`) or a JSON merge patch; references may be names
    project   the current project, by id or name: where a new object goes and where names are looked up;
              the caller's only project if left out. A `project` in the body comes first
    if_match  the revision that the object must still have
    trusted   read-only fields that the controller itself sets (`id`, a token's `hash`); never a caller's
    """

    op: Verb
    kind: str
    ref: str | None = None
    body: Mapping[str, Any] | None = None
    if_match: Revision | None = None
    project: str | None = None
    trusted: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one operation. After a deletion, `object` is what was deleted."""

    object: Object
    revision: Revision


@dataclass(frozen=True, slots=True)
class Done:
    """A commit that happened. `revision` is the store's; results are in the order of the operations.

    `repeated` says that this is the answer of an earlier request with the same idempotency key.
    """

    revision: Revision
    results: tuple[Result, ...]
    repeated: bool = False


class Engine:
    """Writes objects. One per controller; any number of commits may be in flight at once."""

    def __init__(self, store: Store, cache: Cache) -> None:
        self._store = store
        self._cache = cache

    async def commit(
        self, operations: Sequence[Operation], actor: Actor, idempotency_key: str | None = None
    ) -> Done:
        """Do all the operations in one transaction, or none. Raises a `Refusal`.

        Later operations may refer to what earlier ones made, by name. The cache holds the result when
        this returns, so that the caller reads its own writes.
        """
        raise NotImplementedError
