from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onehop.feed.reach import Delta, Reach
from onehop.model import Object
from onehop.model.view import Topology
from tests.unit.feed.cloudlet import HOSTS, SLOTS, TARGETS
from tests.unit.feed.plain_reach import plain_reach

Write = tuple[int, int]  # slot, which of its objects (or none, at their number)


class Followers:
    """Hosts that hold what they were told, and nothing else."""

    def __init__(self, objects: Sequence[Object] = ()) -> None:
        self.view = Topology(objects)
        self.reach = Reach(self.view)
        self.asks: dict[str, set[str]] = {}
        self.held: dict[str, dict[str, Object]] = {}

    def connect(self, host: str) -> None:
        if host in self.held:
            self.reach.disconnect(host)
            del self.held[host], self.asks[host]
        else:
            self.asks[host] = set()
            self.reach.connect(host)
            self.held[host] = {id: self.find(id) for id in self.reach.holdings(host)}

    def ask(self, host: str, target: str) -> None:
        if host not in self.held:
            return
        if target in self.asks[host]:
            self.asks[host].discard(target)
            self.take(host, self.reach.let_go(host, [target]))
        else:
            self.asks[host].add(target)
            self.take(host, self.reach.ask(host, [target]))

    def write(self, writes: Sequence[Write]) -> None:
        before: dict[str, Object | None] = {}
        for slot, which in writes:
            id = SLOTS[slot][0].id
            before.setdefault(id, self.view.find(id))
            if which < len(SLOTS[slot]):
                self.view.put(SLOTS[slot][which])
            else:
                self.view.remove(id)
        changes = [(old, self.view.find(id)) for id, old in before.items()]
        for host, delta in self.reach.apply(changes).items():
            self.take(host, delta)

    def take(self, host: str, delta: Delta) -> None:
        held = self.held[host]
        for id in delta.removes:
            assert held.pop(id, None) is not None, "told to forget what it does not have"
        for id in delta.puts:
            assert held.get(id) != self.find(id), "told what it has already"
            held[id] = self.find(id)

    def find(self, id: str) -> Object:
        found = self.view.find(id)
        assert found is not None
        return found

    def check(self) -> None:
        for host, held in self.held.items():
            expected = plain_reach(self.view, host, self.asks[host])
            assert set(held) == expected == self.reach.holdings(host)
            assert all(self.view.find(id) == obj for id, obj in held.items())


def write(slot: int, which: int) -> Write:
    return slot, which % (len(SLOTS[slot]) + 1)


writes = st.builds(write, st.integers(0, len(SLOTS) - 1), st.integers(0, 4))
steps = st.one_of(
    st.tuples(st.just("write"), st.lists(writes, min_size=1, max_size=6)),
    st.tuples(st.just("connect"), st.sampled_from(HOSTS)),
    st.tuples(st.just("ask"), st.tuples(st.sampled_from(HOSTS), st.sampled_from(TARGETS))),
)


@settings(max_examples=150, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32), full=st.floats(0, 1), history=st.lists(steps, max_size=40))
def test_after_any_history_each_host_has_what_a_fresh_walk_finds(
    seed: int, full: float, history: list[tuple[str, object]]
) -> None:
    chance = random.Random(seed)
    start = [chance.choice(slot) for slot in SLOTS if chance.random() < full]
    followers = Followers(start)
    for host in HOSTS[:2]:
        followers.connect(host)
    for what, arguments in history:
        match what, arguments:
            case "write", list(given_writes):
                followers.write(given_writes)
            case "connect", str(host):
                followers.connect(host)
            case "ask", (str(host), str(target)):
                followers.ask(host, target)
        followers.check()


@settings(max_examples=30, deadline=None, print_blob=True)
@given(seed=st.integers(0, 1 << 32))
def test_the_order_of_changes_does_not_matter(seed: int) -> None:
    chance = random.Random(seed)
    history = [write(chance.randrange(len(SLOTS)), chance.randrange(5)) for _ in range(60)]
    squashed = list(dict(history).items())
    ways = [
        [[one] for one in history],
        [[one] for one in history for _ in range(2)],
        [squashed],
        [[one] for one in chance.sample(squashed, len(squashed))],
    ]
    ends = []
    for way in ways:
        followers = Followers()
        for host in HOSTS:
            followers.connect(host)
        for batch in way:
            followers.write(batch)
        followers.check()
        ends.append(followers.held)
    assert all(end == ends[0] for end in ends)
