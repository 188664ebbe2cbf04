"""Reading documents from files."""

from __future__ import annotations

import pytest

from onehop.cli import retype
from onehop.cli.documents import read
from onehop.cli.spec import Failure


def content(text: str) -> object:
    return read(text.encode(), "f").content


def test_plain_words_are_what_people_mean() -> None:
    text = (
        "a: {no: yes, mac: 10:20:30:40:50:51, n: 80, hex: 0x800, octal: 0755, t: true, z: ~, d: 2030-01-31}"
    )
    assert content(text) == {
        "a": {
            "no": "yes",
            "mac": "10:20:30:40:50:51",
            "n": 80,
            "hex": 0x800,
            "octal": "0755",
            "t": True,
            "z": None,
            "d": "2030-01-31",
        }
    }


def test_json_is_read_too() -> None:
    assert content('{"stack": "s", "networks": {"web": {"mtu": 1500, "learning": true}}}') == {
        "stack": "s",
        "networks": {"web": {"mtu": 1500, "learning": True}},
    }


def test_quoted_words_are_text() -> None:
    assert content("a: ['80', \"true\"]") == {"a": ["80", "true"]}


def test_an_alias_stands_for_what_is_above() -> None:
    assert content("a: &x {b: [1]}\nc: *x") == {"a": {"b": [1]}, "c": {"b": [1]}}


def test_each_value_knows_its_line() -> None:
    file = read(b"networks:\n  web:\n    subnets:\n      v4:\n        cidr: nonsense\n", "f")
    assert file.place("networks.web.subnets.v4.cidr") == "f:5"
    assert file.place("networks.web.subnets.v4.gateway") == "f:4"
    assert file.place("") == "f"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"a: 1\na: 2", "f:2: 'a' is here twice, first at line 1"),
        (b"[1]", "maps sections"),
        (b"", "maps sections"),
        (b"a: [", "f:2: not YAML"),
        (b"? [a]\n: 1", "a key is a text"),
        (b"a: !!python/object:os.system x", "tag"),
        (b"a: !!int '5'", "tag"),
        (b"a:\n - \xff", "f:2: not UTF-8"),
        (b"a: 1\n---\nb: 2", "f:2: a second document"),
        (b"a: " + b"[" * 100_000, "deep"),
        (b"a: " + b"{b: " * 100_000, "deep"),
        (b"a: *y", "stands for nothing"),
        (b"a: &a [*a]", "stands for nothing"),
        (b"a: &x {}\nb:\n  <<: *x", "f:3: merging"),
        (b"a: \x00", "not YAML"),
        (b"a: 9999999999999999", "f:1: the number"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(text: bytes, told: str) -> None:
    with pytest.raises(Failure) as refused:
        read(text, "f")
    assert told in str(refused.value)


def test_a_bomb_of_aliases_is_refused() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with pytest.raises(Failure, match="aliases counted"):
        content("\n".join(levels))


def test_numbers_become_text_where_the_model_has_text() -> None:
    given = {
        "stack": 7,
        "security_groups": {
            "web": {"rules": {"http": {"direction": "ingress", "ports": 80, "icmp_type": 8}}}
        },
        "networks": {"web": {"mtu": 1500, "labels": {"tier": 1}, "acls_in": [5]}},
    }
    assert retype.document(given) == {
        "stack": "7",
        "security_groups": {
            "web": {"rules": {"http": {"direction": "ingress", "ports": "80", "icmp_type": 8}}}
        },
        "networks": {"web": {"mtu": 1500, "labels": {"tier": "1"}, "acls_in": ["5"]}},
    }


def test_what_does_not_fit_is_left_for_the_controller() -> None:
    odd = {"networks": {"web": ["x"], "db": {"mtu": "many", "ports": 5}}, "nonsense": {"a": 1}}
    assert retype.document(odd) == odd
