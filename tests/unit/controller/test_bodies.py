from __future__ import annotations

from typing import Any

import pytest

from onehop.controller import bodies
from onehop.model import KINDS, Invalid, Network, Port, Subnet

ID = "00000000-0000-0000-0000-000000000001"
NETWORK = KINDS["network"]
PORT = KINDS["port"]
BEFORE = Network(id=ID, name="web", title="Web", labels={"a": "1", "b": "2"}, mtu=1400, key=7)


def problems(kind: str, **body: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as refused:
        bodies.new(KINDS[kind], body, {"id": ID})
    return dict(refused.value.problems)


@pytest.mark.parametrize(
    ("kind", "body", "field", "words"),
    [
        ("network", {"mtu": "x"}, "mtu", "expected a whole number, got a text"),
        ("network", {"mtu": 3}, "mtu", ">= 1280"),
        ("network", {"learning": 1}, "learning", "expected true or false"),
        ("network", {"nope": 1}, "nope", "a network has no such field"),
        ("network", {"labels": {"a": 1}}, "labels[...]", "expected a text"),
        ("network", {"grants": [{}]}, "grants[0].allow", "is needed"),
        ("network", {"grants": [{"allow": "use"}, {"allow": "use", "to": 1}]}, "grants[1].to", "no such"),
        ("network", {"grants": [{"allow": "lend"}]}, "grants[0].allow", "'lend'"),
        ("network", {"unknown_unicast": "maybe"}, "unknown_unicast", "'maybe'"),
        ("network", {"key": 3}, "key", "set by the controller"),
        ("subnet", {"cidr": "10.0.0.0/8"}, "network", "is needed"),
        ("port", {"addresses": [{"ip": 4}]}, "addresses[0].ip", "a text"),
        ("port", {"addresses": "10.0.0.1"}, "addresses", "a list"),
        ("acl", {"rules": [{"id": "r", "action": "drop", "log": "x"}]}, "rules[0].log", "true or false"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(kind: str, body: dict[str, Any], field: str, words: str) -> None:
    told = problems(kind, **body)
    assert list(told) == [field]
    assert words in told[field]


def test_every_wrong_field_is_named() -> None:
    assert problems("subnet", dhcp="yes", ipv6_mode=None).keys() == {"dhcp", "ipv6_mode", "network", "cidr"}


def test_a_replacement_resets_what_was_written_and_keeps_what_was_chosen() -> None:
    after = bodies.replaced(NETWORK, {"mtu": 9000}, BEFORE, {})
    assert after == Network(id=ID, name="web", mtu=9000, key=7)


def test_a_replacement_may_say_again_what_the_controller_set() -> None:
    assert bodies.replaced(NETWORK, {"id": ID, "key": 7, "name": "web"}, BEFORE, {}).id == ID


def test_a_replacement_may_not_change_what_the_controller_set() -> None:
    with pytest.raises(Invalid, match="key: is set by the controller"):
        bodies.replaced(NETWORK, {"key": 8}, BEFORE, {})


def test_a_patch_merges_objects_and_null_removes() -> None:
    after = bodies.patched(NETWORK, {"labels": {"a": None, "c": "3"}, "title": None}, BEFORE, {})
    assert after == Network(id=ID, name="web", labels={"b": "2", "c": "3"}, mtu=1400, key=7)


def test_a_patch_replaces_lists_whole() -> None:
    before = Port(id=ID, name="p", network=ID, security_groups=("a", "b"))
    after = bodies.patched(PORT, {"security_groups": ["c"]}, before, {})
    assert isinstance(after, Port)
    assert after.security_groups == ("c",)


def test_null_leaves_alone_what_the_controller_chose() -> None:
    before = Subnet(id=ID, name="v4", network=ID, cidr="10.0.0.0/24", gateway="10.0.0.7")
    assert bodies.patched(KINDS["subnet"], {"gateway": None, "cidr": None}, before, {}) == before


def test_what_never_changes_is_told() -> None:
    before = Subnet(id=ID, name="v4", network=ID, cidr="10.0.0.0/24")
    after = bodies.patched(KINDS["subnet"], {"cidr": "10.1.0.0/24", "dhcp": False}, before, {})
    assert [p.field for p in bodies.changed_immutables(before, after)] == ["cidr"]
