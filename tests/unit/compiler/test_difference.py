"""At every step on the way from one contents to another, nothing points to what is not there."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from onehop.compiler.compile import Compiler
from onehop.compiler.desired import Desired
from onehop.compiler.difference import Difference, Put, Remove
from onehop.datapath.structs import MemberKey, Rule
from onehop.datapath.words import MatchField, RouteAction, RuleAction
from tests.unit.compiler.cloudlet import LOCALS
from tests.unit.compiler.test_incremental import THIS, Filling, fillings, full, quick

Tables = dict[str, dict[Any, Any]]
SETS = MatchField.SRC_GROUP | MatchField.DST_GROUP


def dangling(tables: Tables) -> set[tuple[str, Any]]:
    """What is referred to and not there: (table, key)."""
    wanted: set[tuple[str, Any]] = set()
    for port in tables["ports"].values():
        wanted |= {("rule_lists", id) for id in (port.sends, port.receives, port.acls_in, port.acls_out)}
    for network in tables["networks"].items():
        wanted |= {("members", MemberKey(network[0], n)) for n in range(network[1].members)}
        wanted |= {("remotes", MemberKey(network[0], n)) for n in range(network[1].remotes)}
        wanted |= {("rule_lists", id) for id in (network[1].acls_in, network[1].acls_out)}
    for router in tables["routers"].values():
        wanted |= {("rule_lists", id) for id in (router.acls_in, router.acls_forward, router.acls_out)}
    for route in (*tables["routes"].values(), *tables["source_routes"].values()):
        if route.action == RouteAction.FORWARD and not route.sources:
            wanted.add(("hop_groups", route.hops))
    for rules in tables["rule_lists"].values():
        wanted |= {("rule_lists", rule.jump) for rule in rules}
    wanted |= {("ports", key) for name in ("interfaces", "fdb", "members") for key in tables[name].values()}
    return {(name, key) for name, key in wanted if key != 0 and key not in tables[name]}


@quick
@given(fillings, fillings)
def test_nothing_dangles_on_the_way(one: Filling, other: Filling) -> None:
    before, after, tables = both(one, other)
    assert dangling(tables) == set()
    for step in Difference.between(after, before).steps():
        # What a batch writes goes in entry by entry; within a table of lists the order counts as well.
        if isinstance(step, Put):
            for key, value in step.entries.items():
                tables[step.table][key] = value
                assert step.table != "rule_lists" or dangling(tables) == set(), step.table
        else:
            for key in step.keys:
                del tables[step.table][key]
        assert dangling(tables) == set(), step.table
    assert tables == {**after.tables, **after.lists}


def both(one: Filling, other: Filling) -> tuple[Desired, Desired, Tables]:
    """Two contents with the same numbers for the same things, and a copy of the first to be worked on."""
    first = Compiler(THIS)
    before = first.compile(full(one), LOCALS[1])
    after = Compiler(THIS, first.assignment()).compile(full(other), LOCALS[2])
    return before, after, {name: dict(rows) for name, rows in {**before.tables, **before.lists}.items()}


def test_what_is_as_it_should_be_is_left_alone() -> None:
    contents = Desired({"fdb": {"a": 1}}, {"rule_lists": {1: ()}}, {"x": ("broken",)})
    difference = Difference.between(contents, contents)
    assert (difference, bool(difference), list(difference.steps())) == (Difference(), False, [])


def test_differences_are_named_table_by_table() -> None:
    desired = Desired(
        {"fdb": {"a": 1, "b": 2}, "sources": {"s": 0}}, {"rule_lists": {2: ()}}, {"x": ("broken",)}
    )
    actual = Desired({"fdb": {"a": 5, "c": 3}, "ports": {7: "p"}}, {"rule_lists": {1: ()}}, {"y": ("old",)})
    difference = Difference.between(desired, actual)
    assert list(difference.steps()) == [
        Put("rule_lists", {2: ()}),
        Put("sources", {"s": 0}),
        Put("fdb", {"a": 1, "b": 2}),
        Remove("fdb", ("c",)),
        Remove("ports", (7,)),
        Remove("rule_lists", (1,)),
    ]
    assert difference.zones == {0}
    assert difference.problems == {"x": ("broken",), "y": ()}


def test_lists_that_are_jumped_to_come_first() -> None:
    def jump(to: int) -> tuple[Rule, ...]:
        return (Rule(MatchField(0), MatchField(0), RuleAction.JUMP, jump=to),)

    difference = Difference(puts={"rule_lists": {1: jump(2), 2: jump(3), 3: ()}})
    (step,) = difference.steps()
    assert isinstance(step, Put) and list(step.entries) == [3, 2, 1]
