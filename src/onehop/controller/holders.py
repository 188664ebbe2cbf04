"""Who holds which claim, in memory: the claims of all objects of the cache, by scope and value."""

from __future__ import annotations

from collections.abc import Iterable

from onehop.model.claims import Claim


class Holders:
    """Claims and their owners' ids."""

    def __init__(self) -> None:
        self._scopes: dict[str, dict[str, str]] = {}

    def add(self, claims: Iterable[Claim], owner: str) -> None:
        for scope, value in claims:
            self._scopes.setdefault(scope, {})[value] = owner

    def drop(self, claims: Iterable[Claim], owner: str) -> None:
        """Take claims away from their owner; what somebody else has by now stays."""
        for scope, value in claims:
            held = self._scopes.get(scope)
            if held is not None and held.get(value) == owner:
                del held[value]
                if not held:
                    del self._scopes[scope]

    def owner(self, claim: Claim) -> str | None:
        held = self._scopes.get(claim.scope)
        return None if held is None else held.get(claim.value)

    def scope(self, scope: str) -> dict[str, str]:
        """What is held in a scope: value to owner. For reading only."""
        return self._scopes.get(scope, {})


class HoldersOverlay(Holders):
    """Claims made and given up on top of others, which stay as they are."""

    def __init__(self, base: Holders) -> None:
        super().__init__()
        self._base = base
        self._given_up: set[Claim] = set()

    def add(self, claims: Iterable[Claim], owner: str) -> None:
        claims = list(claims)
        self._given_up.difference_update(claims)
        super().add(claims, owner)

    def drop(self, claims: Iterable[Claim], owner: str) -> None:
        claims = list(claims)
        super().drop(claims, owner)
        self._given_up.update(claim for claim in claims if self._base.owner(claim) == owner)

    def owner(self, claim: Claim) -> str | None:
        over = super().owner(claim)
        if over is not None or claim in self._given_up:
            return over
        return self._base.owner(claim)
