"""Reading command lines."""

from __future__ import annotations

import pytest

from onehop.cli.entry import find
from onehop.cli.parser import parse
from onehop.cli.spec import Call, Usage


def understood(line: str) -> Call:
    command, rest = find(line.split())
    return parse(command, rest)


def test_arguments_and_options_may_be_mixed() -> None:
    call = understood("network create --mtu 1500 web -o json")
    assert call.argument("name") == "web"
    assert call.options == {"mtu": "1500", "output": "json"}


def test_a_value_may_be_joined_to_its_option() -> None:
    assert understood("network create web --mtu=1500 -ojson").options == {"mtu": "1500", "output": "json"}


def test_a_switch_can_be_negated() -> None:
    assert understood("port update p --no-admin-up").options == {"admin_up": False}
    assert understood("port update p --admin-up").options == {"admin_up": True}
    assert understood("port update p --admin-up=false").options == {"admin_up": False}


def test_a_list_is_made_of_repeated_options_by_either_name() -> None:
    call = understood("port create --network web --security-group a --security-groups b")
    assert call.options["security_groups"] == ["a", "b"]


def test_wait_has_a_value_of_its_own() -> None:
    assert understood("network create web --wait").options == {"wait": "30"}
    assert understood("network create web --wait=5").options == {"wait": "5"}


def test_after_two_dashes_nothing_is_an_option() -> None:
    assert understood("network show -- --odd").argument("network") == "--odd"


def test_a_plural_is_the_noun_too() -> None:
    assert understood("networks list").command.name == "network list"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("netwrok list", "Did you mean 'network'?"),
        ("network lst", "Did you mean 'list'?"),
        ("network create web --mtv 1500", "Did you mean 'mtu'?"),
        ("network create web --mtu", "--mtu needs a value"),
        ("network create web extra", "does not take 'extra'"),
        ("network create web --unknown-unicast flod", "Did you mean 'flood'?"),
        ("network create web --learning=maybe", "takes no value"),
        ("network create a --mtu 1 --mtu 2", "given twice"),
        ("network show", "needs NETWORK"),
        ("network", "needs a verb"),
        ("subnet create v4", "needs --network NETWORK, --cidr CIDR"),
        ("network list -x", "no option -x"),
        ("network list -o xml", "one of table, wide, json, yaml"),
        ("context destroy", "list, use, show, delete"),
        ("apply", "needs --file FILE"),
    ],
)
def test_a_wrong_line_is_refused_with_what_would_be_right(line: str, told: str) -> None:
    with pytest.raises(Usage) as refused:
        understood(line)
    assert told in str(refused.value)
