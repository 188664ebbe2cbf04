from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onehop.lab.spec import LabError, load, read


def test_a_lab_is_two_hosts_and_a_controller_unless_it_says_otherwise() -> None:
    spec = read({}, default_name="shop")
    assert (spec.name, spec.hosts, spec.controllers, spec.etcd) == ("shop", ("h1", "h2"), 1, 0)
    assert (spec.host_address("h2"), spec.controller_address(0)) == ("172.31.0.2", "172.31.0.201")


def test_everything_can_be_said() -> None:
    spec = read(
        {
            "name": "big",
            "hosts": ["alpha", "beta"],
            "controllers": 2,
            "store": {"etcd": 3},
            "underlay": {"family": "ipv6", "mtu": 9000},
            "topology": {"networks": {}},
            "vms": {"web-1": {"port": "web/web-1", "host": "beta"}},
            "uplinks": {"up-1": "alpha", "up-2": "beta", "up-3": "beta"},
            "outside": {"machines": ["internet-1"], "subnets": ["203.0.113.0/25"]},
        }
    )
    assert (spec.etcd, spec.underlay.mtu, spec.vms[0].host) == (3, 9000, "beta")
    assert spec.host_address("beta") == "fd00:31::2"
    assert [(u.name, u.host, u.here[0]) for u in spec.uplinks] == [
        ("up-1", "alpha", "192.0.2.2"),
        ("up-2", "beta", "192.0.2.6"),
        ("up-3", "beta", "192.0.2.10"),
    ]
    assert spec.outside.addresses("internet-1") == ("198.51.100.10", "2001:db8:100::10")
    assert spec.outside.subnets == ("203.0.113.0/25",)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([], "maps fields"),
        ({"colour": 1}, "colour: no such field"),
        ({"name": "Shop"}, "name:"),
        ({"hosts": 0}, "hosts: 0 is not a number from 1"),
        ({"hosts": ["a", "a"]}, "stands twice"),
        ({"controllers": 2}, "SQLite belongs to one controller"),
        ({"store": "mysql"}, "store: 'mysql'"),
        ({"underlay": {"mtu": 9}}, r"underlay\.mtu"),
        ({"topology": 5}, "topology: a document"),
        ({"topology": "nowhere.yaml"}, "topology: cannot read"),
        ({"vms": {"a b": {}}}, "vms: 'a b'"),
        ({"vms": {"a": {"port": "p", "host": "h9"}}}, r"vms\.a\.host: 'h9' is no host of this lab"),
        ({"vms": {"a": {}}}, r"vms\.a\.port"),
        ({"outside": {"machines": ["i"]}}, "outside: nothing leads there"),
        ({"uplinks": ["h1"]}, "uplinks: maps at most 16 names"),
        ({"uplinks": {"U": "h1"}}, "uplinks: 'U' is not"),
        ({"uplinks": {"u": "h9"}}, r"uplinks\.u: 'h9' is no host of this lab; there are h1, h2"),
        ({"uplinks": {"u": "h1"}, "outside": {"colour": 1}}, "outside: maps"),
        ({"uplinks": {"u": "h1"}, "outside": {"machines": ["h2"]}}, "'h2' is the name of something else"),
        ({"uplinks": {"u": "h1"}, "outside": {"machines": ["i", "i"]}}, "'i' is the name of something else"),
        ({"uplinks": {"u": "isp"}, "hosts": ["isp"]}, "'isp' is the name of the router outside"),
        ({"uplinks": {"u": "h1"}, "outside": {"subnets": ["10.0.0.1/8"]}}, r"outside\.subnets: 10.0.0.1/8"),
        ({"uplinks": {"u": "h1"}, "outside": {"subnets": ["::/64", "fd00::/64"]}}, "one of IPv4 and one"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(data: Any, why: str) -> None:
    with pytest.raises(LabError, match=why):
        read(data)


def test_a_file_that_is_not_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("name: [")
    with pytest.raises(LabError, match=r"is not YAML: .*line 1"):
        load(path)
