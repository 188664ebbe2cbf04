"""From words to the API's values."""

from __future__ import annotations

import pytest

from onehop.cli.nouns import nouns
from onehop.cli.spec import Usage
from onehop.cli.values import value


def of(kind: str, field: str, *given: str) -> object:
    shape = nouns()[kind].field(field)
    return value(shape, list(given) if shape["type"] in ("list", "map") else given[0], f"--{field}")


def test_numbers_are_numbers() -> None:
    assert of("network", "mtu", "1500") == 1500


def test_a_lone_address_is_the_ip() -> None:
    assert of("port", "addresses", "10.0.1.5", "fd00::5") == [{"ip": "10.0.1.5"}, {"ip": "fd00::5"}]


def test_a_lone_name_is_the_first_field() -> None:
    assert of("port", "addresses", "v4") == [{"subnet": "v4"}]
    assert of("network", "grants", "external") == [{"allow": "external"}]


def test_a_structure_is_written_in_pairs() -> None:
    given = of("port", "addresses", "subnet=v4,ip=10.0.1.5")
    assert given == [{"subnet": "v4", "ip": "10.0.1.5"}]


def test_deeper_fields_and_lists_within_a_structure() -> None:
    rule = "id=web,action=drop,match.dst_ports=80,match.state=new,match.state=related,log=true"
    assert of("acl", "rules", rule) == [
        {
            "id": "web",
            "action": "drop",
            "match": {"dst_ports": "80", "state": ["new", "related"]},
            "log": True,
        }
    ]


def test_anything_may_be_json() -> None:
    assert of("port", "addresses", '[{"ip": "10.0.1.5"}]') == [{"ip": "10.0.1.5"}]
    assert of("port", "addresses", '{"ip": "10.0.1.5"}') == [{"ip": "10.0.1.5"}]


def test_labels_are_pairs_and_a_dash_takes_one_away() -> None:
    assert of("network", "labels", "tier=web", "old-") == {"tier": "web", "old": None}


@pytest.mark.parametrize(
    ("kind", "field", "given", "told"),
    [
        ("network", "mtu", "large", "--mtu is a number, not 'large'"),
        ("network", "labels", "tier", "write KEY=TEXT"),
        ("network", "grants", "alow=use", "Did you mean 'allow'?"),
        ("network", "grants", "allow=usr", "Did you mean 'use'?"),
        ("port", "addresses", "subnet=v4,10.0.1.5", "'10.0.1.5' is not KEY=VALUE"),
        ("port", "addresses", "subnet.x=v4", "not a structure"),
        ("port", "addresses", "[{", "begins like JSON"),
        ("acl", "rules", "id=a,action=drop,log=maybe", "true or false"),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, field: str, given: str, told: str) -> None:
    with pytest.raises(Usage, match=told.replace("(", r"\(").replace("[", r"\[").replace("?", r"\?")):
        of(kind, field, given)
