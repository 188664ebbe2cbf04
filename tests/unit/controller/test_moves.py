"""Which ports a change moves from one host to another."""

from __future__ import annotations

from onehop.controller.cache import ObjectChange
from onehop.controller.moves import moved
from onehop.model import Binding, Object
from onehop.model.view import Topology

P = "port"
Moved = dict[str, tuple[str | None, str | None]]


def at(id: str, host: str, state: str = "active", port: str = P) -> Binding:
    return Binding(id=id, name=id, port=port, host=host, interface="tap0", state=state)  # type: ignore[arg-type]


def of(before: list[Binding], after: list[Binding]) -> Moved:
    """What follows from bindings that were so and are so now."""
    then: dict[str, Object] = {b.id: b for b in before}
    now: dict[str, Object] = {b.id: b for b in after}
    changed = [id for id in {**then, **now} if then.get(id) != now.get(id)]
    return moved(Topology(after), [ObjectChange(id, then.get(id), now.get(id)) for id in changed])


def test_a_binding_that_another_takes_the_place_of() -> None:
    assert of([at("one", "h1")], [at("two", "h2")]) == {P: ("h1", "h2")}


def test_a_binding_on_standby_that_becomes_the_active_one() -> None:
    before = [at("one", "h1"), at("two", "h2", "standby")]
    after = [at("one", "h1", "standby"), at("two", "h2")]
    assert of(before, after) == {P: ("h1", "h2")}


def test_a_standby_binding_that_comes_or_goes_moves_nothing() -> None:
    one, two = at("one", "h1"), at("two", "h2", "standby")
    assert of([one], [one, two]) == of([one, two], [one]) == {}


def test_another_interface_of_the_same_host_is_no_move() -> None:
    assert of([at("one", "h1")], [at("two", "h1")]) == {}


def test_a_port_may_come_from_nowhere_and_go_there() -> None:
    assert of([], [at("one", "h1")]) == {P: (None, "h1")}
    assert of([at("one", "h1")], []) == {P: ("h1", None)}


def test_each_port_moves_by_itself() -> None:
    before = [at("one", "h1"), at("two", "h1", port="q")]
    after = [at("one", "h1"), at("three", "h2", port="q")]
    assert of(before, after) == {"q": ("h1", "h2")}
