"""Choosing addresses, MACs and keys that nobody has, next-fit from a random cursor.

What is chosen here is only a good guess: the claim in the transaction decides. The guess avoids what the
cache knows to be held, what commits in flight have chosen, and what was given up a short while ago: an
address rests for a minute and a key for a day, so that nobody gets packets meant for the last owner.
Resting values are noted from the cache's changes; to be known after a restart they are in the store too,
written in the transaction that gives them up.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv6Address

from onehop.controller.blocks.resting import RestingBlocks, is_block
from onehop.controller.blocks.sharing import PER_ADDRESS, KnownSharings, Sharing, in_order
from onehop.controller.cache import Cache, ObjectChange
from onehop.controller.holders import Holders
from onehop.controller.keys import RESTING, parse_resting_key
from onehop.model import SnatBlock, Subnet
from onehop.model.assign import Exhausted
from onehop.model.claims import (
    KEY_SCOPE,
    Claim,
    block_claim,
    claimants,
    claims_of,
    ip_claim,
    key_claim,
    mac_claim,
)
from onehop.model.formats import parse_cidr, parse_ip
from onehop.model.kinds import MAX_KEY
from onehop.model.nat import BLOCK, FIRST_SHARED
from onehop.model.view import Overlay, View
from onehop.store.interface import Revision, Store, list_all

IP_REST = 60.0
KEY_REST = 86400.0
PROBES = 1 << 17  # addresses looked at before a subnet counts as full


def rest_of(claim: Claim) -> float | None:
    """For how long a value rests when it is given up; None if it may be had again at once."""
    if claim.scope == KEY_SCOPE:
        return KEY_REST
    return IP_REST if claim.scope.startswith("ip/") else None


class Resting:
    """Values that were given up lately."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._until: dict[Claim, float] = {}
        self._look_again = 1024  # the number of values at which the rested ones are forgotten

    async def load(self, store: Store) -> None:
        """What was given up before this controller started."""
        entries, _ = await list_all(store, RESTING)
        for entry in entries:
            self.note(parse_resting_key(entry.key), until=float(entry.value))

    def note(self, claim: Claim, until: float | None = None) -> None:
        rest = rest_of(claim)
        if rest is None:
            return
        now = self._clock()
        until = min(until, now + rest) if until is not None else now + rest
        if until > now:
            self._until[claim] = until
        if len(self._until) > self._look_again:
            self._until = {c: t for c, t in self._until.items() if t > now}
            self._look_again = 1024 + 2 * len(self._until)

    def rests(self, claim: Claim) -> bool:
        until = self._until.get(claim)
        return until is not None and until > self._clock()

    def until(self, claim: Claim) -> float:
        return self._clock() + (rest_of(claim) or 0.0)


class Allocator:
    """What is free, as this controller knows it. Lives as long as the engine."""

    def __init__(
        self, cache: Cache, resting: Resting, blocks: RestingBlocks, seed: int | None = None
    ) -> None:
        self._random = random.Random(seed)
        self._cursors: dict[str, int] = {}
        self._resting = resting
        self._blocks = blocks
        self.sharings = KnownSharings()  # of the cache's view
        self.in_flight: set[Claim] = set()
        self._cache = cache
        cache.subscribe(self._note)

    def _note(self, revision: Revision, changes: Sequence[ObjectChange]) -> None:
        """Whatever was claimed and is nobody's now begins to rest."""
        self.sharings.note(changes, self._cache.view)
        if all(change.before is None for change in changes):
            return
        # What an object referred to may be gone in the same revision: look at it as it was.
        was = _as_it_was(self._cache.view, changes)
        changed = [id for change in changes if change.before for id in claimants(change.before)]
        for made in claims_of(changed, was).values():
            for claim in made:
                if self._cache.holders.owner(claim) is not None:
                    continue
                if is_block(claim):
                    self._blocks.note(claim)
                elif rest_of(claim) is not None:
                    self._resting.note(claim)
        for change in changes:
            if isinstance(change.before, Subnet) and change.after is None:
                self._cursors.pop(change.id, None)

    def resting_until(self, claim: Claim) -> float:
        """When a value that is given up now may be had again."""
        return self._resting.until(claim)

    def chooser(self, holders: Holders) -> Choice:
        return Choice(self, holders)

    def free(self, claim: Claim, holders: Holders) -> bool:
        if holders.owner(claim) is not None or claim in self.in_flight:
            return False
        return not (self._blocks if is_block(claim) else self._resting).rests(claim)

    def key(self, holders: Holders) -> Claim:
        """By chance: of 16 million few are taken, and two controllers seldom choose the same."""
        for _ in range(10_000):
            claim = key_claim(self._random.randint(1, MAX_KEY))
            if self.free(claim, holders):
                return claim
        raise Exhausted("no key is free; delete ports or networks that nobody needs")

    def mac(self, device: str, holders: Holders) -> Claim:
        """A unicast MAC of the range that anybody may use."""
        while True:
            tail = self._random.getrandbits(40)
            text = f"02{tail:010x}"
            claim = mac_claim(device, ":".join(text[i : i + 2] for i in range(0, 12, 2)))
            if self.free(claim, holders):
                return claim

    def ip(self, subnet: Subnet, holders: Holders) -> Claim:
        ranges = list(_ranges(subnet))
        total = sum(size for _, size in ranges)
        v6 = parse_cidr(subnet.cidr).version == 6
        cursor = self._cursors.get(subnet.id)
        if cursor is None:
            cursor = self._random.randrange(total) if total else 0
        for step in range(min(total, PROBES)):
            text = _text(ranges, (cursor + step) % total, v6)
            claim = ip_claim(subnet.network, text)
            if text != subnet.gateway and self.free(claim, holders):
                self._cursors[subnet.id] = cursor + step + 1
                return claim
        raise Exhausted(f"no address is free in subnet {subnet.name} ({subnet.cidr})")

    def block(self, sharing: Sharing, having: Iterable[SnatBlock], holders: Holders) -> Claim | None:
        """A block, of an address that the port has some of already if it can be."""
        start = self._random.randrange(1 << 16)
        for ip in in_order(sharing.addresses, having, start):
            if self._held(sharing, ip) >= PER_ADDRESS:
                continue
            for step in range(PER_ADDRESS):
                first = FIRST_SHARED + (start + step) % PER_ADDRESS * BLOCK
                claim = block_claim(sharing.within, ip, first)
                if self.free(claim, holders):
                    return claim
        return None

    def free_blocks(self, sharing: Sharing) -> int:
        held = sum(self._held(sharing, ip) for ip in sharing.addresses)
        return sharing.blocks - held - self._blocks.count(sharing.within, sharing.addresses)

    def _held(self, sharing: Sharing, ip: str) -> int:
        return len(self._cache.holders.scope(f"block/{sharing.within}/{ip}"))


class Choice:
    """The chooser of one plan (see `model.assign`), which notes what it chose."""

    def __init__(self, allocator: Allocator, holders: Holders) -> None:
        self._allocator = allocator
        self._holders = holders
        self.chosen: list[Claim] = []

    def _take(self, claim: Claim) -> str:
        self._allocator.in_flight.add(claim)
        self.chosen.append(claim)
        return claim.value

    def key(self) -> int:
        return int(self._take(self._allocator.key(self._holders)))

    def mac(self, device: str) -> str:
        return self._take(self._allocator.mac(device, self._holders))

    def ip(self, subnet: Subnet) -> str:
        return self._take(self._allocator.ip(subnet, self._holders))

    def block(self, sharing: Sharing, having: Iterable[SnatBlock]) -> tuple[str, int] | None:
        claim = self._allocator.block(sharing, having, self._holders)
        if claim is None:
            return None
        first = int(self._take(claim))
        return claim.scope.rpartition("/")[2], first

    def free_blocks(self, sharing: Sharing) -> int:
        return self._allocator.free_blocks(sharing)

    def forget(self) -> None:
        """The plan has become fact, or has come to nothing."""
        self._allocator.in_flight.difference_update(self.chosen)


def _as_it_was(view: View, changes: Iterable[ObjectChange]) -> View:
    was = Overlay(view)
    for change in changes:
        if change.before is not None:
            was.put(change.before)
    return was


def _ranges(subnet: Subnet) -> Iterator[tuple[int, int]]:
    """First number and size of what may be assigned."""
    if subnet.pools:
        for pool in subnet.pools:
            first, last = int(parse_ip(pool.first)), int(parse_ip(pool.last))
            yield first, last - first + 1
        return
    prefix = parse_cidr(subnet.cidr)
    first, size = int(prefix.network_address), prefix.num_addresses
    if size <= 2:
        yield first, size
    elif prefix.version == 4:
        yield first + 1, size - 2
    else:
        yield first + 1, size - 1  # the first address of a v6 prefix means "any router"


def _text(ranges: Sequence[tuple[int, int]], index: int, v6: bool) -> str:
    for first, size in ranges:
        if index < size:
            n = first + index
            if v6:
                return str(IPv6Address(n))
            return f"{n >> 24}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
        index -= size
    raise AssertionError("an index beyond the ranges")
